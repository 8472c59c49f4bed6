"""An engine that is slow to note what happened: a real one, behind a socket that answers with what was true before."""

import contextlib
import socket
import threading
from pathlib import Path

DENIAL = b"""HTTP/1.0 500 Internal Server Error\r\n\r\n{"message": "read /proc/9267/cgroup: no such process"}"""


class SlowEngine:
    """Passes everything on to the engine at `real`; holds back the end of containers for some looks.

    `denies_starts`: it starts what it should, and says that it could not, as Podman does of a process that has ended.
    """

    def __init__(self, real: Path, path: Path, *, stale_looks: int = 0, denies_starts: bool = False) -> None:
        self.path = path
        self._denies_starts = denies_starts
        self._real = real
        self._looks_left = stale_looks
        self._running = b""
        self._stream_ended = threading.Event()
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(32)
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Take no more requests."""
        # Wakes the one who accepts, which a close does not.
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    @property
    def told_all(self) -> bool:
        """Say whether the held-back answers were all asked for."""
        return self._looks_left == 0

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, socket.socket(socket.AF_UNIX) as engine:
            engine.connect(str(self._real))
            head = connection.recv(65536)
            line = head.split(b"\r\n", 1)[0]
            is_look = line.startswith(b"GET") and b"/json HTTP/1.0" in line  # as an attachment asks
            if is_look and self._running and self._stream_ended.is_set() and self._looks_left:
                self._looks_left -= 1
                connection.sendall(self._running)
                return
            engine.sendall(head)
            if self._denies_starts and b"/start HTTP/1.0" in line:
                while engine.recv(65536):
                    pass
                connection.sendall(DENIAL)
                return
            back = threading.Thread(target=_copy, args=(connection, engine), daemon=True)
            back.start()
            answer = _copy(engine, connection, keep=is_look, ended=self._stream_ended if b"/attach?" in line else None)
            if b'"Running":true' in answer:
                self._running = answer


def _copy(
    source: socket.socket, target: socket.socket, *, keep: bool = False, ended: threading.Event | None = None
) -> bytes:
    """Copy until the source ends, and end the target's reading too; return what was copied, if it is to be kept.

    `ended` is set in between: whoever reads of the end finds it set.
    """
    kept = b""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
            kept += data if keep else b""
    if ended is not None:
        ended.set()
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
    return kept
