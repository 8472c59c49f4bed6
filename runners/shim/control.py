"""The control socket: one JSON request a line in, one answer a line out; or a subscription to the output."""

import contextlib
import json
import os
import socket
import struct
from collections.abc import Callable

from runners.shim import rundir
from runners.shim.loop import READ, WRITE, Loop
from runners.shim.spool import ShortPath, log

MAX_CLIENTS = 64
#: A request holds at most a paste into a terminal.
REQUEST_LIMIT_BYTES = 1024 * 1024
READ_BYTES = 64 * 1024
SEND_BYTES = 256 * 1024

Request = dict[str, object]
Answer = dict[str, object]


class Refused(Exception):
    """A request that cannot be served; the message is a sentence for the caller."""


def peer_uid(peer: socket.socket) -> int:
    """Return the user id of the process at the other end of a unix socket."""
    _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(uid)


def is_trusted(peer: socket.socket) -> bool:
    """Say whether the other end is our own user, or root."""
    return peer_uid(peer) in (os.geteuid(), 0)


def listen(path: str, kind: int, backlog: int) -> socket.socket:
    """Return a socket listening at `path`, which only this user can connect to; a stale one there is removed."""
    server = socket.socket(socket.AF_UNIX, kind | socket.SOCK_CLOEXEC)
    if os.path.lexists(path):
        os.unlink(path)
    before = os.umask(0o177)
    try:
        with ShortPath(path) as short:
            server.bind(short)
    finally:
        os.umask(before)
    server.listen(backlog)
    return server


def _answer(value: Answer) -> bytes:
    return json.dumps(value).encode() + b"\n"


class Client:
    """One connection. What it does not read waits here; while something waits, nothing is read from it."""

    def __init__(self, control: "Control", connection: socket.socket) -> None:
        self._control = control
        self._socket = connection
        self._asked = bytearray()
        self._owed = bytearray()
        #: It asked too much: the rest is read and dropped, because closing now could cost it the answer.
        self._is_deaf = False
        #: Byte of output.cast that a subscriber gets next; None before it subscribes.
        self.offset: int | None = None
        self._watch(READ)

    def _watch(self, events: int) -> None:
        self._control.loop.watch(self._socket.fileno(), events, self._ready)

    def _ready(self, events: int) -> None:
        try:
            if events & READ:
                self._read()
            else:
                self.send()
            self._serve()
        except OSError:
            self.close()

    def _read(self) -> None:
        data = self._socket.recv(READ_BYTES)
        if not data or self.offset is not None:
            # A subscription is one way; a word after it would get lost between bytes of the output.
            self.close()
            return
        if not self._is_deaf:
            self._asked += data

    def _serve(self) -> None:
        """Answer the requests that are complete, one at a time and only as fast as the answers are taken."""
        while not self._owed and self.offset is None and (end := self._asked.find(b"\n")) >= 0:
            line = bytes(self._asked[:end])
            del self._asked[: end + 1]
            self._owed += _answer(self._control.answer(line, self))
            self.send()
        if len(self._asked) > REQUEST_LIMIT_BYTES:
            self._asked.clear()
            self._is_deaf = True
            self._owed += _answer({"ok": False, "error": f"A request holds at most {REQUEST_LIMIT_BYTES} bytes."})
            self.send()

    def send(self) -> None:
        """Send what is owed, as far as the other end takes it now; then what a subscriber has not seen."""
        if self._socket.fileno() < 0:
            return
        try:
            while self._owed:
                del self._owed[: self._socket.send(self._owed)]
            if self.offset is not None:
                self._send_output()
        except BlockingIOError:
            self._watch(READ | WRITE if self.offset is not None else WRITE)
            return
        except OSError:
            self.close()
            return
        self._watch(READ)

    def _send_output(self) -> None:
        assert self.offset is not None  # noqa: S101 - asked by the caller
        while self.offset < self._control.output_size():
            # From file to socket within the kernel: a late viewer of a long run costs us no memory.
            sent = os.sendfile(self._socket.fileno(), self._control.output_fd, self.offset, SEND_BYTES)
            if not sent:
                return
            self.offset += sent

    @property
    def is_behind(self) -> bool:
        """Say whether this client has not got all that is for it."""
        return bool(self._owed) or (self.offset is not None and self.offset < self._control.output_size())

    def close(self) -> None:
        """End the connection."""
        if self._socket.fileno() >= 0:
            self._control.loop.forget(self._socket.fileno())
            self._socket.close()
        self._control.clients.discard(self)


class Control:
    """Serves the control socket of one run directory."""

    def __init__(
        self,
        loop: Loop,
        run_dir: str,
        serve: Callable[[Request], Answer],
        output_fd: int,
        output_size: Callable[[], int],
    ) -> None:
        self.loop = loop
        self.clients: set[Client] = set()
        self.output_fd = output_fd
        self.output_size = output_size
        self._run = serve
        self._path = os.path.join(run_dir, rundir.SOCKET)
        self._server = listen(self._path, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, MAX_CLIENTS)
        loop.watch(self._server.fileno(), READ, lambda _: self._accept())

    def _accept(self) -> None:
        try:
            connection, _ = self._server.accept()
        except OSError as error:
            log(f"A connection could not be accepted: {error}")
            return
        connection.setblocking(False)
        if not is_trusted(connection):
            self._turn_away(connection, "This runner belongs to another user.")
        elif len(self.clients) >= MAX_CLIENTS:
            self._turn_away(connection, f"More than {MAX_CLIENTS} connections are open.")
        else:
            self.clients.add(Client(self, connection))

    def _turn_away(self, connection: socket.socket, sentence: str) -> None:
        with connection:
            connection.send(_answer({"ok": False, "error": sentence}))

    def answer(self, line: bytes, client: Client) -> Answer:
        """Return the answer to one request; junk is answered with a sentence too."""
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise Refused("A request is a JSON object with an `op`.")
            if request.get("op") == "subscribe":
                return self._subscribe(client, request.get("offset", 0))
            return {"ok": True, **self._run(request)}
        except Refused as refusal:
            return {"ok": False, "error": str(refusal)}
        except (ValueError, RecursionError):
            return {"ok": False, "error": "The request is not valid JSON."}

    def _subscribe(self, client: Client, offset: object) -> Answer:
        if type(offset) is not int or offset < 0:
            raise Refused("`offset` is a byte position in output.cast, 0 or more.")
        client.offset = min(offset, self.output_size())
        return {"ok": True, "offset": client.offset}

    def output_grew(self) -> None:
        """Pass new output on to the subscribers who have all that came before."""
        for client in [client for client in self.clients if client.offset is not None]:
            client.send()

    def close(self) -> None:
        """Take no more connections; those that are open may still read what is theirs."""
        self.loop.forget(self._server.fileno())
        self._server.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)

    @property
    def is_behind(self) -> bool:
        """Say whether a client still has something to get."""
        return any(client.is_behind for client in self.clients)
