"""Start the zygote, and have it fork shims."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from runners.runtimes.base import StartFailed
from runners.shim.spool import ShortPath

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 10.0
#: The zygote takes a request in milliseconds; an exec costs 100.
REQUEST_SECONDS = 0.5


def shim_command(entry: str, *words: str) -> list[str]:
    """Return the command line of a bare interpreter that runs `main()` of the shim's module `entry`."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from runners.shim.{entry} import main; main()"
    # -I and -S: nothing of the environment, no site-packages. It starts in a tenth of the time.
    return [sys.executable, "-I", "-S", "-c", code, *words]


def popen_detached(command: Sequence[str], pass_fds: Sequence[int], log: int) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, without our environment or directory."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd="/",
        env=environment,
        pass_fds=pass_fds,
        start_new_session=True,
    )


class Zygote:
    """A running zygote; it ends when this object is closed, or this process ends, however that happens."""

    def __init__(self, process: subprocess.Popen[bytes], lifeline: socket.socket) -> None:
        self.process = process
        self._lifeline = lifeline

    @property
    def is_alive(self) -> bool:
        """Say whether it runs."""
        return self.process.poll() is None

    def close(self) -> None:
        """End it; its shims go on."""
        self._lifeline.close()
        self.process.wait(START_SECONDS)


def start_zygote(socket_path: Path) -> Zygote:
    """Start a zygote that listens at `socket_path`, and wait until it does. Raises StartFailed."""
    socket_path.parent.mkdir(parents=True, exist_ok=True)
    log_path = socket_path.with_suffix(".log")
    ours, lifeline = socket.socketpair()
    with log_path.open("ab") as log, lifeline:
        words = (str(socket_path), str(lifeline.fileno()))
        process = popen_detached(shim_command("zygote", *words), [lifeline.fileno()], log.fileno())
    ours.settimeout(START_SECONDS)
    try:
        listens = bool(ours.recv(1))
    except TimeoutError:
        process.kill()
        listens = False
    zygote = Zygote(process, ours)
    if not listens:
        zygote.close()
        raise StartFailed(f"The zygote did not start; {log_path} may say why.")
    return zygote


def fork_shim(socket_path: Path, run_dir: Path, lock: int) -> socket.socket | None:
    """Ask the zygote for a shim that takes over `lock`; return the connection on which it will tell that it started.

    None if no zygote listens.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(REQUEST_SECONDS)
    try:
        with ShortPath(str(socket_path)) as path:
            connection.connect(path)
        socket.send_fds(connection, [os.fsencode(run_dir)], [lock])
    except OSError:
        # Not there, or ending, or too busy: exec serves.
        connection.close()
        return None
    return connection
