"""`manage.py up`, run as a person runs it: what it starts, what it prints, and what it leaves behind."""

import contextlib
import http.client
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from django.conf import settings

from stratavore_site.embedded.errors import CannotStart
from stratavore_site.embedded.processes import free_port, wait_until
from stratavore_site.up import choice, crew, ground
from tests import servers

# One after the other: each start is a whole Stratavore on the same few cores.
pytestmark = pytest.mark.xdist_group("up")
PROJECT = Path(__file__).resolve().parents[2]
SERVER_SETTINGS = (
    "DATABASE_URL",
    "REDIS_URL",
    "AMQP_URL",
    "SECRET_KEY",
    "AUDIT_KEYS",
    "DATABASE_POOL_SIZE",
    "LOG_LEVEL",
    "LOG_FORMAT",
)


def environment_of_a_person() -> dict[str, str]:
    """Return our environment without the settings of the tests; the session's mark stays."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in SERVER_SETTINGS and (not name.startswith("STRATAVORE_") or name == servers.SESSION_VARIABLE)
    }


class Up:
    """One `manage.py up` in a state directory, with its output read as it comes."""

    def __init__(self, state: Path, *arguments: str, **env: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "up", *arguments],
            cwd=PROJECT,
            env={**environment_of_a_person(), "STRATAVORE_STATE_DIR": str(state), **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.output = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.output += line

    def wait_for(self, pattern: str, seconds: float = 90) -> re.Match[str]:
        """Return the first match of `pattern` in the output; fail when it ends without."""
        wait_until(lambda: bool(re.search(pattern, self.output)) or not self._reader.is_alive(), seconds=seconds)
        found = re.search(pattern, self.output)
        assert found, f"{pattern} is not in:\n{self.output}"
        return found

    def address(self) -> tuple[str, int]:
        found = self.wait_for(r"Dashboard +http://([^:]+):(\d+)/")
        return found[1], int(found[2])

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, how: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(how)
        code = self.process.wait(60)
        self._reader.join(10)
        return code


def new_state() -> Path:
    # Short for the runners' sockets, and open to the user that root's servers run as.
    state = Path(settings.STATE_DIR).parent / secrets.token_hex(2)
    state.mkdir(mode=0o711)
    return state


@pytest.fixture(scope="module")
def state() -> Path:
    return new_state()


@pytest.fixture(scope="module")
def runs(state: Path) -> Iterator[list[Up]]:
    begun: list[Up] = []
    yield begun
    for run in begun:
        if run.process.poll() is None:
            run.end()


@pytest.fixture
def up(runs: list[Up], state: Path) -> Up:
    """A Stratavore that is up; the tests of this module share it, and whoever ends it leaves the next a later start."""
    if not runs or runs[-1].process.poll() is not None:
        runs.append(Up(state, "--port", str(free_port())))
        runs[-1].address()
    return runs[-1]


def get(address: tuple[str, int], path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(*address, timeout=20)
    with contextlib.closing(connection):
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()


def run_manage(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=PROJECT,
        env={**environment_of_a_person(), **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_comes_up_ready_and_shows_the_password_once(up: Up, state: Path) -> None:
    address = up.address()
    assert get(address, "/health/ready")[0] == 200
    password = (state / "admin-password").read_text().strip()
    assert f"admin, password {password}" in up.output
    for private in ("admin-password", "env"):
        assert (state / private).stat().st_mode & 0o777 == 0o600


def test_other_commands_find_its_servers_through_the_file_it_writes(up: Up, state: Path) -> None:
    program = "from runners.models import Project; print(Project.objects.get(name='demo').path)"
    result = run_manage("shell", "-v", "0", "-c", program, STRATAVORE_ENV_FILE=str(state / "env"))
    assert result.stdout.strip() == str(state / "workspaces" / "demo")
    assert (state / "workspaces" / "demo" / ".git").is_dir()


def test_a_second_one_is_refused_with_the_address_of_the_first(up: Up, state: Path) -> None:
    second = Up(state)
    assert second.process.wait(60) == 1
    second.wait_for(rf"^Stratavore already runs here: process {up.process.pid}, http://127.0.0.1:{up.address()[1]}/")
    assert second.output.count("\n") == 1


def test_a_port_in_use_is_refused_in_one_sentence(up: Up) -> None:
    other = Up(new_state(), "--port", str(up.address()[1]))
    assert other.process.wait(60) == 1
    assert re.fullmatch(r"Port \d+ is in use .*\n", other.wait_for("(?s).+")[0])


def test_a_child_that_dies_is_named_and_started_again(up: Up) -> None:
    (beat,) = [child for child in up.descendants() if child.pid == member_pid(up, "beat")]
    beat.kill()
    up.wait_for(r"The beat was ended by SIGKILL: .*\n +starting it again in 1 s; its log is /.+beat\.log")
    assert wait_until(lambda: member_pid(up, "beat") not in {0, beat.pid}, seconds=20)


def member_pid(up: Up, name: str) -> int:
    """Return the pid of a direct child by the log that it writes."""
    for child in psutil.Process(up.process.pid).children():
        with contextlib.suppress(psutil.Error, OSError):
            if Path(f"/proc/{child.pid}/fd/1").readlink().stem == name:
                return child.pid
    return 0


def test_killed_it_leaves_no_process_of_its_own_and_comes_up_again(up: Up, state: Path, runs: list[Up]) -> None:
    children = psutil.Process(up.process.pid).children()
    assert len(children) >= 7  # PostgreSQL, Valkey, web, two workers, beat, node agent
    up.end(signal.SIGKILL)
    _, left = psutil.wait_procs(children, timeout=10)
    assert [child for child in left if child.status() != psutil.STATUS_ZOMBIE] == []

    again = Up(state, "--port", str(free_port()))
    runs.append(again)
    assert get(again.address(), "/health/ready")[0] == 200
    assert f"password in {state / 'admin-password'}" in again.output


def test_told_to_end_it_ends_every_process_it_started_and_says_so(up: Up) -> None:
    children = psutil.Process(up.process.pid).children()
    assert up.end(signal.SIGINT) == 0
    assert "Stopped." in up.output
    assert [child for child in children if child.is_running()] == []


@pytest.mark.soak
def test_killed_in_the_middle_again_and_again_it_comes_up_each_time() -> None:
    state = new_state()
    for seconds in (0.3, 1, 2, 3, 4, 6, 8, 10):  # from the first initdb to long after the welcome
        run = Up(state, "--port", str(free_port()))
        wait_until(lambda run=run: run.process.poll() is not None, seconds=seconds)  # type: ignore[misc]
        assert run.process.poll() is None, run.output
        run.end(signal.SIGKILL)
    last = Up(state, "--port", str(free_port()))
    assert get(last.address(), "/health/ready")[0] == 200
    assert last.end() == 0


LAUNCH_A_SLEEPER = """
import time
from runners.backends.base import LaunchRequest
from runners.models import Runner
from runners.services import launch_runner
request = LaunchRequest(backend="command", argv=["sleep", "600"], name="sleeper")
runner = launch_runner("demo", request, actor="system:test")
deadline = time.monotonic() + 30
while not Runner.objects.filter(pk=runner.pk, status="running").exists() and time.monotonic() < deadline:
    time.sleep(0.1)
