"""The node agent's loops: read telemetry, measure, heartbeat, hold the database against the node.

Nothing is remembered here that cannot be found again: the run directories are the truth of the processes, and the
database knows how far each telemetry file was read. So the agent may be killed at any moment, and may go without a
database for as long as the disk lasts.
"""

import asyncio
import contextlib
import random
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Self
from uuid import UUID

import structlog
from django.conf import settings
from django.utils.module_loading import import_string

from runners.models import Session
from runners.node_agent.attempts import Attempt
from runners.node_agent.clearing import clear
from runners.node_agent.clock import Clock
from runners.node_agent.database import AWAY, in_database
from runners.node_agent.keeper import keeping
from runners.node_agent.processes import Alive, OnDisk, output_bytes, sort_out, untold
from runners.node_agent.programs import find_programs
from runners.node_agent.reader import Reader
from runners.node_agent.terminals import Terminals
from runners.node_agent.vitals import Meter, Tree
from runners.runtimes import run_directory, runtime_of
from runners.runtimes.container import remove_leftovers
from runners.runtimes.engine import find_engine
from runners.runtimes.process import ZYGOTE_SOCKET
from runners.runtimes.zygote import start_zygote
from runners.services.credentials import node_credentials
from runners.services.failover import fence
from runners.services.findings import note_attempt, note_round
from runners.services.nodes import heartbeat_node, register_node
from runners.services.reconcile import reconcile_node, superseded
from runners.services.start import nudge_socket
from runners.shim.group import means as group_means
from runners.shim.group import sweep
from runners.shim.identity import boot_id
from runners.shim.spool import ShortPath
from runners.sql import Vitals, write_vitals

log = structlog.get_logger(__name__)

#: Shims nudge when there is something to read; looking by itself is for nudges that were lost.
LOOK_SECONDS = 1.0
#: What comes so soon after a read is taken in together: many in one transaction cost a fifth of one each.
TOGETHER_SECONDS = 0.05
MEASURE_SECONDS = 1.0
HEARTBEAT_SECONDS = 5.0
RECONCILE_SECONDS = 5.0
#: An engine comes and goes with the machine's upgrades.
ENGINE_SECONDS = 30.0
#: What is days old may be some minutes older.
CLEAR_SECONDS = 600.0
MAX_BACKOFF_SECONDS = 15.0


