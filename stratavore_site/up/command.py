"""The command `up`: its arguments, and the order of things."""

import argparse
import gc
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType, ModuleType
from typing import IO

from stratavore_site.embedded.errors import CannotStart
from stratavore_site.embedded.processes import LOOPBACK
from stratavore_site.up import choice, ground, readiness
from stratavore_site.up.crew import Crew, last_line

BANNER = """
  Stratavore is up{took}.

    Dashboard   http://{host}:{port}/
    Admin       http://{host}:{port}/admin/
    API         http://{host}:{port}/api/docs/
    Log in as   {admin}, {password}

  Logs are in {logs}. Ctrl-C stops everything except running agents.
"""


class Stopped(Exception):
    """A signal asked us to end."""


def say(sentence: str) -> None:
    """Print one line now, to whoever reads: a terminal or a pipe."""
    print(sentence, flush=True)  # noqa: T201 - a command speaks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `up`."""
    parser.add_argument(
        "--port", type=int, default=None, help="the port to serve on (default: 8000 or the next free one)"
    )
    parser.add_argument("--host", default=LOOPBACK, help="the address to serve on (default: %(default)s)")
    parser.add_argument("--no-demo", action="store_true", help="start no demo")


def main(arguments: list[str]) -> int:
    """Bring everything up and look after it until told to end; return the exit code."""
    parser = argparse.ArgumentParser(prog="manage.py up", description="Start Stratavore with everything it needs.")
    add_arguments(parser)
    options = parser.parse_args(arguments)
    try:
        return Up(options).run()
    except CannotStart as sentence:
        sys.stderr.write(f"{sentence}\n")
        return 1


class Up:
    """One run of the command."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.host: str = options.host
        self.wanted_port: int | None = options.port
        self.demo = not options.no_demo
        self.begun = time.monotonic()
        self.signals = 0
        self.starting = True
        self.welcomed = False
        self.servers: list[choice.Server] = []

    def run(self) -> int:
        """Start everything, watch it, stop it."""
        self.state = ground.state_directory(choice.state_path())
        with ground.alone(self.state) as lock:
            ground.enough_disk(self.state)
            self.port = ground.port(self.wanted_port, self.host)
            self.crew = Crew(self.state / "logs", say)
            self.crew.private.append(lock.fileno())
            try:
                self.listen_to_signals()
                self.start(lock)
                self.starting = False
                while not self.signals:
                    self.crew.look_after(60.0)
            except Stopped:
                pass
            finally:
                self.stop()
        return 0

    def listen_to_signals(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self.on_signal)

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Count: the first asks us to end, in the middle of the start too; a second one hurries."""
        self.signals += 1
        if self.starting:
            self.starting = False
            raise Stopped

    def start(self, lock: IO[str]) -> None:
        """Bring everything up. What does not wait for the servers is done while they start."""
        ground.tell(lock, f"process {os.getpid()} is just starting.")
        self.servers = choice.servers(self.state)
        say(
            "Starting " + ", ".join(server.name for server in self.servers) + " and Stratavore ..."
            if self.servers
            else "Starting Stratavore ..."
        )
        self.set_environment(choice.launch(self.servers))
        self.crew.add_program("web", web_command(self.host, self.port), dict(os.environ), choice.PROJECT)
        roles, preparation, demo = import_django()
        for server in self.servers:
            server.wait_ready()
            self.watch(server)
        self.prepare(preparation)
        gc.freeze()  # what is imported is shared with the forks as long as nobody touches it, the collector included
        for name, function in roles.forked(self.state).items():
            self.crew.add_fork(name, function)
        readiness.wait(self.host, self.port, look_after=self.crew.look_after, say=say)
        if self.demo and self.crew.once("demo", demo.begin_demo) != 0:
            say(f"The demo could not be started: {last_line(self.crew.log('demo'))}")
        self.welcome(lock)

    def set_environment(self, addresses: dict[str, str]) -> None:
        """Make the settings what was chosen, here, in the children, and in the file for other commands."""
        values = choice.settings(self.state, addresses)
        ground.short_enough(Path(values["STRATAVORE_RUNS_DIR"]))
        file = choice.env_file(self.state)
        choice.write(file, values)
        os.environ.update(values, STRATAVORE_ENV_FILE=str(file))

    def watch(self, server: choice.Server) -> None:
        """Have the crew start this server again should it end."""

        def begin_again() -> "subprocess.Popen[bytes]":
            server.start()
            assert server.process is not None  # noqa: S101 - start() has just made it
            return server.process

        assert server.process is not None  # noqa: S101 - it has just become ready
        self.crew.add_server(server.name, begin_again, server.log, server.process)

    def prepare(self, preparation: ModuleType) -> None:
        """Migrate and seed, in a fork: this process keeps no connection that its forks would inherit."""
        self.password_file = self.state / "admin-password"
        self.first = not self.password_file.exists()
        (self.state / "workspaces").mkdir(mode=0o700, exist_ok=True)
        (self.state / "runs").mkdir(mode=0o700, exist_ok=True)
        if self.crew.once("prepare", lambda: preparation.prepare(self.password_file)) != 0:
            raise CannotStart(f"{last_line(self.crew.log('prepare'))} (more in {self.crew.log('prepare')})")

    def welcome(self, lock: IO[str]) -> None:
        """Print where it is and how to get in; the password is shown at the first start only."""
        address = f"http://{self.host}:{self.port}/"
        ground.tell(lock, f"process {os.getpid()}, {address}. End it with Ctrl-C there, or with: kill {os.getpid()}")
        password = (
            f"password {self.password_file.read_text().strip()}" if self.first else f"password in {self.password_file}"
        )
        took = f" after {time.monotonic() - self.begun:.1f} s"
        self.welcomed = True
        say(
            BANNER.format(
                took=took, host=self.host, port=self.port, admin="admin", password=password, logs=self.crew.logs
            )
        )

    def stop(self) -> None:
        """End every process that was started, servers last; say which agents go on."""
        self.starting = False
        if self.welcomed or self.signals:
            say("\nStopping ...")
        self.crew.stop(hurry=self.in_a_hurry)
        going_on = self.who_goes_on()
        for server in self.servers:
            server.stop(immediately=self.in_a_hurry())
        if going_on:
            say("These agents go on; the next `make up` finds them again:\n  " + "\n  ".join(going_on))
        if self.welcomed or self.signals:
            say("Stopped.")

    def in_a_hurry(self) -> bool:
        return self.signals > 1

    def who_goes_on(self) -> list[str]:
        """Return the agents of this node that live on, while there is a database to ask."""
        preparation = sys.modules.get("stratavore_site.up.preparation")
        if preparation is None or self.in_a_hurry() or not all(server.running for server in self.servers):
            return []
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "runners"
            self.crew.once("last words", lambda: preparation.tell_who_goes_on(file))
            return file.read_text().splitlines() if file.exists() else []


def web_command(host: str, port: int) -> list[str]:
    """Return the command of the web process; without its access log, for requests are logged by django_structlog."""
    return [sys.executable, "-m", "daphne", "-v", "0", "-b", host, "-p", str(port), "stratavore_site.asgi:application"]


def import_django() -> tuple[ModuleType, ModuleType, ModuleType]:
    """Import Django and this project, 2 to 3 s, now that the settings can be read. Raises CannotStart."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "stratavore_site.settings")
    import django
    from django.core.exceptions import ImproperlyConfigured

    try:
        django.setup()
    except ImproperlyConfigured as problem:
        raise CannotStart(str(problem)) from None
    from stratavore_site.up import demo, preparation, roles

    return roles, preparation, demo
