"""Operations: a verb over a thousand and over ten thousand agents, jobs and runners, from the POST to the last result.

Runners are rows on a node that nobody serves: what is measured is the control plane's work for each item (status,
history, event, act, task, result), with every process in place and delivering.
"""

import os
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from agents.models import Agent, Assignment, Job, Personality
from agents.states import AgentStatus, JobStatus
from benchmarks._fleet import Fleet, fleet, wait_for
from outbox.models import Entry
from runners.models import Node, Observation, Operation, OperationItem, Project, Runner
from runners.services import create_project
from runners.states import ItemResult, NodeStatus, RunnerStatus

SIZES = tuple(int(size) for size in os.environ.get("BENCH_SIZES", "1000 10000").split())
COMMITS = 500
#: In this order: each finds what the one before it left.
VERBS = ("agent.pause", "agent.resume", "agent.kill", "agent.retire", "agent.delete", "runner.stop")
JOB_VERBS: tuple[tuple[str, dict[str, str]], ...] = (("job.set_status", {"status": "cancelled"}), ("job.delete", {}))
#: These launch: each takes a place, and leaves a start task for the node.
LAUNCHING_VERBS = ("runner.restart", "agent.assign")
#: Places that nobody fills.
ROOM = 1_000_000
#: Which agents, jobs and runners each is done to.
FILTERS: dict[str, dict[str, object]] = {
    "agent.pause": {"status": ["idle"], "search": "idle"},
    "agent.resume": {"status": ["paused"]},
    "agent.kill": {"status": ["working"]},
    "agent.retire": {"search": "old"},
    "agent.delete": {"search": "idle"},
    "runner.stop": {"status": ["running"]},
    "runner.restart": {"status": ["terminated"]},
    "agent.assign": {"search": "ready"},
}


def limits() -> dict[str, float]:
    """Return how fast this database commits one row: done one by one, an item is at least one commit."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE bench_row (n int)")
        begun = time.perf_counter()
        for _ in range(COMMITS):
            cursor.execute("INSERT INTO bench_row VALUES (1)")
        return {"one_row_commits_per_second": COMMITS / (time.perf_counter() - begun)}


def figures() -> dict[str, float]:
    """Return seconds for each verb and size, and of one the preview's."""
    call_command("migrate", interactive=False, verbosity=0)
    workspace = Path(settings.WORKSPACE_ROOTS[0]) / "batch"
    workspace.mkdir(parents=True)
    project = create_project(name="batch", path=str(workspace), actor="system:bench", max_concurrent_runners=ROOM)
    Personality.objects.create(name="bench", default_backend="command", argv=["true"])
    found: dict[str, float] = {}
    with fleet(slots=1) as running:
        for size in SIZES:
            _make_workforce(project, size)
            _settle()
            found[f"preview_seconds_{size}"] = _seconds(lambda: _post(running, "preview/", "agent.pause"))
            for verb in VERBS:
                found[f"{verb}_seconds_{size}"] = _do(running, verb, size)
            for verb, parameters in JOB_VERBS:
                found[f"{verb}_seconds_{size}"] = _do(running, verb, size, **parameters)
            for verb in LAUNCHING_VERBS:
                found[f"{verb}_seconds_{size}"] = _do(running, verb, size)
    return found


def _make_workforce(project: Project, count: int) -> None:
    """Make `count` agents of each kind, with as many runners and jobs for each verb."""
    node, _ = Node.objects.update_or_create(
        name="nowhere",
        defaults={
            "hostname": "nowhere",
            "boot_id": "none",
            "slots": ROOM,
            "status": NodeStatus.ONLINE,
            "last_seen_at": timezone.now() + timedelta(hours=1),
        },
    )
    runners = [_runner(project, node, number) for number in range(2 * count)]
    Runner.objects.bulk_create(runners, batch_size=1_000)
    Observation.objects.bulk_create((Observation(runner=runner, generation=1) for runner in runners), batch_size=1_000)
    ended = [_runner(project, node, number, status=RunnerStatus.TERMINATED) for number in range(count)]
    Runner.objects.bulk_create(ended, batch_size=1_000)
    Observation.objects.bulk_create((Observation(runner=runner, generation=1) for runner in ended), batch_size=1_000)
    for kind in ("idle", "busy", "old", "ready"):
        _make_agents(kind, project, count)
    for kind in ("todo", "next"):
        _make_jobs(kind, project, count)
    jobs = _make_jobs("done", project, count, JobStatus.IN_PROGRESS)
    busy = list(Agent.objects.filter(name__startswith="busy-", assignments=None).order_by("pk"))
    Agent.objects.filter(pk__in=[agent.pk for agent in busy]).update(status=AgentStatus.WORKING)
    Assignment.objects.bulk_create(
        (
            Assignment(agent=agent, job=job, runner=runner, actor="system:bench")
            for agent, job, runner in zip(busy, jobs, runners[:count], strict=True)
        ),
        batch_size=1_000,
    )


def _runner(project: Project, node: Node, number: int, status: RunnerStatus = RunnerStatus.RUNNING) -> Runner:
    return Runner(
        id=uuid.uuid4(), name=f"r{number}", project=project, node=node, backend="command", argv=["true"],
        workspace=project.path, status=status, ended_at=timezone.now() if status == RunnerStatus.TERMINATED else None,
    )  # fmt: skip


def _make_agents(kind: str, project: Project, count: int) -> None:
    role = Personality.objects.get(name="bench")
    Agent.objects.bulk_create(
        (
            Agent(name=f"{kind}-{count}-{number}", personality=role, project=project, status=AgentStatus.IDLE)
            for number in range(count)
        ),
        batch_size=1_000,
    )


def _make_jobs(kind: str, project: Project, count: int, status: JobStatus = JobStatus.PENDING) -> list[Job]:
    jobs = [
        Job(id=f"job-2026-01-01-{kind}-{count}-{number}", title=kind, project=project, status=status)
        for number in range(count)
    ]
    return Job.objects.bulk_create(jobs, batch_size=1_000)


def _do(running: Fleet, verb: str, size: int, **parameters: str) -> float:
    begun = time.perf_counter()
    operation = _post(running, "", verb, **parameters)["id"]
    wait_for(lambda: Operation.objects.filter(pk=operation, ended_at__isnull=False).exists(), "the operation")
    seconds = time.perf_counter() - begun
    done = OperationItem.objects.filter(operation_id=operation, result=ItemResult.DONE).count()
    if done < size:
        raise SystemExit(f"{verb}: {done} of {size} were done.")
    _settle()
    return seconds


def _settle() -> None:
    """Let what was published be delivered: the next verb is measured alone."""
    wait_for(lambda: not Entry.objects.filter(status="pending").exclude(routing_key="node.nowhere").exists(), "events")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _post(running: Fleet, address: str, verb: str, **parameters: str) -> dict[str, str]:
    wanted = FILTERS.get(verb, {"search": "todo"})
    body = {"verb": verb, "filter": wanted, "parameters": parameters}
    answer = running.api.post(f"/api/v1/operations/{address}", json=body)
    answer.raise_for_status()
    return dict(answer.json())


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
