"""What of this node's attempts is alive, told by their run directories and the process table."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from runners.node_agent.attempts import Attempt
from runners.runtimes import run_directory
from runners.shim import identity, rundir


@dataclass(frozen=True)
class Alive:
    """A live attempt: its shim holds the run directory's lock."""

    attempt: Attempt
    shim_pid: int
    paused: bool
    #: The first process of its container; None where its processes are the shim's own.
    container_pid: int | None = None
    #: The directory of its control group, where it has one.
    group: str | None = None

    @property
    def root(self) -> int:
        """The pid below which its processes are; one of a container is the agent's itself."""
        return self.container_pid or self.shim_pid

    @property
    def key(self) -> tuple[UUID, int]:
        return self.attempt.key


class OnDisk:
    """The attempts of which there is a run directory: asked for one by one, as thousands stay there for days."""

    def __contains__(self, attempt: object) -> bool:
        match attempt:
            case (UUID() as runner_id, int() as generation):
                return run_directory(runner_id, generation).is_dir()
        return False


def sort_out(attempts: Iterable[Attempt]) -> tuple[list[Alive], list[Attempt]]:
    """Return the live attempts, and the lost ones: started, without a shim, and without a record of their end."""
    alive: list[Alive] = []
    lost: list[Attempt] = []
    for attempt in attempts:
        run_dir = str(attempt.directory)
        shim = rundir.read_json(run_dir, rundir.SHIM)
        if shim is None:
            continue  # about to start, or never started: the control plane sends it again
        if rundir.is_locked(run_dir):
            paused = _is_stopped(_pid(shim, "agent"))
            group = shim.get("control_group")
            alive.append(
                Alive(attempt, _pid(shim, "shim"), paused, container_process(run_dir), str(group) if group else None)
            )
        elif not rundir.has(run_dir, rundir.EXIT):
            lost.append(attempt)
    return alive, lost


def untold(attempts: Iterable[Attempt]) -> list[Attempt]:
    """Return those whose end is on record but not told: their disk was full."""
    return [attempt for attempt in attempts if _is_untold(str(attempt.directory))]


def _is_untold(run_dir: str) -> bool:
    if not rundir.has(run_dir, rundir.EXIT) or rundir.is_locked(run_dir):
        return False
    last = rundir.last_line(run_dir, rundir.TELEMETRY)
    return last is None or last.get("kind") != "exit"


def output_bytes(directory: Path) -> int:
    """Return how much output is on disk."""
    try:
        return (directory / rundir.OUTPUT).stat().st_size
    except FileNotFoundError:
        return 0


def container_process(run_dir: str) -> int | None:
    """Return the pid of the attempt's container while it runs."""
    found: dict[str, Any] | None = rundir.read_json(run_dir, rundir.CONTAINER)
    if found is None or not identity.is_alive(found["boot_id"], found["pid"], found["start_ticks"]):
        return None
    return int(found["pid"])


def _pid(shim: dict[str, Any], which: str) -> int:
    return int(shim[which]["pid"])


def _is_stopped(pid: int) -> bool:
    process = identity.look(pid)
    return process is not None and process.state == "T"
