"""Starting the agent: on a terminal or on pipes, leader of its own session and process group."""

import contextlib
import errno
import fcntl
import os
import resource
import signal
import struct
import termios
from collections.abc import Callable, Mapping

#: What a shell reports for a program that could not be executed.
EXEC_FAILED_CODE = 127


class ExecFailed(Exception):
    """The agent could not be executed; the message says why."""


class Stdio:
    """The agent's three descriptors and our ends of them. Our `terminal` is the PTY's other side, or None on pipes."""

    def __init__(self) -> None:
        self.terminal: int | None = None
        #: The agent's side of the PTY. We keep it open, so that an agent that closes its own ends nothing.
        self.slave: int | None = None
        self.input = -1
        self.outputs: dict[str, int] = {}
        self.theirs: tuple[int, int, int] = (-1, -1, -1)

    @classmethod
    def on_terminal(cls, columns: int, rows: int) -> "Stdio":
        """Open a PTY of this size."""
        self = cls()
        master, slave = os.openpty()
        attributes = termios.tcgetattr(slave)
        attributes[0] |= 0o40000  # IUTF8: line editing erases characters, not bytes. Not named in termios
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        set_size(master, columns, rows)
        self.terminal, self.slave = master, slave
        # Its own descriptor, because the loop watches a descriptor for one purpose.
        self.input = os.dup(master)
        self.outputs = {"stdout": master}
        self.theirs = (slave, slave, slave)
        return self

    @classmethod
    def on_pipes(cls) -> "Stdio":
        """Open three pipes."""
        self = cls()
        (stdin, self.input), (output, stdout), (errors, stderr) = os.pipe(), os.pipe(), os.pipe()
        self.outputs = {"stdout": output, "stderr": errors}
        self.theirs = (stdin, stdout, stderr)
        return self

    def give_away(self) -> None:
        """Close the agent's ends in this process, except a PTY's, and make ours non-blocking."""
        if self.terminal is None:
            for fd in self.theirs:
                os.close(fd)
        for fd in (self.input, *self.outputs.values()):
            os.set_blocking(fd, False)


def set_size(terminal: int, columns: int, rows: int) -> None:
    """Set the terminal's size; the foreground group gets SIGWINCH from the kernel."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def spawn(
    spec: Mapping[str, object],
    env: Mapping[str, str],
    stdio: Stdio,
    before_exec: Callable[[int], None],
    fork: Callable[[], int] = os.fork,
) -> int:
    """Start the agent and return its pid, or raise ExecFailed.

    `before_exec(pid)` runs while the new process waits: the agent's identity is on disk before the agent exists, and a
    shim that dies in between takes the waiting process with it.
    """
    gate, open_gate = os.pipe()
    failed, fail = os.pipe()
    pid = fork()
    if pid == 0:
        os.close(open_gate)
        _become(spec, env, stdio, gate, fail)
    os.close(gate)
    os.close(fail)
    try:
        before_exec(pid)
        # It may have failed already, and tells why below.
        with contextlib.suppress(BrokenPipeError):
            os.write(open_gate, b"\n")
    finally:
        os.close(open_gate)
    with os.fdopen(failed, "rb") as pipe:
        # Ends without a word when the exec closed the other side.
        sentence = pipe.read().decode()
    if sentence:
        # It has told why and only ends yet: until it has, it is in its control group, which could not be removed.
        os.waitpid(pid, 0)
        raise ExecFailed(sentence)
    return pid


def _become(spec: Mapping[str, object], env: Mapping[str, str], stdio: Stdio, gate: int, fail: int) -> None:
    """Turn this new process into the agent; never returns."""
    try:
        os.setsid()
        for target, fd in enumerate(stdio.theirs):
            os.dup2(fd, target)
        if stdio.terminal is not None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        _reset_signals()
        _limit(spec.get("rlimits"))
        argv = spec["argv"]
        if not isinstance(argv, list) or not argv:
            raise ValueError("The command is empty.")
        _enter(str(spec["cwd"]))
        os.umask(0o022)
        if not os.read(gate, 1):
            os._exit(EXEC_FAILED_CODE)
        os.execvpe(argv[0], argv, dict(env))  # noqa: S606 - starting a program is what this is for
    except BaseException as error:  # noqa: BLE001 - told to the shim, whatever it is; this process ends
        os.write(fail, _sentence(error, spec).encode("utf-8", "replace"))
    finally:
        os._exit(EXEC_FAILED_CODE)


def _enter(cwd: str) -> None:
    try:
        os.chdir(cwd)
    except OSError as error:
        raise ValueError(f"{error.strerror}: the directory {cwd}") from error


def _sentence(error: BaseException, spec: Mapping[str, object]) -> str:
    if isinstance(error, OSError) and error.errno:
        argv = spec.get("argv")
        program = argv[0] if isinstance(argv, list) and argv else ""
        hint = " (a script needs a #! line)" if error.errno == errno.ENOEXEC else ""
        return f"{error.strerror}: {program}{hint}"
    return str(error) or type(error).__name__


def _reset_signals() -> None:
    """Undo what Python and the shim changed: ignored signals would stay ignored in the agent."""
    signal.set_wakeup_fd(-1)
    for number in range(1, signal.NSIG):
        # Handlers end with the exec; only what is ignored goes on being ignored.
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _limit(limits: object) -> None:
    """Apply limits such as {"nofile": 1024}: soft and hard alike, never above what we may give."""
    if not isinstance(limits, dict):
        return
    for name, value in limits.items():
        kind = getattr(resource, f"RLIMIT_{str(name).upper()}", None)
        if not isinstance(kind, int) or not isinstance(value, int):
            raise ValueError(f"No such resource limit: {name}={value}.")
        hard = resource.getrlimit(kind)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bound, bound))
