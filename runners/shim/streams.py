"""The agent's output on its way to the spool, its input on the way in, and the report FIFO."""

import contextlib
import errno
import json
import os
from collections.abc import Callable

from runners.shim.agent import Stdio
from runners.shim.lines import Lines
from runners.shim.loop import READ, WRITE, Loop
from runners.shim.spool import Spool

#: A longer line of output is told in pieces.
LINE_LIMIT_BYTES = 8 * 1024 * 1024
REPORT_LIMIT_BYTES = 1024 * 1024
#: What waits to be read by an agent that does not read its input.
INPUT_LIMIT_BYTES = 1024 * 1024
#: A pipe holds at most 1 MB: more turns than that at the end are not the agent's words.
DRAIN_TURNS = 64
#: Read at one turn, so that a flood on one descriptor does not starve the others; it bounds a line of output.cast.
TURN_BYTES = 64 * 1024


def read_turn(fd: int) -> tuple[bytes, bool]:
    """Return what a non-blocking descriptor holds now, at most TURN_BYTES, and whether it has ended."""
    chunks: list[bytes] = []
    size = 0
    ended = False
    while size < TURN_BYTES:
        try:
            chunk = os.read(fd, TURN_BYTES - size)
        except BlockingIOError:
            break
        except OSError as error:
            if error.errno != errno.EIO:  # a PTY whose other side is closed
                raise
            chunk = b""
        if not chunk:
            ended = True
            break
        chunks.append(chunk)
        size += len(chunk)
    return b"".join(chunks), ended


class Output:
    """Copies the agent's output to the spool: the raw stream always, on pipes its lines as well."""

    def __init__(self, loop: Loop, spool: Spool, stdio: Stdio, hear: Callable[[bytes], None]) -> None:
        self._loop = loop
        self._spool = spool
        self._stdio = stdio
        #: Called with each line of standard output on pipes.
        self._hear = hear
        self._open = dict(stdio.outputs)
        self._lines = {} if stdio.terminal is not None else {name: Lines(LINE_LIMIT_BYTES) for name in self._open}
        self._when_ended: Callable[[], None] | None = None
        for name, fd in self._open.items():
            loop.watch(fd, READ, self._reader(name))

    def _reader(self, name: str) -> Callable[[int], None]:
        def read(_: int) -> None:
            self._turn(name)

        return read

    def _turn(self, name: str) -> bool:
        """Copy what is there; return whether there was something."""
        fd = self._open.get(name)
        if fd is None:
            return False
        data, ended = read_turn(fd)
        if data:
            self._spool.output(name, data)
            self._split(name, data)
        if ended:
            self._close(name)
        return bool(data)

    def _split(self, name: str, data: bytes) -> None:
        if name in self._lines:
            for line, partial in self._lines[name].feed(data):
                self._spool.line(name, line, partial=partial)
                if name == "stdout":
                    self._hear(line)

    def _close(self, name: str) -> None:
        fd = self._open.pop(name)
        self._loop.forget(fd)
        if fd != self._stdio.terminal:
            os.close(fd)
        if not self._open and self._when_ended:
            self._when_ended()

    def drain(self, when_ended: Callable[[], None]) -> None:
        """Call back once all output is copied; to be called when nobody is left to write.

        A PTY tells that it is empty only after its last slave is closed: ours.
        """
        if self._stdio.slave is not None:
            os.close(self._stdio.slave)
            self._stdio.slave = None
        for name in list(self._open):
            # Bounded: a stranger who holds the other end may write for ever.
            for _ in range(DRAIN_TURNS):
                if not self._turn(name):
                    break
        if self._open:
            self._when_ended = when_ended
        else:
            when_ended()

    def finish(self) -> bool:
        """Flush what stood without a newline; return whether somebody still holds the output open."""
        held = bool(self._open)
        self._when_ended = None
        for name in list(self._open):
            self._close(name)
        for name, lines in self._lines.items():
            for line, partial in lines.rest():
                self._spool.line(name, line, partial=partial)
        self._spool.cast.close()
        return held


class Input:
    """Bytes on their way into the agent, written as it reads them."""

    def __init__(self, loop: Loop, stdio: Stdio) -> None:
        self._loop = loop
        self._fd: int | None = stdio.input
        self._waiting = bytearray()
        self._close_when_written = False

    @property
    def is_open(self) -> bool:
        """Say whether more may be written."""
        return self._fd is not None and not self._close_when_written

    def write(self, data: bytes) -> bool:
        """Queue `data`; return False if too much waits already. With nothing waiting any size is taken: a prompt."""
        if self._waiting and len(self._waiting) + len(data) > INPUT_LIMIT_BYTES:
            return False
        self._waiting += data
        self._flush()
        return True

    def close_when_written(self) -> None:
        """End the input after what waits."""
        self._close_when_written = True
        self._flush()

    def _flush(self, _events: int = WRITE) -> None:
        if self._fd is None:
            return
        try:
            while self._waiting:
                del self._waiting[: os.write(self._fd, self._waiting)]
        except BlockingIOError:
            self._loop.watch(self._fd, WRITE, self._flush)
            return
        except OSError:
            # The agent closed its input, or ended: it does not want the rest.
            self._close_when_written = True
        self._loop.forget(self._fd)
        if self._close_when_written:
            self.close()

    def close(self) -> None:
        """Write no more."""
        self._waiting.clear()
        if self._fd is not None:
            self._loop.forget(self._fd)
            os.close(self._fd)
            self._fd = None


class LastWord:
    """Ends the agent's input once it has printed a JSON object that holds `members`: else it would wait for more."""

    def __init__(self, agent_input: Input, members: object) -> None:
        self._input = agent_input
        self._members = members if isinstance(members, dict) else {}
        # Nearly all lines are passed over without parsing them.
        self._signs = [json.dumps(value).encode() for value in self._members.values()]

    def hear(self, line: bytes) -> None:
        """Look at one line of standard output."""
        if not self._signs or not self._input.is_open or not all(sign in line for sign in self._signs):
            return
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            return
        if isinstance(said, dict) and all(said.get(name) == value for name, value in self._members.items()):
            self._input.close_when_written()


class Reports:
    """The FIFO into which any program may write JSON lines; each becomes a telemetry record."""

    def __init__(self, loop: Loop, spool: Spool, path: str) -> None:
        self._spool = spool
        self._path = path
        self._lines = Lines(REPORT_LIMIT_BYTES)
        if not os.path.lexists(path):
            os.mkfifo(path, 0o600)
        # Open for writing too: it never ends, however many writers come and go.
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        loop.watch(self._fd, READ, lambda _: self.read())

    def read(self) -> None:
        """Copy what was reported."""
        for line, _ in self._lines.feed(read_turn(self._fd)[0]):
            self._report(line)

    def _report(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").strip()
        if text:
            self._spool.tell("report", data=parse_report(text))

    def finish(self) -> None:
        """Take the last reports and remove the FIFO: who opened it now would wait for ever."""
        self.read()
        for line, _ in self._lines.rest():
            self._report(line)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)


def parse_report(text: str) -> object:
    """Return the JSON value in `text`, or {"raw": text}."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return {"raw": text}


def _refuse_constant(name: str) -> None:
    """Python reads NaN and Infinity, which are not JSON: whoever reads the telemetry next would stumble."""
    raise ValueError(name)
