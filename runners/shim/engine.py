"""Talk to a container engine over its unix socket, with the standard library alone: what an attachment needs.

Podman and Docker both serve Docker's API. Requests are HTTP/1.0, so that an answer ends where the connection does.
"""

import json
import socket
from urllib.parse import quote, urlencode

from runners.shim.spool import ShortPath

#: The engine's own work for one request: setting up a container takes Podman 100 ms, a busy machine much longer.
TIMEOUT_SECONDS = 30.0
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
            status, body = _read_head(connection)
            if status not in (101, 200):
                raise EngineRefused(status, _message(body + _rest(connection)))
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
                status, body = _read_head(connection)
                body += _rest(connection)
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


def _read_head(connection: socket.socket) -> tuple[int, bytes]:
    """Return the status and what followed the head."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(4096)
        if not piece or len(data) > HEAD_LIMIT_BYTES:
            raise ConnectionResetError("The engine ended the connection before it answered.")
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), body


def _rest(connection: socket.socket) -> bytes:
    pieces = []
    while piece := connection.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace").strip()[:500] or "refused without a word"
