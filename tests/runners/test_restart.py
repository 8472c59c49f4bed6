"""Starting again: by hand and by policy."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from runners.backends.base import LaunchRequest
from runners.exceptions import MoveRefused, QuotaExceeded
from runners.models import Attempt, Observation, Runner
from runners.services import launch_runner, restart_runner, set_quota, stop_runner
from runners.services.ingest import ingest
from runners.services.queue import restart_due
from runners.services.restart import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, pause_before
from runners.services.telemetry import Batch
from runners.states import RunnerStatus
from tests.runners.factories import make_node, make_project

S = RunnerStatus
db = pytest.mark.django_db


def launch(**fields: Any) -> Runner:
    make_node()
    request = LaunchRequest(backend="command", argv=["true"], prompt="do it", **fields)
    return launch_runner(make_project().name, request, actor="user:ada")


def live_and_end(runner: Runner, code: int = 1) -> Runner:
    """Report one whole life of the runner's current attempt."""
    runner.refresh_from_db()
    records = [
        {"t": 1.0, "kind": "started", "pid": 42, "start_ticks": 7, "boot_id": "b"},
        {"t": 2.0, "kind": "exit", "code": code, "signal": None, "reason": "exited"},
    ]
    ingest(Batch(runner.pk, runner.generation, 0, 100, records))
    runner.refresh_from_db()
    return runner


def make_due(runner: Runner) -> None:
    Runner.objects.filter(pk=runner.pk).update(restart_at=timezone.now())


@db
def test_a_restart_by_hand_is_a_new_attempt_and_the_first_is_kept() -> None:
    runner = live_and_end(launch(), code=3)
    again = restart_runner(runner.pk, actor="user:ada")
    assert (again.status, again.generation, again.exit_code, again.ended_at) == (S.STARTING, 2, None, None)
    first, second = Attempt.objects.filter(runner=runner)
    assert (first.generation, first.status, first.exit_code, first.reason) == (1, "failed", 3, "exit code 3")
    assert (second.generation, second.status) == (2, "starting")
    observation = Observation.objects.get(runner=runner)
    assert (observation.generation, observation.telemetry_offset) == (2, 0)
    assert live_and_end(again, code=0).status == S.TERMINATED
    assert again.session is not None
    assert again.session.messages.count() == 2


@db
def test_only_an_ended_runner_is_restarted() -> None:
    with pytest.raises(MoveRefused, match="has not ended"):
        restart_runner(launch().pk, actor="user:ada")


@db
def test_a_restart_needs_a_place_like_a_launch() -> None:
    runner = live_and_end(launch())
    set_quota(runner.project, max_concurrent_runners=0, actor="user:ada")
    with pytest.raises(QuotaExceeded):
        restart_runner(runner.pk, actor="user:ada")


@db
@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [
        ("never", 1, False),
        ("on_failure", 1, True),
        ("on_failure", 0, False),
        ("always", 0, True),
        ("always", 1, True),
    ],
)
def test_the_policy_decides(policy: str, code: int, again: bool) -> None:
    runner = live_and_end(launch(restart_policy=policy), code=code)
    assert (runner.restart_at is not None) == again
    assert restart_due() == 0
    if again:
        make_due(runner)
    assert restart_due() == int(again)


@db
def test_what_was_asked_to_stop_stays_stopped() -> None:
    runner = launch(restart_policy="always")
    stop_runner(runner.pk, actor="user:ada")
    assert live_and_end(runner).restart_at is None


@db
def test_a_stop_cancels_a_restart_that_is_due() -> None:
    runner = live_and_end(launch(restart_policy="always"))
    assert runner.restart_at is not None
    assert stop_runner(runner.pk, actor="user:ada").restart_at is None
    assert restart_due() == 0


@db
def test_after_its_restarts_it_is_a_crash_loop_and_after_a_quiet_time_it_begins_anew() -> None:
    runner = launch(restart_policy="on_failure", max_restarts=2)
    for _ in range(2):
        live_and_end(runner)
        make_due(runner)
        assert restart_due() == 1
    runner = live_and_end(runner)
    assert (runner.restart_at, runner.generation) == (None, 3)
    assert runner.reason == "crash loop: 2 restarts within 10 minutes; last: exit code 1"
    restart_runner(runner.pk, actor="user:ada")
    Attempt.objects.filter(runner=runner).update(placed_at=timezone.now() - timedelta(hours=1))
    assert live_and_end(runner).restart_at is not None


@db
def test_a_due_restart_without_a_place_waits_for_one() -> None:
    runner = live_and_end(launch(restart_policy="always"))
    make_due(runner)
    node = runner.node
    assert node is not None
    node.slots = 0
    node.save()
    assert restart_due() == 0
    node.slots = 1
    node.save()
    assert restart_due() == 1


def test_pauses_double_up_to_a_limit_with_jitter() -> None:
    for restarts, full in ((0, FIRST_PAUSE_SECONDS), (3, 8 * FIRST_PAUSE_SECONDS), (40, LONGEST_PAUSE_SECONDS)):
        pauses = {pause_before(restarts).total_seconds() for _ in range(20)}
        assert all(full / 2 <= pause <= full for pause in pauses)
        assert len(pauses) > 1
