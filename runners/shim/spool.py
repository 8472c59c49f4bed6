"""What a runner leaves on disk: its terminal as asciicast v2, its telemetry as JSON lines; both only ever grow."""

import codecs
import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Callable

from runners.shim import rundir
from runners.shim.loop import Loop

#: Output on the disk is synced at most this often, and less if the disk is slow: see Spool._sync_and_plan.
SYNC_SECONDS = 1.0
#: At most one nudge in this time, and one after it.
NUDGE_SECONDS = 0.02

_quote = json.encoder.encode_basestring


def log(text: str) -> None:
    """Write a line to shim.log, which is our standard error."""
    line = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}\n"
    # On a full disk there is no room for it either, and nobody to tell: the agent goes on. Unbuffered, so that nothing
    # is left to be written later.
    with contextlib.suppress(OSError):
        os.write(sys.stderr.fileno(), line.encode(errors="replace"))


class AppendFile:
    """An append-only file in which a record stands whole or not at all, even when the disk is full."""

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.size = os.fstat(self.fd).st_size
        self.dirty = False
        #: The first error met; kept for exit.json.
        self.error = ""

    def append(self, record: bytes) -> bool:
        """Append one record; on a full disk withdraw it and return False."""
        try:
            rundir.write_all(self.fd, record)
        except OSError as error:
            self._withdraw(error)
            return False
        self.size += len(record)
        self.dirty = True
        return True

    def _withdraw(self, error: OSError) -> None:
        os.ftruncate(self.fd, self.size)
        if not self.error:
            self.error = error.strerror or str(error)
            log(f"Output is being lost: {self.error}")

    def sync(self) -> None:
        """Make what was appended durable."""
        if not self.dirty:
            return
        self.dirty = False
        try:
            os.fdatasync(self.fd)
        except OSError as error:
            self.error = self.error or error.strerror or str(error)
            log(f"Output could not be synced: {error}")


class Cast:
    """The terminal's output as asciicast v2: a header, then [seconds, "o", text] lines, always valid JSON."""

    def __init__(self, run_dir: str, columns: int, rows: int, term: str) -> None:
        self.file = AppendFile(os.path.join(run_dir, rundir.OUTPUT))
        self.lost_bytes = 0
        self._lost_since = 0
        self._zero = time.monotonic()
        self._decoders: dict[str, codecs.IncrementalDecoder] = {}
        header = {"version": 2, "width": columns, "height": rows, "timestamp": int(time.time()), "env": {"TERM": term}}
        self.file.append(json.dumps(header).encode() + b"\n")

    def write(self, stream: str, data: bytes, *, final: bool = False) -> None:
        """Append output; a character whose bytes come in two reads is kept whole, invalid bytes become U+FFFD."""
        decoder = self._decoders.get(stream)
        if decoder is None:
            decoder = self._decoders[stream] = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(data, final)
        if not text:
            return
        if self.file.append(self._told_loss() + self._event("o", text)):
            self._lost_since = 0
        else:
            self._lost_since += len(data)
            self.lost_bytes += len(data)

    def resize(self, columns: int, rows: int) -> None:
        """Note the terminal's new size, as asciicast's "r" event."""
        self.file.append(self._event("r", f"{columns}x{rows}"))

    def close(self) -> None:
        """Write what the decoders still hold."""
        for stream in self._decoders:
            self.write(stream, b"", final=True)

    def _told_loss(self) -> bytes:
        if not self._lost_since:
            return b""
        return self._event("o", f"\r\n[{self._lost_since} bytes of output were lost: {self.file.error}]\r\n")

    def _event(self, code: str, text: str) -> bytes:
        return f'[{time.monotonic() - self._zero:.6f}, "{code}", {_quote(text)}]\n'.encode()