@dataclass
class NodeAgent:
    """One node's agent. `run()` ends when it is cancelled; the runners do not."""

    name: str = field(default_factory=lambda: settings.NODE_NAME)
    runs: Path = field(default_factory=lambda: Path(settings.RUNS_DIR))

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.reader = Reader(self.runs, self.clock)
        self.terminals = Terminals(self.name, self.runs)
        self.meter = Meter()
        self.engine: dict[str, str] = {}
        self.nudged: set[str] = set()
        self.wake = asyncio.Event()

    async def run(self) -> None:
        """Work until cancelled."""
        self.runs.mkdir(parents=True, exist_ok=True)
        zygote = closing(start_zygote(self.runs / ZYGOTE_SOCKET))
        with NudgeSocket(nudge_socket(), self._nudge), zygote, keeping(self.runs):
            await keep_trying("register", self._register)
            # Before anything is read: what is written from here on is by the database's clock.
            await keep_trying("heartbeat", self._heartbeat)
            log.info("node_agent_ready", node=self.name, runs=str(self.runs))
            async with asyncio.TaskGroup() as loops:
                loops.create_task(self._read_for_ever())
                loops.create_task(every(HEARTBEAT_SECONDS, "heartbeat", self._heartbeat))
                loops.create_task(every(ENGINE_SECONDS, "engine", self._look_for_engine))
                loops.create_task(every(MEASURE_SECONDS, "measure", self._measure))
                loops.create_task(every(RECONCILE_SECONDS, "reconcile", self._reconcile))
                loops.create_task(every(RECONCILE_SECONDS, "leftovers", self._remove_leftovers))
                loops.create_task(every(CLEAR_SECONDS, "clear", self._clear))
                loops.create_task(keep_trying("terminals", self.terminals.serve))

    def _nudge(self, run: str) -> None:
        self.nudged.add(run)
        self.terminals.output_grew(run)
        self.wake.set()

    async def _register(self) -> None:
        programs = await asyncio.to_thread(find_programs)
        # Shims are forked by our zygote, so what holds for us holds for them.
        control_group = await asyncio.to_thread(group_means, settings.CONTROL_GROUP)
        await in_database(
            lambda: register_node(
                self.name,
                hostname=socket.gethostname(),
                boot_id=boot_id(),
                version=settings.VERSION,
                slots=settings.NODE_SLOTS,
                labels=settings.NODE_LABELS,
                programs=programs,
                engine=self.engine,
                control_group=control_group,
                credentials=node_credentials(),
            )
        )

    async def _heartbeat(self) -> None:
        asked = time.time()
        if now := await in_database(lambda: heartbeat_node(self.name)):
            self.clock.compare(now, asked, time.time())
        else:
            # The database is another one than it was: restored, or made anew.
            await self._register()

    async def _look_for_engine(self) -> None:
        """Tell when a container engine came, went or was renewed. Not a part of registering: an engine may be slow."""
        found = await asyncio.to_thread(find_engine, self.engine)
        if found != self.engine:
            self.engine = found
            await self._register()

    async def _read_for_ever(self) -> None:
        looked_at = 0.0
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.wake.wait(), LOOK_SECONDS)
            self.wake.clear()
            names, self.nudged = self.nudged, set()
            # Also while one of them floods.
            if time.monotonic() >= looked_at + LOOK_SECONDS:
                self.reader.look()
                names |= set(self.reader.open)
                looked_at = time.monotonic()
            await keep_trying("read", partial(self._read, names))

    async def _read(self, names: set[str]) -> None:
        if more := await self.reader.read(names):
            # A turn each: one that tells more than the database takes must not keep the others waiting.
            self.nudged |= more
            self.wake.set()
        else:
            await asyncio.sleep(TOGETHER_SECONDS)

    async def _measure(self) -> None:
        """Write the figures of all live runners in one statement, and tell the live views."""
        alive, _ = await asyncio.to_thread(sort_out, list(self.reader.open.values()))
        talked, self.reader.talked = self.reader.talked, set()
        if not alive and not talked:
            return
        inside = {live.container_pid for live in alive if live.container_pid}
        groups = {live.root: live.group for live in alive if live.group}
        trees = await asyncio.to_thread(self.meter.measure, [live.root for live in alive], inside, groups)
        now = datetime.fromtimestamp(self.clock.now(), UTC)
        rows = [vitals(live, trees[live.root], now) for live in alive]
        await in_database(lambda: write_vitals(rows))
        await self._tell(rows, await in_database(lambda: sessions_of(talked)))

    async def _tell(self, rows: list[Vitals], sessions: list[str]) -> None:
        payload = {
            "node": self.name,
            "sessions": sessions,
            "rows": [
                [
                    str(r.runner_id),
                    r.cpu_percent,
                    r.memory_mb,
                    r.process_count,
                    r.output_bytes,
                    r.observed_at.isoformat(),
                ]
                for r in rows
            ],
        }
        for path in settings.RUNNER_LISTENERS:
            await import_string(path)(payload)

    async def _reconcile(self) -> None:
        """Record what died without a word, and hold the database against what is here."""
        self.reader.look()
        alive, lost = await asyncio.to_thread(sort_out, list(self.reader.open.values()))
        for attempt in lost:
            log.warning("shim_lost", run=attempt.name)
            await self._mend(attempt, "dead_shims", runtime_of(attempt.directory).record_lost)
        for attempt in await asyncio.to_thread(untold, list(self.reader.open.values())):
            await self._mend(attempt, "untold_ends", runtime_of(attempt.directory).tell_end)
        states = {live.key: live.paused for live in alive}
        await in_database(lambda: reconcile_node(self.name, states, OnDisk()))
        for runner_id, generation in await in_database(lambda: superseded(states)):
            log.warning("superseded_attempt_stopped", runner_id=str(runner_id), generation=generation)
            directory = run_directory(runner_id, generation)
            await in_database(partial(fence, runner_id, generation, node=self.name))
            rule = "superseded_attempts"
            await in_database(partial(note_attempt, runner_id, generation, rule=rule, node=self.name))
            stop = runtime_of(directory).stop
            await asyncio.to_thread(stop, directory, grace_seconds=10, reason="superseded")
        await in_database(lambda: note_round(self.name))

    async def _mend(self, attempt: Attempt, rule: str, mend: Callable[[Path], bool]) -> None:
        try:
            mended = await asyncio.to_thread(mend, attempt.directory)
        except OSError as error:
            # Such as a full disk: the next round tries again, and the other attempts do not wait for it.
            log.error("attempt_not_mended", run=attempt.name, rule=rule, error=str(error))
            return
        if mended:
            await in_database(partial(note_attempt, *attempt.key, rule=rule, node=self.name))

    async def _remove_leftovers(self) -> None:
        """Remove the groups and containers that somebody died before removing. By itself: an engine may be slow."""
        if groups := await asyncio.to_thread(sweep, settings.CONTROL_GROUP):
            log.info("control_groups_removed", groups=groups)
        for attempt in await asyncio.to_thread(remove_leftovers, self.runs):
            await in_database(partial(note_attempt, *attempt, rule="left_containers", node=self.name))

    async def _clear(self) -> None:
        await asyncio.to_thread(clear, self.runs)


