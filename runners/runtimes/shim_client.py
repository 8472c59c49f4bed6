"""Talk to the shim of one run directory over its control socket."""

import base64
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runners.shim import rundir
from runners.shim.spool import ShortPath

TIMEOUT_SECONDS = 5.0
#: An answer is a few hundred bytes; more is not a shim.
ANSWER_LIMIT_BYTES = 1 << 20


class ShimGone(OSError):
    """No shim listens in this run directory: it is not there yet, or not any more."""


class ShimSilent(TimeoutError):
    """The shim did not answer in time."""


class ShimRefused(ValueError):
    """The shim refused the request; the message is its sentence."""


class ShimClient:
    """One request a connection: nothing to keep open, nothing to reconnect."""

    def __init__(self, run_dir: Path, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self.run_dir = run_dir
        self.timeout_seconds = timeout_seconds

    def status(self) -> dict[str, Any]:
        """Return state, identities and byte counts."""
        return self.ask("status")

    def input(self, data: str | bytes, *, once: str = "") -> None:
        """Type into the agent; with a key in `once`, what was typed under it before is not typed again."""
        key = {"once": once} if once else {}
        if isinstance(data, str):
            self.ask("input", data=data, **key)
        else:
            self.ask("input", base64=base64.b64encode(data).decode(), **key)

    def resize(self, columns: int, rows: int) -> None:
        """Change the terminal's size."""
        self.ask("resize", columns=columns, rows=rows)

    def signal(self, name: str) -> None:
        """Send a signal, by name, to the agent's group."""
        self.ask("signal", signal=name)

    def pause(self) -> bool:
        """Suspend the agent; return False if it was already."""
        return bool(self.ask("pause")["changed"])

    def resume(self) -> bool:
        """Let it go on; return False if it did."""
        return bool(self.ask("resume")["changed"])

    def stop(self, grace_seconds: float, reason: str) -> None:
        """Ask the agent to end within the grace period."""
        self.ask("stop", grace_seconds=grace_seconds, reason=reason)

    def kill(self, reason: str) -> None:
        """End it at once."""
        self.ask("kill", reason=reason)

    def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        """Send one request and return its answer. Raises ShimGone, ShimSilent, ShimRefused."""
        with self._connect() as connection:
            return self._exchange(connection, {"op": op, **arguments})

    @contextmanager
    def subscribe(self, offset: int) -> Iterator[tuple[int, socket.socket]]:
        """Give the byte offset at which the stream begins, and a socket that carries output.cast from there, verbatim.

        The connection ends after the last byte of the run.
        """
        with self._connect() as connection:
            # The output follows the answer at once: the answer is read byte by byte, or it would take some along.
            answer = self._exchange(connection, {"op": "subscribe", "offset": offset}, at_once=1)
            yield answer["offset"], connection

    @contextmanager
    def _connect(self) -> Iterator[socket.socket]:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self.timeout_seconds)
        try:
            with connection:
                with ShortPath(str(self.run_dir / rundir.SOCKET)) as path:
                    connection.connect(path)
                yield connection
        except TimeoutError as error:
            raise ShimSilent(f"The shim in {self.run_dir} did not answer in {self.timeout_seconds} s.") from error
        except (FileNotFoundError, ConnectionError) as error:
            raise ShimGone(f"No shim listens in {self.run_dir}.") from error

    def _exchange(self, connection: socket.socket, request: dict[str, Any], *, at_once: int = 65536) -> dict[str, Any]:
        connection.sendall(json.dumps(request).encode() + b"\n")
        answer: dict[str, Any] = json.loads(_line(connection, at_once))
        if not answer.pop("ok", False):
            raise ShimRefused(answer.get("error", "The shim refused without a word."))
        return answer


def _line(connection: socket.socket, at_once: int) -> bytes:
    line = bytearray()
    while not line.endswith(b"\n"):
        data = connection.recv(at_once)
        if not data:
            raise ConnectionResetError("The shim ended before it answered.")
        line += data
        if len(line) > ANSWER_LIMIT_BYTES:
            raise ShimRefused("What answered is not a shim.")
    return bytes(line)
