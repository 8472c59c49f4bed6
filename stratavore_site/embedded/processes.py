"""Start a server as a direct child that does not outlive us, and end it by its process id."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from stratavore_site.embedded import launch
from stratavore_site.embedded.errors import CannotStart
from stratavore_site.embedded.privileges import Identity

LOOPBACK = "127.0.0.1"
#: After which a server that does not answer counts as broken. The slowest seen: a RabbitMQ on two busy cores, 8 s.
DEADLINE_SECONDS = 60.0
#: How often a condition is looked at: short beside the 0.1 s that PostgreSQL takes to start.
LOOK_SECONDS = 0.02


def _wrapped(command: Sequence[str | Path], who: Identity | None, death_signal: int) -> list[str]:
    uid, gid = (who.uid, who.gid) if who else (-1, -1)
    launcher = [sys.executable, "-I", "-S", launch.__file__, os.getpid(), int(death_signal), uid, gid]
    return [str(word) for word in (*launcher, *command)]


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path,
    who: Identity | None = None,
    death_signal: int = signal.SIGTERM,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> "subprocess.Popen[bytes]":
    """Start `command` in a session of its own, its output appended to `log`.

    A session of its own, so that Ctrl-C reaches only us: we end children in their order. When the calling *thread*
    ends, even by SIGKILL, the kernel sends the child `death_signal`.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            _wrapped(command, who, death_signal),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=None if env is None else dict(env),
            cwd=cwd or "/",
            start_new_session=True,
        )


def run(
    command: Sequence[str | Path], *, who: Identity | None = None, text: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run `command` to its end with `text` as its input; its output and errors come back as one string."""
    return subprocess.run(
        _wrapped(command, who, signal.SIGKILL),
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd="/",
        check=False,
    )


def end(process: "subprocess.Popen[bytes]", gentle: int, *, grace_seconds: float) -> None:
    """Send `gentle`, wait, then SIGKILL. The process is our unreaped child, so its id cannot be another's."""
    if process.poll() is None:
        process.send_signal(gentle)
    try:
        process.wait(grace_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_until(condition: Callable[[], bool], *, seconds: float = DEADLINE_SECONDS) -> bool:
    """Wait for `condition` with a deadline; return whether it came true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_SECONDS)
    return True


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Return whether `port` can be listened on now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection in TIME_WAIT does not count
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def answers(port: int, host: str = LOOPBACK) -> bool:
    """Return whether something listens on `port`."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def free_port() -> int:
    """Return a port that is free now; the kernel chooses, so two callers hardly ever get the same one."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port


def remembered_port(file: Path, *, patience_seconds: float = 0.0) -> int:
    """Return the port in `file` if it is free, else a free one, written there: addresses stay the same if they can.

    With patience, a predecessor that was told to end gets that long to let go of it.
    """
    try:
        port = int(file.read_text())
    except (OSError, ValueError):
        port = 0
    if port and wait_until(lambda: is_free(port), seconds=patience_seconds):
        return port
    port = free_port()
    file.write_text(f"{port}\n")
    return port


def remembered_secret(file: Path, make: Callable[[], str]) -> str:
    """Return the secret in `file` (mode 0600), made if there is none."""
    try:
        kept = file.read_text().strip()
    except FileNotFoundError:
        kept = ""
    if kept:
        return kept
    secret = make()
    write_private(file, secret + "\n")
    return secret


def write_private(file: Path, text: str) -> None:
    """Write `file` atomically, readable by us alone from the first byte."""
    partial = file.with_name(f"{file.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
    partial.replace(file)


def log_since(log: Path, offset: int) -> str:
    """Return what was written to `log` after `offset`."""
    try:
        with log.open("rb") as stream:
            stream.seek(offset)
            return stream.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def size(file: Path) -> int:
    """Return the size of `file`; 0 when there is none."""
    return file.stat().st_size if file.exists() else 0


def executable(path: Path) -> Path:
    """Return `path`, or raise CannotStart: the wheel holds no program for this machine."""
    if not os.access(path, os.X_OK):
        raise CannotStart(
            f"{path} is missing: the installed wheel has no server for this machine; set DATABASE_URL and REDIS_URL."
        )
    return path
