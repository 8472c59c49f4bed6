"""The children of `up`: started, watched, started again after a pause when they end, stopped in order.

Most are forks of this process, which has Django imported: one import instead of five, and shared memory. The web
process is started afresh, because importing daphne makes an event loop, and two processes cannot share one.
"""

import contextlib
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from stratavore_site.embedded.launch import die_with_parent
from stratavore_site.embedded.processes import spawn, wait_until

#: A child that ends is started again after 1, 2, 4 ... 30 s; one that lived this long begins at 1 s again.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, STEADY_SECONDS = 1.0, 30.0, 60.0
#: How long the children have to end by themselves. Celery finishes its current task, which is short here.
GRACE_SECONDS = 10.0
#: A log is moved aside at this size; with the one moved aside, a child keeps at most twice as much.
LONGEST_LOG_BYTES = 10_000_000
LOOK_AT_LOGS_SECONDS = 60.0


class Process(Protocol):
    """What Popen and Forked have in common."""

    pid: int

    def poll(self) -> int | None: ...

    def send_signal(self, sig: int, /) -> None: ...


class Forked:
    """A fork of this process, with the manners of a Popen."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, a signal as a negative number, or None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def send_signal(self, sig: int, /) -> None:
        """Send a signal, unless it has ended: then its number may be another's."""
        if self.poll() is None:
            os.kill(self.pid, sig)


def fork(function: Callable[[], object], *, log: Path, close: Sequence[int] = ()) -> Forked:
    """Run `function` in a fork, in a session of its own, its output in `log`; the kernel kills it when we end."""
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return Forked(pid)
    code = 1
    try:
        _become_child(parent, log, close)
        function()
        code = 0
    except SystemExit as wanted:
        code = wanted.code if isinstance(wanted.code, int) else int(wanted.code is not None)
        if isinstance(wanted.code, str):
            sys.stderr.write(f"{wanted.code}\n")
    except BaseException:  # noqa: BLE001 - the outermost frame of a process
        traceback.print_exc()
    finally:
        # Never back into the parent's code, nor its exit handlers.
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _become_child(parent: int, log: Path, close: Sequence[int]) -> None:
    os.setsid()
    die_with_parent(parent, signal.SIGKILL)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    for descriptor in close:
        os.close(descriptor)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(output)
    os.close(nothing)


@dataclass
class Member:
    """One child: how to start it, and how it has fared."""

    name: str
    begin: Callable[[], Process]
    log: Path
    process: Process | None = None
    started_at: float = 0.0
    pause_seconds: float = FIRST_PAUSE_SECONDS
    begin_at: float = 0.0
    #: A server: it ends after all others, in its own way.
    server: bool = False

    def start(self) -> None:
        rotate(self.log)
        self.process = self.begin()
        self.started_at = time.monotonic()

    def ended(self) -> int | None:
        """Return how the child ended, once; None while it runs or waits to be started again."""
        code = self.process.poll() if self.process else None
        if code is None:
            return None
        self.process = None
        if time.monotonic() - self.started_at > STEADY_SECONDS:
            self.pause_seconds = FIRST_PAUSE_SECONDS
        self.begin_at = time.monotonic() + self.pause_seconds
        return code


@dataclass
class Crew:
    """All children, and the pipe that wakes us when one ends or a signal comes."""

    logs: Path
    say: Callable[[str], None]
    members: list[Member] = field(default_factory=list)
    #: Descriptors that a fork must not keep: the lock above all.
    private: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.logs.mkdir(mode=0o700, exist_ok=True)
        self._wake_read, wake_write = os.pipe()
        for descriptor in (self._wake_read, wake_write):
            os.set_blocking(descriptor, False)
        self.private += [self._wake_read, wake_write]
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # so that the wake-up is written at all
        self._logs_seen_at = time.monotonic()

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def add_fork(self, name: str, function: Callable[[], object]) -> None:
        """Start a child that runs `function` in a fork of this process."""
        self._add(Member(name, lambda: fork(function, log=self.log(name), close=self.private), self.log(name)))

    def add_program(self, name: str, command: Sequence[str], env: Mapping[str, str], cwd: Path) -> None:
        """Start a child that is a program of its own."""
        begin = lambda: spawn(command, log=self.log(name), death_signal=signal.SIGKILL, env=env, cwd=cwd)  # noqa: E731
        self._add(Member(name, begin, self.log(name)))

    def add_server(self, name: str, begin: Callable[[], Process], log: Path, process: Process) -> None:
        """Watch a server that runs already. Whoever started it ends it."""
        self.members.append(Member(name, begin, log, process=process, started_at=time.monotonic(), server=True))

    def _add(self, member: Member) -> None:
        member.start()
        self.members.append(member)

    def once(self, name: str, function: Callable[[], object]) -> int:
        """Run `function` in a fork to its end; return its exit code."""
        child = fork(function, log=self.log(name), close=self.private)
        try:
            while child.poll() is None:
                self.look_after(1.0)
        finally:
            child.send_signal(signal.SIGKILL)
        return child.poll() or 0

    def look_after(self, seconds: float) -> None:
        """Wait for something to happen, `seconds` at most, and start again what has ended."""
        now = time.monotonic()
        due = [member.begin_at - now for member in self.members if member.process is None]
        select.select([self._wake_read], [], [], max(0.0, min([seconds, *due])))
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 512)
        for member in self.members:
            self._look_after(member)
        if now - self._logs_seen_at > LOOK_AT_LOGS_SECONDS:
            self._logs_seen_at = now
            for member in self.members:
                rotate(member.log)

    def _look_after(self, member: Member) -> None:
        code = member.ended()
        if code is not None:
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            self.say(f"The {member.name} {how}: {last_line(member.log)}")
            self.say(f"  starting it again in {member.pause_seconds:.0f} s; its log is {member.log}")
            member.pause_seconds = min(member.pause_seconds * 2, LONGEST_PAUSE_SECONDS)
        elif member.process is None and time.monotonic() >= member.begin_at:
            self._begin_again(member)

    def _begin_again(self, member: Member) -> None:
        try:
            member.start()
        except Exception as reason:  # noqa: BLE001 - said aloud, and tried again
            self.say(f"{member.name} could not be started: {reason}")
            member.begin_at = time.monotonic() + member.pause_seconds
            member.pause_seconds = min(member.pause_seconds * 2, LONGEST_PAUSE_SECONDS)

    def stop(self, hurry: Callable[[], bool]) -> None:
        """End every child: gently, and after the grace period, or when `hurry` says so, by SIGKILL."""
        running = [member.process for member in self.members if member.process and not member.server]
        for process in running:
            process.send_signal(signal.SIGTERM)
        wait_until(lambda: hurry() or all(process.poll() is not None for process in running), seconds=GRACE_SECONDS)
        for process in running:
            process.send_signal(signal.SIGKILL)
        wait_until(lambda: all(process.poll() is not None for process in running))
        self.members.clear()


def rotate(log: Path) -> None:
    """Move a long log's content aside. The file stays the same one: its writer appends, so it starts at the new end."""
    if log.exists() and log.stat().st_size > LONGEST_LOG_BYTES:
        log.with_suffix(".log.1").write_bytes(log.read_bytes())
        os.truncate(log, 0)


def last_line(log: Path, window_bytes: int = 4000) -> str:
    """Return the last line of a log that says something."""
    if not log.exists():
        return "it wrote nothing"
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - window_bytes))
        lines = [line.strip() for line in stream.read().decode(errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "it wrote nothing")
