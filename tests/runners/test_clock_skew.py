"""A node whose clock is wrong by ten minutes."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from runners.models import Runner
from runners.node_agent.attempts import Attempt
from runners.node_agent.clock import Clock
from runners.services.ingest import ingest
from runners.services.nodes import heartbeat_node, register_node
from runners.services.reconcile import silent_nodes
from runners.sql import database_now
from runners.states import NodeStatus, RestartPolicy, RunnerStatus
from tests.runners.factories import make_node, make_runner

pytestmark = pytest.mark.django_db
SKEW = timedelta(minutes=10)
SLACK = timedelta(minutes=2)


@pytest.fixture(params=[SKEW, -SKEW], ids=["fast", "slow"])
def skew(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> timedelta:
    """Let this process' clock go wrong: what it asks for the time."""
    wrong_by: timedelta = request.param
    right_now, right_time = timezone.now, time.time
    monkeypatch.setattr(timezone, "now", lambda: right_now() + wrong_by)
    monkeypatch.setattr(time, "time", lambda: right_time() + wrong_by.total_seconds())
    return wrong_by


def clock() -> Clock:
    compared = Clock()
    asked = time.time()
    compared.compare(database_now(), asked, time.time())
    return compared


def test_a_node_whose_clock_is_wrong_is_not_silent(skew: timedelta) -> None:
    node = make_node()
    register_node(node.name, hostname="h", boot_id="b", version="1", slots=4, labels=[], programs={})
    assert heartbeat_node(node.name)
    assert silent_nodes() == 0
    node.refresh_from_db()
    assert node.status == NodeStatus.ONLINE
    assert node.last_seen_at is not None
    assert abs(node.last_seen_at - database_now()) < SLACK


def test_what_its_runners_do_is_entered_at_the_databases_time(skew: timedelta, tmp_path: Path) -> None:
    runner = make_runner(status=RunnerStatus.STARTING, restart_policy=RestartPolicy.ON_FAILURE)
    run = tmp_path / f"{runner.pk.hex}.1"
    run.mkdir()
    stamp = time.time()
    (run / "telemetry.jsonl").write_text(
        f'{{"t": {stamp}, "kind": "started", "pid": 4, "start_ticks": 5, "boot_id": "b"}}\n'
        f'{{"t": {stamp}, "kind": "exit", "code": 1, "signal": null, "reason": "exited"}}\n'
    )
    batch = Attempt(runner.pk, 1, run, offset=0).next_batch(clock().ahead)
    assert batch is not None
    ingest(batch)
    runner = Runner.objects.get(pk=runner.pk)
    now = database_now()
    for moment in (runner.started_at, runner.ended_at, runner.restart_at):
        assert moment is not None
        assert abs(moment - now) < SLACK


def test_small_differences_are_left_alone() -> None:
    compared = Clock()
    compared.compare(datetime.fromtimestamp(1000.4, UTC), asked=1000.0, answered=1000.2)
    assert compared.ahead == 0.0
    compared.compare(datetime.fromtimestamp(1600.0, UTC), asked=999.9, answered=1000.1)
    assert compared.ahead == pytest.approx(600.0)