def sessions_of(runner_ids: set[UUID]) -> list[str]:
    """Return the ids of the sessions to which these runners add."""
    if not runner_ids:
        return []
    return [str(pk) for pk in Session.objects.filter(runners__in=runner_ids).values_list("pk", flat=True).distinct()]


def vitals(live: Alive, tree: Tree, at: datetime) -> Vitals:
    """Return the figures of one attempt as a row."""
    return Vitals(
        *live.key,
        observed_at=at,
        cpu_percent=tree.cpu_percent,
        memory_mb=tree.memory_mb,
        process_count=tree.process_count,
        output_bytes=output_bytes(live.attempt.directory),
    )


class NudgeSocket:
    """The datagram socket on which shims say that a run directory has something new."""

    def __init__(self, path: Path, heard: Callable[[str], None]) -> None:
        self.path, self.heard = path, heard
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def __enter__(self) -> Self:
        self.path.unlink(missing_ok=True)
        with ShortPath(str(self.path)) as address:
            self.socket.bind(address)
        self.path.chmod(0o600)
        asyncio.get_running_loop().add_reader(self.socket, self._read)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self.socket)
        self.socket.close()
        self.path.unlink(missing_ok=True)

    def _read(self) -> None:
        while True:
            try:
                run = self.socket.recv(256)
            except BlockingIOError:
                return
            self.heard(run.decode(errors="replace"))


async def every(seconds: float, name: str, work: Callable[[], Awaitable[object]]) -> None:
    """Do `work` again and again, its starts `seconds` apart; a server that is away is waited for."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + seconds
        await keep_trying(name, work)
        await asyncio.sleep(max(0.0, due - loop.time()))


async def keep_trying(name: str, work: Callable[[], Awaitable[object]]) -> None:
    """Do `work` until it goes through; while a server is away, wait longer and longer, up to 15 s, with jitter."""
    backoff = 0.25
    while True:
        try:
            await work()
        except AWAY as error:
            log.warning("server_away", doing=name, error=str(error).strip()[:200], retry_seconds=round(backoff, 2))
            await asyncio.sleep(backoff * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
            backoff = min(2 * backoff, MAX_BACKOFF_SECONDS)
        else:
            return
