"""The servers of one pytest session, there before Django reads its settings; `-p tests.servers` in pyproject.toml.

The first process of a session starts PostgreSQL and Valkey under .stratavore/test/<id>/ and tells their addresses
through the environment. Under xdist a worker asks that process, over a unix socket, for what it needs besides: a Valkey
of its own (published messages know no database numbers), and RabbitMQ once a test wants it. All of it ends with that
process, however it ends.
"""

import atexit
import contextlib
import fcntl
import json
import os
import secrets
import shutil
import socket
import tempfile
import threading
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import IO

import psutil
import pytest
from amqp import Connection
from amqp.exceptions import AMQPError

from stratavore_site.embedded import privileges
from stratavore_site.embedded.errors import CannotStart
from stratavore_site.embedded.postgres import Postgres
from stratavore_site.embedded.rabbitmq import RabbitMQ, speaks_amqp
from stratavore_site.embedded.valkey import Valkey

PROJECT = Path(__file__).resolve().parent.parent
SESSIONS = PROJECT / ".stratavore" / "test"
CACHE = PROJECT / ".stratavore" / "cache"
#: Tells the processes of a session from all others, and the workers where to ask.
SESSION_VARIABLE = "STRATAVORE_TEST_SESSION"
AMQP_VARIABLE = "STRATAVORE_TEST_AMQP_URL"
#: A virtual host for each xdist worker; `make test` uses 2 or 3.
VHOSTS = tuple(f"gw{number}" for number in range(8))


def worker_name() -> str:
    """Return the name of this xdist worker; "main" without xdist."""
    return os.environ.get("PYTEST_XDIST_WORKER", "main")


class Session:
    """What the first process of a session keeps: a directory, a lock on it, servers, and an ear for its workers."""

    def __init__(self) -> None:
        self.id = secrets.token_hex(4)
        self.directory = SESSIONS / self.id
        self.directory.mkdir(parents=True)
        # Run directories hold unix sockets, whose paths end at 107 bytes: the state of a session has a short one.
        self.state = state_directory(self.id)
        self.lock = hold(self.directory / "lock")
        self.servers: list[Postgres | Valkey | RabbitMQ] = []
        self._rabbitmq: RabbitMQ | None = None
        self._starting = threading.Lock()

    def start(self) -> None:
        """Start what every test may use, and tell where it is."""
        self.state.mkdir(mode=0o711)  # root runs servers as another user, who has to pass
        postgres = Postgres(self.directory / "postgres", throwaway=True)
        self.servers.append(postgres)
        os.environ[SESSION_VARIABLE] = self.id
        os.environ["DATABASE_URL"] = postgres.start()
        os.environ["REDIS_URL"] = self.valkey("main")
        threading.Thread(target=self._listen, name="servers of the tests", daemon=True).start()

    def valkey(self, worker: str) -> str:
        """Start a Valkey for one worker and return its address."""
        server = Valkey(self.directory / f"valkey-{worker}", throwaway=True)
        self.servers.append(server)
        return server.start()

    def rabbitmq(self, worker: str) -> str:
        """Return the address of this worker's virtual host, starting the session's RabbitMQ at the first call."""
        with self._starting:
            if self._rabbitmq is None or not self._rabbitmq.running:
                node = RabbitMQ(self.directory / "rabbitmq", cache=CACHE, vhosts=VHOSTS)
                self.servers.append(node)
                node.start()
                self._rabbitmq = node
        return self._rabbitmq.url(worker if worker in VHOSTS else "/")

    def end(self) -> None:
        """End every server and every process that the tests left behind, and remove the session's directories.

        Called twice: when pytest is done, and at exit in case it did not come so far.
        """
        if self.lock.closed:
            return
        for server in self.servers:
            if isinstance(server, RabbitMQ):
                server.kill()
            else:
                server.stop(immediately=True)
        end_leftovers(self.id)
        self.lock.close()
        remove(self.id)

    def _listen(self) -> None:
        # The kernel ends a child when the thread that started it ends: this one ends with the process, no sooner.
        with socket.socket(socket.AF_UNIX) as ear:
            ear.bind(str(self.state / "servers.sock"))
            ear.listen(16)
            while True:
                connection, _ = ear.accept()
                with connection:
                    connection.sendall(json.dumps(self._answer(connection.makefile().readline())).encode())

    def _answer(self, question: str) -> dict[str, str]:
        server, worker = json.loads(question)
        try:
            return {"url": {"valkey": self.valkey, "rabbitmq": self.rabbitmq}[server](worker)}
        except CannotStart as reason:
            return {"error": str(reason)}


