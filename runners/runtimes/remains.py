"""What is left of an agent whose shim died: found by identity, and ended."""

import contextlib
import os
import signal
import time
from typing import Any

import structlog

from runners.shim import identity, rundir
from runners.shim.group import Group

log = structlog.get_logger(__name__)

#: After SIGTERM, before SIGKILL.
TERM_SECONDS = 1.0
KILL_SECONDS = 5.0
LOOK_SECONDS = 0.02


def end_remains(run_dir: str) -> list[int]:
    """End the processes an earlier shim left; return the pids of those that did not end in time.

    The caller holds the lock of the run directory.
    """
    shim = rundir.read_json(run_dir, rundir.SHIM)
    spec = rundir.read_json(run_dir, rundir.SPEC)
    if shim is None or spec is None or shim["boot_id"] != identity.boot_id():
        # After a reboot nothing is left, and all pids belong to others.
        return []
    agent: Any = shim["agent"]
    attempt = Remains(agent["pid"], agent["start_ticks"], str(spec["runner_id"]), int(str(spec["generation"])))
    made = shim.get("control_group")
    group = Group(str(made)) if made else None
    left = attempt.end()
    if group is not None:
        # Whoever was in it and could not be told from others by anything else.
        group.end(KILL_SECONDS)
    return left


class Remains:
    """The processes of one attempt, as far as they can be told from others without being their parent."""

    def __init__(self, pid: int, start_ticks: int, runner_id: str, generation: int) -> None:
        self.pid = pid
        self.start_ticks = start_ticks
        self.marker = (runner_id, generation)

    def find(self) -> list[identity.Process]:
        """Return the agent, its session and group, all that carry its marker, and everything below any of these.

        Session and group are taken only while the agent itself is there, or a member carries the marker: else the
        number may be another's by now.
        """
        own = os.getpid()
        table = {pid: process for pid, process in identity.table().items() if not process.is_dead and pid != own}
        found = {pid for pid in table if identity.is_marked(pid, *self.marker)}
        agent = table.get(self.pid)
        if agent and agent.start_ticks == self.start_ticks:
            found.add(self.pid)
        if any(self._is_kin(table[pid]) for pid in found):
            found |= {pid for pid, process in table.items() if self._is_kin(process)}
        for pid in list(found):
            found |= {process.pid for process in identity.descendants(pid, table)}
        return [table[pid] for pid in sorted(found - {own})]

    def _is_kin(self, process: identity.Process) -> bool:
        # None of them can be older than the agent, whose pid names the session.
        return self.pid in (process.session, process.group) and process.start_ticks >= self.start_ticks

    def end(self) -> list[int]:
        """SIGTERM, and SIGKILL for those that stay; return what even that did not end in time."""
        self._signal_until(signal.SIGTERM, TERM_SECONDS, once=True)
        left = self._signal_until(signal.SIGKILL, KILL_SECONDS, once=False)
        if left:
            log.error("processes_cannot_be_killed", pids=left)
        return left

    def _signal_until(self, number: int, seconds: float, *, once: bool) -> list[int]:
        deadline = time.monotonic() + seconds
        told: set[int] = set()
        while left := self.find():
            for process in left:
                if once and process.pid in told:
                    continue
                told.add(process.pid)
                with contextlib.suppress(PermissionError):  # it took another user's rights: not ours to end
                    process.signal(number)
                    process.signal(signal.SIGCONT)
            if time.monotonic() >= deadline:
                break
            time.sleep(LOOK_SECONDS)
        return [process.pid for process in left]