print(Runner.objects.get(pk=runner.pk).pid)
"""
FIND_THE_SLEEPER = "from runners.models import Runner; print(Runner.objects.get(name='sleeper').status)"


def test_an_agent_goes_on_while_everything_else_is_stopped_and_is_found_again(
    up: Up, state: Path, runs: list[Up]
) -> None:
    env = {"STRATAVORE_ENV_FILE": str(state / "env")}
    agent = psutil.Process(int(run_manage("shell", "-v", "0", "-c", LAUNCH_A_SLEEPER, **env).stdout))
    try:
        assert up.end() == 0
        up.wait_for(r"These agents go on; .*\n(  .*\n)*  sleeper \(running\)\n")
        assert agent.is_running()

        again = Up(state, "--port", str(free_port()))
        runs.append(again)
        again.address()
        assert run_manage("shell", "-v", "0", "-c", FIND_THE_SLEEPER, **env).stdout.strip() == "running"
    finally:
        agent.kill()


def test_servers_that_are_given_are_used_and_none_is_started(state: Path) -> None:
    given = {name: os.environ[name] for name in ("DATABASE_URL", "REDIS_URL")}
    run = Up(new_state(), "--port", str(free_port()), "--no-demo", **given)
    try:
        assert get(run.address(), "/health/ready")[0] == 200
        assert "Starting Stratavore ..." in run.output
    finally:
        assert run.end() == 0


def test_a_database_that_is_not_there_is_told_in_one_sentence() -> None:
    run = Up(new_state(), "--port", str(free_port()), DATABASE_URL="postgres://u:secret@127.0.0.1:1/x")
    assert run.process.wait(90) == 1
    assert re.search(r"(?m)^The database cannot be reached: ", run.wait_for("(?s).+")[0])
    assert "secret" not in run.output
    assert "Traceback" not in run.output


def test_a_broken_data_directory_is_told_in_one_sentence() -> None:
    state = new_state()
    (state / "postgres" / "data").mkdir(parents=True)
    run = Up(state, "--port", str(free_port()))
    assert run.process.wait(60) == 1
    assert run.wait_for("holds no PostgreSQL database")
    assert "Traceback" not in run.output


@pytest.mark.parametrize("words", [["check"], ["migrate"], ["nodeagent"], ["shell", "-c", "pass"]])
def test_a_missing_setting_is_one_sentence_at_any_command(words: list[str]) -> None:
    result = run_manage(*words, STRATAVORE_ENV_FILE=os.devnull, DEBUG="true")
    assert result.returncode == 1
    assert result.stderr.startswith("DATABASE_URL is not set")
    assert result.stderr.count("\n") == 1


def test_a_disk_that_is_nearly_full_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ground, "FREE_MB", 10**12)
    with pytest.raises(CannotStart, match="MB free: at least"):
        ground.enough_disk(tmp_path)


def test_unasked_it_takes_the_next_free_port() -> None:
    with socket.socket() as taker:
        taker.bind(("127.0.0.1", 0))
        taker.listen()
        taken = taker.getsockname()[1]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ground, "FIRST_PORT", taken)
            assert taken < ground.port(None) < taken + 100


def test_secret_keys_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SECRET_KEY")
    monkeypatch.delenv("AUDIT_KEYS")
    monkeypatch.delenv("STRATAVORE_ENV_FILE")
    first = choice.settings(tmp_path, {})
    choice.write(choice.env_file(tmp_path), first)
    assert len(first["SECRET_KEY"]) >= 50
    assert len(first["AUDIT_KEYS"]) >= 50
    again = choice.settings(tmp_path, {})
    assert (again["SECRET_KEY"], again["AUDIT_KEYS"]) == (first["SECRET_KEY"], first["AUDIT_KEYS"])


def test_a_long_log_is_moved_aside_while_its_writer_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "LONGEST_LOG_BYTES", 10)
    log = tmp_path / "web.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"the first lines\n")
        crew.rotate(log)
        writer.write(b"the next\n")
    assert (log.read_text(), (tmp_path / "web.log.1").read_text()) == ("the next\n", "the first lines\n")
