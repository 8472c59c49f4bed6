"""The process runtime: a shim of its own for each attempt, which outlives whoever started it."""

import os
import select
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import structlog

from runners.runtimes.base import StartFailed
from runners.runtimes.remains import end_remains
from runners.runtimes.shim_client import ShimClient, ShimGone
from runners.runtimes.zygote import fork_shim, popen_detached, shim_command
from runners.shim import identity, rundir, stand_in

log = structlog.get_logger(__name__)

START_SECONDS = 10.0
#: Between two tries for a lock that another starter, or somebody asking whether it is held, has for moments.
RETRY_SECONDS = 0.01
#: Where a node's zygote listens, beside its run directories.
ZYGOTE_SOCKET = "zygote.sock"
LOG_TAIL_BYTES = 2000
#: What exit.json says besides the last record of telemetry.
OF_EXIT_ONLY = ("ended_at", "boot_id", "spool_error", "lost_bytes")


class ProcessRuntime:
    """Runs attempts as processes on this machine; see Runtime for the verbs.

    `zygote_socket`: of the zygote to fork shims; by default zygote.sock beside the run directories. If nobody
    listens there, shims are exec'd, which takes ten times as long.
    """

    def __init__(self, zygote_socket: Path | None = None, *, start_seconds: float = START_SECONDS) -> None:
        self.zygote_socket = zygote_socket
        self.start_seconds = start_seconds

    # --- Start ---

    def start(self, run_dir: Path, spec: Mapping[str, Any]) -> None:
        """Start the attempt unless it was started before. Returns once the agent runs, or its failure is on record.

        Of many starters at once exactly one starts a shim; the others wait until it is up. An attempt that was stopped
        before, or whose shim died, is over: it is not started again. Raises StartFailed.
        """
        directory = str(run_dir)
        rundir.create(directory)
        for lock in self._tries(directory):
            if lock is None:
                if rundir.has(directory, rundir.SHIM):
                    return
                continue
            try:
                if self._is_new(directory):
                    rundir.write_json(directory, rundir.SPEC, dict(spec))
                    self._start_shim(run_dir, lock)
                return
            finally:
                os.close(lock)
        raise StartFailed(f"Another start of {run_dir.name} did not finish in {self.start_seconds} s.")

    def _tries(self, directory: str) -> Iterator[int | None]:
        """Yield the lock if it is free, else None, again and again until the deadline."""
        deadline = time.monotonic() + self.start_seconds
        while True:
            yield rundir.take_lock(directory)
            if time.monotonic() > deadline:
                return
            time.sleep(RETRY_SECONDS)

    def _is_new(self, directory: str) -> bool:
        """Say whether the attempt was never started; settle one that was started and lost. The lock is held."""
        if rundir.has(directory, rundir.EXIT):
            return False
        if rundir.has(directory, rundir.SHIM):
            self._record_end(directory)
            return False
        return True

    def _start_shim(self, run_dir: Path, lock: int) -> None:
        zygote = self.zygote_socket or run_dir.parent / ZYGOTE_SOCKET
        connection = fork_shim(zygote, run_dir, lock)
        if connection is not None:
            with connection:
                told = self._await_word(connection.fileno())
            if told or rundir.has(str(run_dir), rundir.SHIM):
                return
            log.warning("zygote_failed", run=run_dir.name)
        self._exec_shim(run_dir, lock)

    def _exec_shim(self, run_dir: Path, lock: int) -> None:
        ready, tell = os.pipe()
        try:
            logfile = os.open(run_dir / rundir.LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                words = (str(run_dir), str(lock), str(tell))
                process = popen_detached(shim_command("main", *words), [lock, tell], logfile)
            finally:
                os.close(logfile)
                os.close(tell)
            # It forks the shim and ends: the shim's parent is init, and nothing is left for us to reap.
            process.wait(self.start_seconds)
            told = self._await_word(ready)
        finally:
            os.close(ready)
        if not told:
            raise StartFailed(f"The shim of {run_dir.name} did not start: {_log_tail(run_dir)}")

    def _await_word(self, fd: int) -> str:
        """Return the shim's first word, or nothing if it ended without. Raises StartFailed if it takes too long."""
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if not poll.poll(self.start_seconds * 1000):
            raise StartFailed(f"The shim did not report in {self.start_seconds} s.")
        try:
            return os.read(fd, 100).decode()
        except ConnectionResetError:
            return ""

    # --- Steer ---

    def is_alive(self, run_dir: Path) -> bool:
        """Say whether the attempt's shim lives (or is being started)."""
        return rundir.is_locked(str(run_dir))

    def status(self, run_dir: Path) -> dict[str, Any]:
        """Return what the shim tells of its agent."""
        return ShimClient(run_dir).status()

    def stop(self, run_dir: Path, *, grace_seconds: float, reason: str) -> None:
        """Ask the attempt to end; one that never started never will. Does not wait for the end."""
        rundir.create(str(run_dir))
        for lock in self._tries(str(run_dir)):
            if lock is not None:
                self._settle(str(run_dir), lock, reason)
                return
            try:
                ShimClient(run_dir).stop(grace_seconds, reason)
            except ShimGone:
                # It is only coming up, or just ending: then the lock is free in a moment.
                continue
            return
        raise ShimGone(f"Whoever holds {run_dir.name} neither answers nor ends.")

    def kill(self, run_dir: Path, *, reason: str) -> None:
        """End the attempt at once."""
        ShimClient(run_dir).kill(reason)

    def pause(self, run_dir: Path) -> None:
        """Suspend all of the attempt's processes."""
        ShimClient(run_dir).pause()

    def resume(self, run_dir: Path) -> None:
        """Let them go on."""
        ShimClient(run_dir).resume()

    def input(self, run_dir: Path, data: str | bytes, *, once: str = "") -> None:
        """Type into the agent; with a key in `once`, no second time under the same key."""
        ShimClient(run_dir).input(data, once=once)

    def resize(self, run_dir: Path, *, columns: int, rows: int) -> None:
        """Change the agent's terminal."""
        ShimClient(run_dir).resize(columns, rows)

    def record_lost(self, run_dir: Path) -> bool:
        """Record the end of an attempt whose shim died without doing so; return whether it was needed.

        What is left of the agent is ended first. False if a shim holds the lock, the exit is on record, or nothing was
        started here: then somebody may be about to.
        """
        if not rundir.has(str(run_dir), rundir.SHIM) or (lock := rundir.take_lock(str(run_dir))) is None:
            return False
        return self._settle(str(run_dir), lock, "")

    def tell_end(self, run_dir: Path) -> bool:
        """Append the end to the telemetry of an attempt whose shim had only room for exit.json.

        Raises OSError while the disk is still full.
        """
        directory = str(run_dir)
        if (lock := rundir.take_lock(directory)) is None:
            return False
        try:
            record = rundir.read_json(directory, rundir.EXIT)
            if record is None or _told_exit(directory) is not None:
                return False
            facts = {name: value for name, value in record.items() if name not in OF_EXIT_ONLY}
            rundir.append_line(directory, rundir.TELEMETRY, {"t": record["ended_at"], "kind": "exit", **facts})
            return True
        finally:
            os.close(lock)

    def _settle(self, directory: str, lock: int, stop_reason: str) -> bool:
        """Finish an attempt that no shim holds, and let the lock go; return whether there was anything to do."""
        try:
            if rundir.has(directory, rundir.EXIT):
                return False
            self._record_end(directory, stop_reason)
            return True
        finally:
            os.close(lock)

    def _record_end(self, directory: str, stop_reason: str = "", *, reason: str = "") -> None:
        """Write the exit record in place of a shim: `lost` if there was one, else `never_started`. The lock is held."""
        started = rundir.has(directory, rundir.SHIM)
        # Before its remains are told to end: that would be an end of another kind.
        told = stand_in.account(directory) or {}
        unkillable = self._end_remains(directory)
        now = time.time()
        rundir.trim_torn_line(directory, rundir.OUTPUT)
        facts = _told_exit(directory)
        if facts is None:
            facts = {"code": None, "signal": None, "reason": reason or ("lost" if started else "never_started")}
            facts |= told | {"rusage": None, "duration_seconds": None}
            facts |= {
                name: value for name, value in (("stop_reason", stop_reason), ("unkillable", unkillable)) if value
            }
            rundir.append_line(directory, rundir.TELEMETRY, {"t": now, "kind": "exit", **facts})
        rundir.write_exit(directory, {**facts, "ended_at": now, "boot_id": identity.boot_id()})
        log.warning("attempt_settled", run=Path(directory).name, **facts)

    def _end_remains(self, directory: str) -> list[int]:
        """End what a dead shim left, and return the pids that would not end. The lock is held."""
        return end_remains(directory) if rundir.has(directory, rundir.SHIM) else []


def _told_exit(directory: str) -> dict[str, Any] | None:
    """Return what a shim that died between its last telemetry record and exit.json told of the exit."""
    rundir.trim_torn_line(directory, rundir.TELEMETRY)
    record = rundir.last_line(directory, rundir.TELEMETRY)
    if record is None or record.pop("kind", None) != "exit":
        return None
    del record["t"]
    return record


def _log_tail(run_dir: Path) -> str:
    with (run_dir / rundir.LOG).open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
        return file.read().decode(errors="replace").strip()
