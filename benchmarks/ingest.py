"""Ingest: messages a second from telemetry.jsonl through the node agent's reader and parser to rows.

The lines are those of Claude Code, as its shim writes them: answers, tool calls, results of tools, and the tokens of
each answer. Rows are messages with their chunks for search, the usage ledger with prices, sessions' totals and two
budgets. Limit beside it, in the same run: reading and parsing the same lines as JSON, and nothing else.
"""

import asyncio
import itertools
import json
import random
import time
import uuid
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.utils import timezone

from benchmarks._cpu import postgres_seconds
from runners.models import Message, MessageChunk, ModelPrice, Node, Observation, Project, Runner, Session, UsageEntry
from runners.node_agent.clock import Clock
from runners.node_agent.reader import Reader
from runners.runtimes import run_directory
from runners.services.budgets import create_budget
from runners.shim import rundir
from runners.states import NodeStatus, RunnerStatus

#: A few that talk without a pause, as one that catches up; and many that say a little at a time.
LOUD, LOUD_TURNS = 4, 2_000
MANY, MANY_TURNS, MANY_ROUNDS = 200, 2, 10
WORDS = 40
MODEL = "claude-bench-1"

_random = random.Random(7)
_words = ["".join(_random.choices("abcdeghiklmnoprstuvz", k=_random.randint(4, 9))) for _ in range(5_000)]
_weights = list(itertools.accumulate(1 / rank for rank in range(1, len(_words) + 1)))


def limits() -> dict[str, float]:
    """Return what parsing the lines costs by itself."""
    lines = [line for turn in range(500) for line in turn_of(turn, "s")]
    begun = time.perf_counter()
    for line in lines:
        json.loads(json.loads(line)["text"])
    return {"bare_parsed_messages_per_second": len(lines) / 5 * 3 / (time.perf_counter() - begun)}


def figures() -> dict[str, float]:
    """Return messages a second, on the clock and by the CPU of the node agent's process."""
    call_command("migrate", interactive=False, verbosity=0)
    project = _prepare()
    loud = _Runs(project, LOUD)
    loud.tell(LOUD_TURNS)
    found = loud.read("loud")
    many = _Runs(project, MANY)
    spent: dict[str, float] = {}
    for _ in range(MANY_ROUNDS):
        many.tell(MANY_TURNS)
        for name, value in many.read("many").items():
            spent[name] = spent.get(name, 0.0) + value / MANY_ROUNDS
    assert Message.objects.count() == 3 * (LOUD * LOUD_TURNS + MANY * MANY_TURNS * MANY_ROUNDS)
    rows = {"messages": Message, "chunks": MessageChunk, "usage_entries": UsageEntry}
    return {**found, **spent, **{name: float(model._default_manager.count()) for name, model in rows.items()}}


def _prepare() -> Project:
    path = Path(settings.WORKSPACE_ROOTS[0]) / "ingest"
    path.mkdir(parents=True)
    project = Project.objects.create(name="ingest", path=str(path))
    ModelPrice.objects.create(
        pattern=MODEL, valid_from=timezone.now() - timedelta(days=1),
        input_usd=Decimal(3), output_usd=Decimal(15), cache_read_usd=Decimal("0.3"), cache_write_usd=Decimal("3.75"),
    )  # fmt: skip
    scopes = {"all": {"scope": "global"}, "project": {"scope": "project", "scope_key": "ingest"}}
    for name, scope in scopes.items():
        limits = {"period": "monthly", "unit": "usd", "limit": Decimal(10**9)}
        create_budget({"name": name, **scope, **limits}, actor="system:bench")
    return project


class _Runs:
    """Running runners with their run directories, of which nothing was read yet."""

    def __init__(self, project: Project, count: int) -> None:
        node, _ = Node.objects.get_or_create(
            name="bench",
            defaults={"hostname": "h", "boot_id": "b", "status": NodeStatus.ONLINE, "last_seen_at": timezone.now()},
        )
        self.directories = []
        self.turn = itertools.count()
        for _ in range(count):
            session = Session.objects.create(project=project, backend="claude_code")
            runner = Runner.objects.create(
                id=uuid.uuid4(), name="bench", project=project, node=node, session=session, backend="claude_code",
                workspace=project.path, status=RunnerStatus.RUNNING,
            )  # fmt: skip
            Observation.objects.create(runner=runner, generation=1)
            self.directories.append(run_directory(runner.pk, 1))
            self.directories[-1].mkdir(parents=True)
        self.reader = Reader(Path(settings.RUNS_DIR), Clock())

    def tell(self, turns: int) -> None:
        """Append as many turns to each one's telemetry."""
        for directory in self.directories:
            with (directory / rundir.TELEMETRY).open("a") as file:
                file.writelines(f"{line}\n" for _ in range(turns) for line in turn_of(next(self.turn), directory.name))

    def read(self, name: str) -> dict[str, float]:
        """Read it all, and return how fast that was."""
        before, postgres = Message.objects.count(), postgres_seconds()
        own, begun = time.process_time(), time.perf_counter()
        asyncio.run(self._read_all())
        seconds, own = time.perf_counter() - begun, time.process_time() - own
        messages, postgres = Message.objects.count() - before, postgres_seconds() - postgres
        return {
            f"{name}_messages_per_second": messages / seconds,
            f"{name}_agent_cpu_us_per_message": own / messages * 1_000_000,
            f"{name}_postgres_cpu_us_per_message": postgres / messages * 1_000_000,
        }

    async def _read_all(self) -> None:
        names = {directory.name for directory in self.directories}
        while names:
            names = await self.reader.read(names)


def turn_of(number: int, conversation: str) -> list[str]:
    """Return one turn as its shim tells it: an answer with a tool call, in pieces and whole, and the tool's result."""
    answer, call = f"msg_{number:08d}", f"toolu_{number:08d}"
    usage = {
        "input_tokens": 12,
        "output_tokens": 1,
        "cache_read_input_tokens": 15_000,
        "cache_creation_input_tokens": 80,
    }
    message: dict[str, Any] = {"id": answer, "model": MODEL, "usage": usage}
    said = {"type": "text", "text": _text()}
    called = {"type": "tool_use", "id": call, "name": "Bash", "input": {"command": f"grep -rn {_text(3)} src"}}
    result = {"type": "tool_result", "tool_use_id": call, "content": _text()}
    delta = {"type": "message_delta", "usage": {**usage, "output_tokens": 90}}
    start = {"type": "message_start", "message": message}
    lines = [
        {"type": "stream_event", "event": start},
        {"type": "assistant", "message": {**message, "content": [said]}},
        {"type": "assistant", "message": {**message, "content": [called]}},
        {"type": "stream_event", "event": delta},
        {"type": "user", "message": {"content": [result]}},
    ]
    now = time.time()
    texts = (json.dumps({**line, "session_id": conversation}) for line in lines)
    return [json.dumps({"t": now, "kind": "line", "stream": "stdout", "text": text}) for text in texts]


def _text(words: int = WORDS) -> str:
    return " ".join(_random.choices(_words, cum_weights=_weights, k=words))
