"""Launching: what the service commits a second, and how long it takes until the agent runs.

Limits beside it: starting the bare program, and committing one row in the same PostgreSQL.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.db import connection
from redis import Redis

from runners.backends.base import LaunchRequest
from runners.models import Node, Runner
from runners.services import create_project, launch_runner
from runners.states import NodeStatus, RunnerStatus
from stratavore_site.health import WORKERS

#: Enough for a steady median, few enough for two cores.
STARTS, COMMITS, LAUNCHES = 200, 500, 40
DEADLINE_SECONDS = 120.0
PROJECT = "bench"
CELERY = [
    sys.executable,
    "-m",
    "celery",
    "-A",
    "stratavore_site",
    "--quiet",
    "worker",
    "--pool=threads",
    "--concurrency=4",
]


def limits() -> dict[str, float]:
    """Return what the machine does without Stratavore."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE bench_row (n int)")
    return {
        "process_starts_per_second": _rate(_start_true, STARTS),
        "one_row_commits_per_second": _rate(_commit_row, COMMITS),
    }


def figures() -> dict[str, float]:
    """Launch runners of /bin/true with every process in place; return rates and latencies."""
    call_command("migrate", interactive=False, verbosity=0)
    workspace = Path(settings.WORKSPACE_ROOTS[0]) / PROJECT
    workspace.mkdir(parents=True)
    create_project(name=PROJECT, path=str(workspace), max_concurrent_runners=LAUNCHES)
    with _processes():
        _wait(lambda: Node.objects.filter(status=NodeStatus.ONLINE).exists(), "the node agent")
        _wait(_both_workers_consume, "the workers")
        begun = time.monotonic()
        for _ in range(LAUNCHES):
            launch_runner(PROJECT, LaunchRequest(backend="command", argv=["/bin/true"]), actor="system:bench")
        committed = time.monotonic() - begun
        _wait(lambda: not Runner.objects.open().exists(), "the runners to end")
        ended = time.monotonic() - begun
    return {
        "launches_committed_per_second": LAUNCHES / committed,
        "runners_ended_per_second": LAUNCHES / ended,
        **_latencies(),
        "failed_runners": float(Runner.objects.filter(status=RunnerStatus.FAILED).count()),
    }


def _both_workers_consume() -> bool:
    with Redis.from_url(settings.REDIS_URL) as client:
        return int(client.zcard(WORKERS)) == 2


def _latencies() -> dict[str, float]:
    """Return milliseconds from the launch's commit to the agent's start, all launched at once."""
    times = Runner.objects.filter(started_at__isnull=False).values_list("created_at", "started_at")
    waits = [(started - created).total_seconds() * 1000 for created, started in times if started]
    if len(waits) < 2:
        return {}
    cuts = statistics.quantiles(waits, n=100, method="inclusive")
    return {"launch_to_start_p50_ms": cuts[49], "launch_to_start_p95_ms": cuts[94]}


@contextmanager
def _processes() -> Iterator[None]:
    """Run what a launch passes through: both workers, beat and the node agent."""
    state = Path(settings.STATE_DIR)
    commands = [
        [*CELERY, "--queues=stratavore.control,outbox.wake,outbox.webhooks", "--hostname=control@bench"],
        [*CELERY, f"--queues=node.{settings.NODE_NAME}", "--hostname=node@bench"],
        [*CELERY[:6], "beat", f"--schedule={state / 'beat'}", "--pidfile="],
        [sys.executable, "manage.py", "nodeagent"],
    ]
    with (state / "bench.log").open("ab") as log:
        env = {**os.environ, "STRATAVORE_NODE_SLOTS": str(LAUNCHES)}
        running = [subprocess.Popen(command, stdout=log, stderr=log, env=env) for command in commands]
    try:
        yield
    finally:
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _rate(action: Callable[[], object], times: int) -> float:
    begun = time.monotonic()
    for _ in range(times):
        action()
    return times / (time.monotonic() - begun)


def _start_true() -> None:
    subprocess.run(["/bin/true"], check=True)


def _commit_row() -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO bench_row VALUES (1)")


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"Waited {DEADLINE_SECONDS:.0f} s for {what}: see {settings.STATE_DIR}/bench.log.")
        time.sleep(0.05)
