"""One attempt under test: a real shim, a real agent, and what they leave on disk."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

from runners.runtimes.process import ProcessRuntime
from runners.runtimes.shim_client import ShimClient
from runners.shim import identity, rundir

Found = TypeVar("Found")

#: A bare interpreter: it starts in a tenth of the time.
PYTHON = [sys.executable, "-I", "-S", "-c"]


def wait_for(look: Callable[[], Found], what: str, seconds: float = 10.0) -> Found:
    """Return what `look` finds as soon as it is true; fail after the deadline."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.005)
    return found


class Attempt:
    """A run directory with its runtime."""

    def __init__(self, runs: Path, runtime: ProcessRuntime, runner_id: UUID | None = None) -> None:
        self.runner_id = runner_id or uuid4()
        self.directory = runs / f"{self.runner_id.hex}.1"
        self.runtime = runtime
        self.client = ShimClient(self.directory)

    def spec(self, argv: list[str], **changes: Any) -> dict[str, Any]:
        return {
            "version": 1,
            "runner_id": str(self.runner_id),
            "generation": 1,
            "argv": argv,
            "env": {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
            "cwd": "/tmp",
            "tty": False,
            "columns": 120,
            "rows": 32,
            "stdin": "",
            "grace_seconds": 10,
            "nudge": "",
            **changes,
        }

    def start(self, argv: list[str], **changes: Any) -> "Attempt":
        self.runtime.start(self.directory, self.spec(argv, **changes))
        return self

    def python(self, code: str, *arguments: str, **changes: Any) -> "Attempt":
        return self.start([*PYTHON, code, *arguments], **changes)

    def shell(self, script: str, **changes: Any) -> "Attempt":
        return self.start(["/bin/sh", "-c", script], **changes)

    def stop(self, grace_seconds: float, reason: str = "test") -> None:
        self.runtime.stop(self.directory, grace_seconds=grace_seconds, reason=reason)

    @property
    def identities(self) -> dict[str, Any]:
        found = rundir.read_json(str(self.directory), rundir.SHIM)
        assert found is not None
        return found

    @property
    def agent_pid(self) -> int:
        return int(self.identities["agent"]["pid"])

    @property
    def shim_pid(self) -> int:
        return int(self.identities["shim"]["pid"])

    @property
    def agent_is_alive(self) -> bool:
        return identity.is_alive(self.identities["boot_id"], self.agent_pid, self.identities["agent"]["start_ticks"])

    def exit(self, seconds: float = 10.0) -> dict[str, Any]:
        """Wait for exit.json and return it."""
        record: dict[str, Any] | None = wait_for(
            lambda: rundir.read_json(str(self.directory), rundir.EXIT), "exit.json", seconds
        )
        assert record
        wait_for(lambda: not self.runtime.is_alive(self.directory), "the end of the shim")
        return record

    def telemetry(self, kind: str = "") -> list[dict[str, Any]]:
        data = (self.directory / "telemetry.jsonl").read_bytes()
        records = [json.loads(line) for line in data.split(b"\n")[:-1]]
        return [record for record in records if not kind or record["kind"] == kind]

    def lines(self, stream: str = "stdout") -> list[str]:
        return [record["text"] for record in self.telemetry("line") if record["stream"] == stream]

    def events(self) -> list[list[Any]]:
        # What stands after the last newline is still being written.
        _header, *events = (self.directory / "output.cast").read_bytes().split(b"\n")[:-1]
        return [json.loads(event) for event in events]

    def output(self) -> str:
        return "".join(text for _, code, text in self.events() if code == "o")

    def await_output(self, text: str) -> None:
        wait_for(lambda: text in self.output(), f"{text!r} in the output")

    def log(self) -> str:
        return (self.directory / "shim.log").read_text()

    def end(self) -> None:
        """Leave nothing behind."""
        if self.directory.exists() and not rundir.has(str(self.directory), rundir.EXIT):
            self.stop(0)
            self.exit()
