"""Fixtures for every directory of tests. Servers come from tests/servers.py, which Django's settings need first."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection

from stratavore_site.embedded.debian import locked
from stratavore_site.embedded.errors import CannotStart
from stratavore_site.embedded.rabbitmq import RabbitMQ
from tests import servers
from tests.podman import PACKAGES, CannotServe, Podman, missing

if TYPE_CHECKING:
    from tests.stack import Stack

#: Of each agent program its package.json and lock file: the version that the tests run.
AGENT_PROGRAMS = Path(__file__).parent / "agent_programs"
APT = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}


def not_tested(what: str, reason: str, remedy: str) -> None:
    """Skip, telling what stays untested and how to get it; where everything must be tested (CI=true), fail."""
    sentence = f"not tested: {what}. {reason.rstrip('.')}. {remedy}"
    if os.environ.get("CI", "").lower() in {"true", "1"}:
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """Let tests empty the tables of the audit log between them: TRUNCATE is refused everywhere else."""
    from outbox.models import AuditEntry, AuditSeal

    with django_db_blocker.unblock(), connection.cursor() as cursor:
        for model in (AuditEntry, AuditSeal):
            cursor.execute(f"ALTER TABLE {model._meta.db_table} DISABLE TRIGGER {never_emptied(model)}")


def never_emptied(model: Any) -> str:
    """Return the name of the trigger that refuses TRUNCATE."""
    return str(next(each for each in model._meta.triggers if each.name == "never_emptied").get_pgid(model))


@pytest.fixture(scope="session")
def amqp_url() -> str:
    """The address of a real RabbitMQ; each xdist worker has a virtual host of its own."""
    try:
        return servers.amqp()
    except CannotStart as reason:
        return _without_rabbitmq(reason)


@pytest.fixture
def own_rabbitmq(tmp_path: Path) -> Iterator[RabbitMQ]:
    """A running RabbitMQ for one test, which may stop(), kill() and start() it. Costs 5 s."""
    node = RabbitMQ(tmp_path / "rabbitmq", cache=servers.CACHE)
    try:
        node.start()
    except CannotStart as reason:
        _without_rabbitmq(reason)
    yield node
    node.kill()


def _without_rabbitmq(reason: CannotStart) -> str:
    not_tested(
        "what goes through RabbitMQ", str(reason), "Install rabbitmq-server, or set AMQP_URL to a RabbitMQ for tests."
    )
    raise AssertionError("not_tested returns never")


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The path of Chromium; root on Debian gets it installed."""
    with locked(servers.CACHE / "chromium.lock"):
        if not shutil.which("chromium") and os.geteuid() == 0 and shutil.which("apt-get"):
            _try(["apt-get", "-qq", "update"])
            _try(["apt-get", "-qq", "--yes", "--no-install-recommends", "install", "chromium"])
    path = shutil.which("chromium")
    if path is None:
        not_tested("the dashboard in a browser", "There is no chromium here", "Install it: apt-get install chromium.")
    return str(path)


@pytest.fixture(scope="session")
def claude_code_path() -> str:
    """The path of the real Claude Code CLI."""
    return _agent_program("claude_code", "claude")


@pytest.fixture(scope="session")
def codex_path() -> str:
    """The path of the real Codex CLI."""
    return _agent_program("codex", "codex")


@pytest.fixture(scope="session")
def gemini_path() -> str:
    """The path of the real Gemini CLI."""
    return _agent_program("gemini", "gemini")


@pytest.fixture(scope="session")
def opencode_path() -> str:
    """The path of the real OpenCode CLI."""
    return _agent_program("opencode", "opencode")


def _agent_program(backend: str, program: str) -> str:
    """Return the path of the program in the version that its lock file pins; the first time it is installed.

    100 MB (Gemini CLI) to 400 MB (Codex), 4 to 30 s each; it stays in .stratavore/npm.
    """
    what = f"the {backend} backend with the real program"
    if not shutil.which("npm"):
        not_tested(what, "There is no npm here", "Install it: apt-get install nodejs npm.")
    source = AGENT_PROGRAMS / backend
    lock = (source / "package-lock.json").read_bytes()
    home = servers.PROJECT / ".stratavore" / "npm" / hashlib.sha256(lock).hexdigest()[:12]
    path = home / "node_modules" / ".bin" / program
    with locked(home / "lock"):
        if not path.exists():
            for name in ("package.json", "package-lock.json"):
                shutil.copy(source / name, home / name)
            # Not `npm ci`: it refuses a lock file without the builds for other systems.
            complaint = _try(["npm", "install", "--no-save", "--no-audit", "--no-fund", "--prefix", str(home)])
            if complaint:
                not_tested(what, f"npm install failed: {complaint}", "Look at npm's log.")
    return str(path)


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    """A real container engine; root on Debian gets it installed."""
    what, remedy = "the container runtime", f"Install it: apt-get install {' '.join(PACKAGES)}."
    with locked(servers.CACHE / "podman.lock"):
        if missing() and os.geteuid() == 0 and shutil.which("apt-get"):
            _try(["apt-get", "-qq", "update"])
            _try(["apt-get", "-qq", "--yes", "--no-install-recommends", "install", *PACKAGES])
    if missing():
        not_tested(what, f"There is no {' and no '.join(missing())} here", remedy)
    engine = Podman(servers.state_directory(os.environ[servers.SESSION_VARIABLE]) / f"podman-{servers.worker_name()}")
    try:
        engine.start()
    except CannotServe as reason:
        not_tested(what, f"Podman cannot run a container here: {reason}", remedy)
    yield engine
    engine.stop()


def _try(command: list[str]) -> str:
    """Run `command`; return the last line of its errors, or nothing when all is well."""
    result = subprocess.run(command, capture_output=True, text=True, env=APT, check=False)
    return (result.stderr.strip().splitlines() or ["no word why"])[-1] if result.returncode else ""


@pytest.fixture
def workspace() -> Callable[[str], Path]:
    """Make a directory that a project may have: it lies below one of the allowed roots."""
    root = Path(os.environ["STRATAVORE_WORKSPACE_ROOTS"])

    def make(name: str) -> Path:
        directory = root / f"{name}-{os.urandom(4).hex()}"
        directory.mkdir()
        return directory

    return make


@pytest.fixture
def make_stack(transactional_db: None, tmp_path: Path) -> Iterator[Callable[..., "Stack"]]:
    """Make stacks of processes over the test's database; arguments are environment variables for them."""
    from tests.stack import Stack

    stacks: list[Stack] = []

    def make(**extra: str) -> Stack:
        stacks.append(Stack(tmp_path, extra))
        return stacks[-1]

    yield make
    for stack in stacks:
        stack.close()


@pytest.fixture
def stack(make_stack: Callable[..., "Stack"]) -> "Stack":
    """Worker, node worker, beat and node agent, on Valkey as broker; `stack.start("web")` adds the web."""
    made = make_stack()
    made.start_runners()
    return made