def ask(server: str) -> str:
    """Return the address of `server` for this process. Raises CannotStart."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(state_directory(os.environ[SESSION_VARIABLE]) / "servers.sock"))
        connection.sendall((json.dumps([server, worker_name()]) + "\n").encode())
        answer = json.loads(connection.makefile().read())
    if "error" in answer:
        raise CannotStart(answer["error"])
    return str(answer["url"])


def state_directory(session: str) -> Path:
    """Return where the state of a session lies."""
    return Path(tempfile.gettempdir()) / f"sv-{session}"


def hold(file: Path) -> IO[str]:
    """Return `file` opened and locked for as long as it stays open. Raises BlockingIOError when another holds it."""
    stream = file.open("w")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        raise
    return stream


def remove(session: str) -> None:
    """Remove the directories of a session that has ended."""
    shutil.rmtree(state_directory(session), ignore_errors=True)
    shutil.rmtree(privileges.outside(SESSIONS / session), ignore_errors=True)
    shutil.rmtree(SESSIONS / session, ignore_errors=True)


def remove_dead_sessions() -> None:
    """Clean up after sessions that were killed: whoever holds the lock is alive."""
    for directory in SESSIONS.glob("*/"):
        with contextlib.suppress(BlockingIOError, FileNotFoundError), hold(directory / "lock"):
            end_leftovers(directory.name)
            remove(directory.name)


def end_leftovers(session: str) -> None:
    """End processes that a session started and did not end; shims outlive everything by design."""
    left = [process for process in psutil.process_iter() if process.pid != os.getpid() and belongs(process, session)]
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=5)


def belongs(process: psutil.Process, session: str) -> bool:
    """Return whether `process` inherited the mark of `session`."""
    try:
        return process.environ().get(SESSION_VARIABLE) == session
    except (psutil.Error, OSError):
        return False


def settings_of_this_process() -> dict[str, str]:
    """Return the environment that Django's settings are made of here, besides the servers."""
    state = state_directory(os.environ[SESSION_VARIABLE]) / worker_name()
    workspaces = state / "workspaces"
    workspaces.mkdir(parents=True)
    # WhiteNoise warns when it is missing; the files themselves are found by the finders.
    (state / "staticfiles").mkdir()
    return {
        "STRATAVORE_ENV_FILE": os.devnull,
        "STRATAVORE_STATE_DIR": str(state),
        "STRATAVORE_RUNS_DIR": str(state / "runs"),
        "STRATAVORE_WORKSPACE_ROOTS": str(workspaces),
        "STRATAVORE_NODE": "test-node",
        "STRATAVORE_CONTAINER_ENGINE": "none",
        "SECRET_KEY": "only-for-tests-" + "0" * 40,
        "AUDIT_KEYS": "test:only-for-tests-" + "1" * 40,
        "DEBUG": "false",
        "LOG_FORMAT": "console",
        "LOG_LEVEL": "WARNING",
        "DATABASE_POOL_SIZE": "8",
    }


def provide() -> Session | None:
    """Give this process its servers and settings; return the session if it is this process that keeps it."""
    session = None
    if SESSION_VARIABLE in os.environ and worker_name() != "main":
        os.environ["REDIS_URL"] = ask("valkey")
    else:
        SESSIONS.mkdir(parents=True, exist_ok=True)
        remove_dead_sessions()
        session = Session()
        atexit.register(session.end)
        session.start()
        # A RabbitMQ of the caller's is for the tests that want one (the fixture amqp_url); the settings start without.
        os.environ[AMQP_VARIABLE] = os.environ.pop("AMQP_URL", "")
    for name in [
        name for name in os.environ if name.startswith("STRATAVORE_") and not name.startswith("STRATAVORE_TEST_")
    ]:
        del os.environ[name]
    os.environ.update(settings_of_this_process())
    return session


# First of all and around all others: pytest-django reads the settings in this very hook.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None]:
    try:
        session = provide()
    except CannotStart as reason:
        raise pytest.UsageError(str(reason)) from None
    if session:
        early_config.add_cleanup(session.end)
    return (yield)


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Start RabbitMQ early if a test will want it: it takes seconds, in which other tests can run."""
    if any(name in getattr(item, "fixturenames", ()) for item in items for name in ("amqp_url",)):
        threading.Thread(target=start_early, name="RabbitMQ early", daemon=True).start()


def start_early() -> None:
    """Ask for RabbitMQ; what goes wrong is told to the test that needs it."""
    with contextlib.suppress(CannotStart, OSError):
        amqp()


def amqp() -> str:
    """Return the address of a real RabbitMQ. Raises CannotStart.

    Before one that happens to listen on 5672 comes a node of our own: two sessions on one broker would read each
    other's queues.
    """
    given = os.environ[AMQP_VARIABLE]
    if given:
        return given
    try:
        return ask("rabbitmq")
    except CannotStart:
        if speaks_amqp(5672) and guest_may_enter():
            return "amqp://guest:guest@127.0.0.1:5672/%2F"
        raise


def guest_may_enter() -> bool:
    """Return whether the RabbitMQ on 5672 knows the user guest."""
    try:
        with Connection("127.0.0.1:5672", userid="guest", password="guest", connect_timeout=5):
            return True
    except (AMQPError, OSError):
        return False