class Nudge:
    """Tells the node agent that there is something to read: at once, then at most every 20 ms. It may be away."""

    def __init__(self, loop: Loop, path: str, name: str) -> None:
        self._loop = loop
        self._path = path
        self._name = name.encode()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._owed = False

    def give(self) -> None:
        """Nudge now, or when the last one is 20 ms old."""
        if self._loop.has_timer("nudge"):
            self._owed = True
            return
        self.send()
        self._loop.after("nudge", NUDGE_SECONDS, self._settle)

    def _settle(self) -> None:
        if self._owed:
            self._owed = False
            self.give()

    def send(self) -> None:
        """Nudge now."""
        if not self._path:
            return
        try:
            with ShortPath(self._path) as path:
                self._socket.sendto(self._name, path)
        except OSError:
            # Nobody there, or its queue is full. It looks by itself every now and then.
            return


class ShortPath:
    """A name for a unix socket that fits the 107 bytes of an address, however long its path is."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1

    def __enter__(self) -> str:
        if len(os.fsencode(self._path)) <= 107:
            return self._path
        directory, name = os.path.split(self._path)
        self._fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._fd}/{name}"

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)


class Spool:
    """Both files of a run directory and the nudge that follows each write."""

    def __init__(self, loop: Loop, run_dir: str, cast: Cast, nudge: Nudge) -> None:
        self._loop = loop
        self.cast = cast
        self.telemetry = AppendFile(os.path.join(run_dir, rundir.TELEMETRY))
        self.nudge = nudge
        #: Called after output was written.
        self.when_output: Callable[[], None] = lambda: None
        #: When something was written last.
        self.wrote_at = time.monotonic()
        self._most_bytes: float = float("inf")
        self._when_over: Callable[[], None] = lambda: None

    def limit(self, most_bytes: int, when_over: Callable[[], None]) -> None:
        """Call `when_over` once, when one of the files has grown larger than this."""
        self._most_bytes, self._when_over = most_bytes, when_over

    def output(self, stream: str, data: bytes) -> None:
        """Append output of the agent."""
        self.cast.write(stream, data)
        self.when_output()
        self._wrote()

    def resized(self, columns: int, rows: int) -> None:
        """Note the terminal's new size."""
        self.cast.resize(columns, rows)
        self.when_output()
        self._wrote()

    def tell(self, kind: str, **facts: object) -> None:
        """Append a telemetry record."""
        # ASCII only: a report may hold lone surrogates, which have no UTF-8.
        record = json.dumps({"t": round(time.time(), 6), "kind": kind, **facts})
        self.telemetry.append(record.encode() + b"\n")
        self._wrote()

    def line(self, stream: str, line: bytes, *, partial: bool) -> None:
        """Append a line of the agent's output as telemetry."""
        text = _quote(line.decode("utf-8", "replace"))
        mark = ', "partial": true' if partial else ""
        record = f'{{"t": {time.time():.6f}, "kind": "line", "stream": "{stream}", "text": {text}{mark}}}\n'
        self.telemetry.append(record.encode())
        self._wrote()

    def _wrote(self) -> None:
        self.wrote_at = time.monotonic()
        self.nudge.give()
        if self.cast.file.size > self._most_bytes or self.telemetry.size > self._most_bytes:
            self._most_bytes = float("inf")  # said once
            self._when_over()
        if not self._loop.has_timer("sync"):
            self._loop.after("sync", SYNC_SECONDS, self._sync_and_plan)

    def _sync_and_plan(self) -> None:
        began = time.monotonic()
        self.sync()
        # A disk that takes long may take a twentieth of our time, not all of it.
        self._loop.after("sync", max(SYNC_SECONDS, 20 * (time.monotonic() - began)), self._sync_if_dirty)

    def _sync_if_dirty(self) -> None:
        if self.telemetry.dirty or self.cast.file.dirty:
            self._sync_and_plan()

    def sync(self) -> None:
        """Make both files durable."""
        self.cast.file.sync()
        self.telemetry.sync()

    def faults(self) -> dict[str, object]:
        """Return what exit.json says about lost output: nothing, if all is there."""
        error = self.cast.file.error or self.telemetry.error
        return {"spool_error": error, "lost_bytes": self.cast.lost_bytes} if error else {}
