"""The processes of Stratavore, started for a test as `make up` starts them: real ones, to be killed at will."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from django.conf import settings
from django.db import connection
from redis import Redis

from runners.models import Node, Runner
from runners.states import NodeStatus
from stratavore_site.health import WORKERS

Found = TypeVar("Found")
PROJECT = Path(__file__).resolve().parent.parent
#: Generous: four processes start on two cores beside other tests.
DEADLINE_SECONDS = 90.0
CELERY = [sys.executable, "-m", "celery", "-A", "stratavore_site", "--quiet"]
WORKER = [*CELERY, "worker", "--pool=threads", "--concurrency=4", "--without-gossip", "--without-mingle"]


def wait_until(true: Callable[[], Found | None], what: str, seconds: float = DEADLINE_SECONDS) -> Found:
    """Return what `true` returns as soon as that is true; fail with `what` at the deadline."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, f"after {seconds:.0f} s still not: {what}"
        time.sleep(0.02)
    return found


class Stack:
    """Workers, beat, node agent and web of one test, over the test's database."""

    def __init__(self, directory: Path, extra: Mapping[str, str]) -> None:
        self.directory = directory
        self.node = f"t{os.getpid()}-{os.urandom(2).hex()}"
        self.runs = Path(settings.STATE_DIR) / f"runs-{self.node}"
        self.port = free_port()
        self.env = {**os.environ, **self._environment(), **extra}
        self.commands = {
            "worker": [
                *WORKER,
                "--queues=stratavore.control,outbox.wake,outbox.webhooks",
                f"--hostname=control@{self.node}",
            ],
            "node worker": [*WORKER, f"--queues=node.{self.node}", f"--hostname=node@{self.node}"],
            "beat": [*CELERY, "beat", f"--schedule={directory / 'beat'}", "--pidfile="],
            "node agent": [sys.executable, "manage.py", "nodeagent", "--skip-checks"],
            "web": [sys.executable, "-m", "daphne", "-p", str(self.port), "stratavore_site.asgi:application"],
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._logs = ExitStack()

    def _environment(self) -> dict[str, str]:
        database = connection.settings_dict
        place = f"{database['HOST']}:{database['PORT']}/{database['NAME']}"
        return {
            "DATABASE_URL": f"postgres://{database['USER']}:{database['PASSWORD']}@{place}",
            "STRATAVORE_NODE": self.node,
            "STRATAVORE_RUNS_DIR": str(self.runs),
            "PYTHONFAULTHANDLER": "1",
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, *names: str) -> None:
        """Start processes by name (all but web: `runners`), and wait until they are ready."""
        for name in names:
            assert not self.is_alive(name), f"{name} runs already"
            log = self._logs.enter_context((self.directory / f"{name.replace(' ', '-')}.log").open("ab"))
            self.processes[name] = subprocess.Popen(
                self.commands[name], cwd=PROJECT, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        for name in names:
            self._wait_until_ready(name)

    def _wait_until_ready(self, name: str) -> None:
        checks: dict[str, Callable[[], bool]] = {
            "node agent": self.node_is_online,
            "web": self.web_answers,
            "worker": lambda: self.worker_consumes("control"),
            "node worker": lambda: self.worker_consumes("node"),
        }
        check = checks.get(name)
        if check is None:
            return
        try:
            wait_until(lambda: check() or not self.is_alive(name), f"the {name} is ready")
            assert self.is_alive(name), f"the {name} ended"
        except AssertionError as failure:
            raise AssertionError(f"{failure}\n{self.log(name)}") from None

    def start_runners(self) -> None:
        """Start what launching needs: everything but the web."""
        self.start("node agent", "worker", "node worker", "beat")

    def is_alive(self, name: str) -> bool:
        return name in self.processes and self.processes[name].poll() is None

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Kill one process, and wait until it is gone."""
        self.processes[name].send_signal(number)
        self.processes[name].wait(DEADLINE_SECONDS)

    def node_is_online(self) -> bool:
        return Node.objects.filter(name=self.node, status=NodeStatus.ONLINE).exists()

    def worker_consumes(self, role: str) -> bool:
        """Say whether the worker has given a sign of life since it was started."""
        with Redis.from_url(self.env["REDIS_URL"]) as client:
            return client.zscore(WORKERS, f"{role}@{self.node}") is not None

    def web_answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health/live", timeout=2) as answer:  # noqa: S310 - loopback
                return bool(answer.status == 200)
        except OSError:
            return False

    def wait_for(self, runner: Runner, *statuses: str, seconds: float = DEADLINE_SECONDS) -> Runner:
        """Wait until the runner has one of the statuses; return it as it is then."""

        def reached() -> Runner | None:
            return Runner.objects.filter(pk=runner.pk, status__in=statuses).first()

        try:
            return wait_until(reached, f"{runner.name} is {' or '.join(statuses)}", seconds)
        except AssertionError as failure:
            runner.refresh_from_db()
            logs = "\n".join(f"--- {name}\n{self.log(name)}" for name in self.processes)
            raise AssertionError(f"{failure}: it is {runner.status} ({runner.reason})\n{logs}") from None

    def run_directory(self, runner: Runner) -> Path:
        return self.runs / f"{runner.pk.hex}.{runner.generation}"

    def log(self, name: str) -> str:
        path = self.directory / f"{name.replace(' ', '-')}.log"
        return path.read_text(errors="replace")[-3000:] if path.exists() else ""

    def close(self) -> None:
        """End every process; agents that still run are ended through their shims."""
        from runners.runtimes import runtime_of  # after settings

        for process in self.processes.values():
            if process.poll() is None:
                process.terminate()
        for process in self.processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for directory in self.runs.glob("*.*/") if self.runs.exists() else ():
            if (directory / "spec.json").exists():
                runtime_of(directory).stop(directory, grace_seconds=0, reason="the test is over")
        self._logs.close()


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
