"""Operations: stopping a thousand and ten thousand runners at once, from the POST to the last item's result.

The runners are rows on a node that nobody serves: what is measured is the control plane's work for each item (status,
history, attempt, event, task, result), with every process in place.
"""

import time
import uuid
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from benchmarks._fleet import Fleet, fleet, wait_for
from runners.models import Node, Observation, Operation, Project, Runner
from runners.services import create_project
from runners.states import NodeStatus, RunnerStatus

SIZES = (1_000, 10_000)
COMMITS = 500


def limits() -> dict[str, float]:
    """Return how fast this database commits one row: an item is at least one commit."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE bench_row (n int)")
        begun = time.perf_counter()
        for _ in range(COMMITS):
            cursor.execute("INSERT INTO bench_row VALUES (1)")
        return {"one_row_commits_per_second": COMMITS / (time.perf_counter() - begun)}


def figures() -> dict[str, float]:
    """Return seconds for each size, and items a second."""
    call_command("migrate", interactive=False, verbosity=0)
    workspace = Path(settings.WORKSPACE_ROOTS[0]) / "batch"
    workspace.mkdir(parents=True)
    project = create_project(name="batch", path=str(workspace), actor="system:bench")
    found: dict[str, float] = {}
    with fleet(slots=1) as running:
        for size in SIZES:
            _make_runners(project, size)
            preview = _seconds(lambda: _post(running, "preview/"))
            whole = _stop_all(running)
            found |= {
                f"preview_seconds_{size}": preview,
                f"stop_seconds_{size}": whole,
                f"stops_per_second_{size}": size / whole,
            }
    return found


def _make_runners(project: Project, count: int) -> None:
    later = timezone.now() + timedelta(hours=1)
    node, _ = Node.objects.update_or_create(
        name="nowhere",
        defaults={"hostname": "nowhere", "boot_id": "none", "status": NodeStatus.ONLINE, "last_seen_at": later},
    )
    runners = [
        Runner(
            id=uuid.uuid4(), name=f"r{number}", project=project, node=node, backend="command", argv=["true"],
            workspace=project.path, status=RunnerStatus.RUNNING,
        )
        for number in range(count)
    ]  # fmt: skip
    Runner.objects.bulk_create(runners, batch_size=1_000)
    Observation.objects.bulk_create((Observation(runner=runner, generation=1) for runner in runners), batch_size=1_000)


def _stop_all(running: Fleet) -> float:
    begun = time.perf_counter()
    operation = _post(running, "")["id"]
    wait_for(lambda: Operation.objects.filter(pk=operation, ended_at__isnull=False).exists(), "the operation")
    seconds = time.perf_counter() - begun
    assert not Runner.objects.filter(status=RunnerStatus.RUNNING).exists()
    return seconds


def _post(running: Fleet, address: str) -> dict[str, str]:
    body = {"verb": "runner.stop", "filter": {"status": ["running"]}}
    answer = running.api.post(f"/api/v1/operations/{address}", json=body)
    answer.raise_for_status()
    return dict(answer.json())


def _seconds(work: object) -> float:
    begun = time.perf_counter()
    assert callable(work)
    work()
    return time.perf_counter() - begun
