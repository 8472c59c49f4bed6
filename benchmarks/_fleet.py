"""Every process that a launch passes through, started for a benchmark and ended after it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from django.conf import settings
from django.contrib.auth.models import User
from redis import Redis

from runners.models import Node
from runners.states import NodeStatus
from stratavore_site.health import WORKERS
from stratavore_site.models import AccessToken

DEADLINE_SECONDS = 180.0
CELERY = [sys.executable, "-m", "celery", "-A", "stratavore_site", "--quiet"]
WORKER = [*CELERY, "worker", "--pool=threads", "--concurrency=4", "--without-gossip", "--without-mingle"]


class Fleet:
    """The running processes by name, and a client of the API that may do everything."""

    def __init__(self, processes: dict[str, subprocess.Popen[bytes]], api: httpx.Client) -> None:
        self.processes = processes
        self.api = api


@contextmanager
def fleet(*, slots: int) -> Iterator[Fleet]:
    """Start web, workers, beat and node agent; yield them when they are ready; end them."""
    state, port = Path(settings.STATE_DIR), _free_port()
    commands = {
        "web": [sys.executable, "-m", "daphne", "-p", str(port), "stratavore_site.asgi:application"],
        "worker": [*WORKER, "--queues=stratavore.control,outbox.wake,outbox.webhooks", "--hostname=control@bench"],
        "node worker": [*WORKER, f"--queues=node.{settings.NODE_NAME}", "--hostname=node@bench"],
        "beat": [*CELERY, "beat", f"--schedule={state / 'beat'}", "--pidfile="],
        "node agent": [sys.executable, "manage.py", "nodeagent"],
    }
    with (state / "bench.log").open("ab") as log:
        env = {**os.environ, "STRATAVORE_NODE_SLOTS": str(slots)}
        running = {
            name: subprocess.Popen(command, stdout=log, stderr=log, env=env) for name, command in commands.items()
        }
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=_credentials(), timeout=60) as api:
            wait_for(lambda: Node.objects.filter(status=NodeStatus.ONLINE).exists(), "the node agent")
            wait_for(_both_workers_consume, "the workers")
            wait_for(lambda: _answers(api), "the web")
            yield Fleet(running, api)
    finally:
        _end(running.values())


def wait_for(condition: Callable[[], bool], what: str, *, look_seconds: float = 0.02) -> None:
    """Wait until `condition` holds, looking every so often, or end the benchmark."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"Waited {DEADLINE_SECONDS:.0f} s for {what}: see {settings.STATE_DIR}/bench.log.")
        time.sleep(look_seconds)


def _credentials() -> dict[str, str]:
    user = User.objects.create_superuser("bench")
    _, token = AccessToken.objects.create(user=user, name="bench")
    return {"Authorization": f"Token {token}"}


def _answers(api: httpx.Client) -> bool:
    try:
        return api.get("/health/live").status_code == 200
    except httpx.TransportError:
        return False


def _both_workers_consume() -> bool:
    with Redis.from_url(settings.REDIS_URL) as client:
        return int(client.zcard(WORKERS)) == 2


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _end(processes: Collection[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
