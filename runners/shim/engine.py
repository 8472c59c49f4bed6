"""Talk to a container engine over its unix socket, with the standard library alone: what an attachment needs.

Podman and Docker both serve Docker's API. Requests are HTTP/1.0, so that an answer ends where the connection does.
"""

import json
import socket
from urllib.parse import quote, urlencode

from runners.shim.spool import ShortPath

#: The engine's own work for one request: setting up a container takes Podman 100 ms, and on an overloaded machine more
#: than 30 s. Nothing but this attachment waits for it, and the shim kills one that waits when it should end.
TIMEOUT_SECONDS = 120.0
#: A head is a few hundred bytes.
HEAD_LIMIT_BYTES = 65536


class EngineGone(OSError):
    """The engine does not answer."""


class EngineRefused(Exception):
    """The engine refused a request; the message is its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class EngineSocket:
    """One container of one engine; each request has a connection of its own."""

    def __init__(self, path: str, container: str) -> None:
        self._path = path
        self._container = quote(container, safe="")

    def start(self) -> None:
        """Start the created container."""
        self._ask("POST", "/start")

    def kill(self, signal: str) -> None:
        """Send a signal to its first process."""
        self._ask("POST", "/kill", signal=signal)

    def unpause(self) -> None:
        """Let its processes go on."""
        self._ask("POST", "/unpause")

    def resize(self, columns: int, rows: int) -> None:
        """Change its terminal's size."""
        self._ask("POST", "/resize", w=columns, h=rows)

    def remove(self) -> None:
        """Remove it, running or not, with the volumes it made."""
        self._ask("DELETE", "", force=1, v=1)

    def state(self) -> dict[str, object]:
        """Return the engine's view of it: Running, Pid, ExitCode, OOMKilled."""
        answer = json.loads(self._ask("GET", "/json"))
        state = answer["State"]
        if not isinstance(state, dict):
            raise EngineRefused(200, "The engine's answer has no state.")
        return state

    def attach(self) -> tuple[socket.socket, bytes]:
        """Return a connection that carries its streams both ways, and what already came over it."""
        query = "/attach?stream=1&stdin=1&stdout=1&stderr=1"
        connection = self._connect()
        try:
            head = f"POST /containers/{self._container}{query} HTTP/1.1\r\nHost: engine\r\nContent-Length: 0\r\n"
            connection.sendall(head.encode() + b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
            status, length, body = _read_head(connection)
            if status not in (101, 200):
                # A refusal leaves the connection open for another request.
                raise EngineRefused(status, _message(_read_body(connection, body, length)))
        except OSError as error:
            connection.close()
            raise EngineGone(str(error)) from error
        except EngineRefused:
            connection.close()
            raise
        return connection, body

    def _ask(self, method: str, verb: str, **query: object) -> bytes:
        path = f"/containers/{self._container}{verb}{'?' + urlencode(query) if query else ''}"
        with self._connect() as connection:
            try:
                connection.sendall(f"{method} {path} HTTP/1.0\r\nHost: engine\r\nContent-Length: 0\r\n\r\n".encode())
                status, length, body = _read_head(connection)
                body = _read_body(connection, body, length)
            except OSError as error:
                raise EngineGone(str(error)) from error
        # 304: it was so already.
        if status >= 400:
            raise EngineRefused(status, _message(body))
        return body

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        connection.settimeout(TIMEOUT_SECONDS)
        try:
            with ShortPath(self._path) as path:
                connection.connect(path)
        except OSError as error:
            connection.close()
            raise EngineGone(str(error)) from error
        return connection


def _read_head(connection: socket.socket) -> tuple[int, int | None, bytes]:
    """Return the status, the length of the body if it is told, and what followed the head."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(4096)
        if not piece or len(data) > HEAD_LIMIT_BYTES:
            raise ConnectionResetError("The engine ended the connection before it answered.")
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    status, *fields = head.split(b"\r\n")
    lengths = [value for name, _, value in (field.partition(b":") for field in fields) if _is_length(name)]
    return int(status.split(b" ", 2)[1]), int(lengths[0]) if lengths else None, body


def _is_length(name: bytes) -> bool:
    return name.strip().lower() == b"content-length"


def _read_body(connection: socket.socket, begun: bytes, length: int | None) -> bytes:
    """Return the whole body: as long as it is told to be, or until the connection ends."""
    body = bytearray(begun)
    while (length is None or len(body) < length) and (piece := connection.recv(65536)):
        body += piece
    return bytes(body)


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace").strip()[:500] or "refused without a word"
