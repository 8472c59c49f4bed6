"""Run a command on a terminal with a report pipe, as the shim does."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from runners.backends.base import Command


class Terminal:
    """A program on a terminal of its own; `output` is what it printed, `records` what it reported."""

    def __init__(self, command: Command, *, cwd: Path, fifo: Path, env: Mapping[str, str] | None = None) -> None:
        os.mkfifo(fifo, 0o600)
        self._fifo = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        self._master, slave = pty.openpty()
        environment = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "STRATAVORE_REPORT": str(fifo)}
        self.process = subprocess.Popen(
            command.argv,
            cwd=cwd,
            env={**environment, **command.env, **(env or {})},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(slave)
        self.output = ""
        self._reported = b""
        self.type(command.stdin)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def send(self, number: signal.Signals) -> None:
        os.killpg(self.process.pid, number)

    def wait_for(self, word: str, timeout_seconds: float = 15) -> None:
        """Return when `word` was printed."""
        self._read_until(lambda: word in self.output, timeout_seconds)
        assert word in self.output, self.output[-2000:]

    def finish(self, timeout_seconds: float = 30) -> int:
        """Return the exit code when it has ended and all it printed is read."""
        self._read_until(lambda: False, timeout_seconds)
        return self.process.wait(5)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(5)
        os.close(self._master)
        os.close(self._fifo)

    @property
    def records(self) -> list[dict[str, Any]]:
        lines = self._reported.splitlines()
        reports = [{"t": 1000.0 + n, "kind": "report", "data": json.loads(line)} for n, line in enumerate(lines)]
        return [{"t": 999.0, "kind": "started", "pid": self.process.pid, "start_ticks": 1}, *reports]

    def _read_until(self, done: Callable[[], bool], timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        ended = False
        while not done() and not ended and time.monotonic() < deadline:
            ready, _, _ = select.select([self._master, self._fifo], [], [], 0.2)
            if self._fifo in ready:
                self._reported += os.read(self._fifo, 65536)
            if self._master in ready:
                try:
                    self.output += os.read(self._master, 65536).decode("utf-8", "replace")
                except OSError:  # EIO: the last process on the terminal is gone
                    ended = True
        with contextlib.suppress(BlockingIOError):
            self._reported += os.read(self._fifo, 1 << 20)


def _take_terminal() -> None:
    """Make the terminal on standard input the session's own, so that Ctrl-C on it becomes SIGINT."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
