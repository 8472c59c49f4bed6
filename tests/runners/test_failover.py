"""A lost node: its runners go on elsewhere, and what it has left of them is fenced when it is back."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings
from django.db import connections, transaction
from django.utils import timezone

from outbox.models import AuditEntry, Entry
from runners.models import Attempt, Node, Observation, Runner, RunnerMove, Session, UsageEntry
from runners.services.failover import fence, lost_nodes
from runners.services.ingest import ingest
from runners.services.telemetry import Batch
from runners.states import NodeStatus, RunnerStatus
from runners.transitions import move
from tests.callers import operator
from tests.locks import somebody_waits_for_a_lock
from tests.runners.factories import make_node, make_project, make_runner
from tests.stack import wait_until

S = RunnerStatus
db = pytest.mark.django_db
STARTED = {"t": 1.0, "kind": "started", "pid": 42, "start_ticks": 7, "boot_id": "b"}


def lose(node: Node, seconds: float = 0) -> Node:
    node.status = NodeStatus.OFFLINE
    node.last_seen_at = timezone.now() - timedelta(seconds=settings.NODE_LOST_AFTER_SECONDS + 1 - seconds)
    node.save()
    return node


def make_lost(**fields: Any) -> Runner:
    """Make a runner whose node is lost, as it stood when the node was last heard of."""
    runner = make_runner(**{"status": S.RUNNING, "restart_policy": "on_failure", **fields})
    assert runner.node is not None
    Attempt.objects.create(runner=runner, generation=1, node=runner.node, session=runner.session, status=runner.status)
    lose(runner.node)
    if runner.status == S.RUNNING:
        move(runner.pk, S.UNKNOWN, generation=1, actor="system:test")
    Entry.objects.all().delete()
    return runner


def usage(key: str, tokens: int, cost: str | None = None) -> dict[str, Any]:
    data = {"type": "usage", "id": key, "output_tokens": tokens, **({"cost_usd": cost} if cost else {})}
    return {"t": 2.0, "kind": "report", "data": data}


def message(key: str, text: str) -> dict[str, Any]:
    return {"t": 2.0, "kind": "report", "data": {"type": "message", "id": key, "role": "assistant", "text": text}}


@db
@pytest.mark.parametrize("policy", ["on_failure", "always"])
def test_a_runner_of_a_lost_node_is_started_elsewhere_as_a_new_attempt(policy: str) -> None:
    runner = make_lost(restart_policy=policy)
    other = make_node()
    assert (lost_nodes(), lost_nodes()) == (1, 0)
    lost = runner.node
    runner.refresh_from_db()
    assert (runner.status, runner.generation, runner.node) == (S.STARTING, 2, other)
    first, second = Attempt.objects.filter(runner=runner)
    assert lost is not None
    assert (first.status, first.node) == ("failed", lost)
    assert first.reason.startswith(f"node lost: {lost.name} is silent since ")
    assert (second.status, second.node) == ("starting", other)
    assert list(RunnerMove.objects.filter(runner=runner).values_list("to_status", "actor"))[-2:] == [
        ("failed", "system:failover"),
        ("starting", "system:failover"),
    ]
    task = Entry.objects.get(type="runners.tasks.start_runner")
    assert (task.routing_key, task.data["args"]) == (other.queue, [str(runner.pk), 2])


@db
def test_one_that_was_starting_there_is_started_elsewhere_too() -> None:
    runner = make_lost(status=S.STARTING)
    make_node()
    assert lost_nodes() == 1
    runner.refresh_from_db()
    assert (runner.status, runner.generation) == (S.STARTING, 2)


@db
@pytest.mark.parametrize(
    "fields", [{"restart_policy": "never"}, {"max_restarts": 0}, {"status": S.STOPPING, "restart_policy": "always"}]
)
def test_one_that_is_not_to_be_started_again_stays_as_it_is(fields: dict[str, Any]) -> None:
    runner = make_lost(**fields)
    make_node()
    assert lost_nodes() == 0
    runner.refresh_from_db()
    assert (runner.status, runner.generation) == (fields.get("status", S.UNKNOWN), 1)


@db
def test_without_another_place_nothing_is_ended() -> None:
    """The only node may come back: then the runner is still at work."""
    runner = make_lost(labels=["gpu"])
    make_node()
    assert lost_nodes() == 0
    runner.refresh_from_db()
    assert (runner.status, runner.generation) == (S.UNKNOWN, 1)
    assert not Entry.objects.exists()
    make_node(labels=["gpu"])
    assert lost_nodes() == 1


@db
def test_a_full_project_can_still_move_its_own_runner() -> None:
    make_lost(project=make_project(quota=1))
    make_node()
    assert lost_nodes() == 1


@db
def test_a_node_that_is_silent_for_a_while_is_not_lost_yet() -> None:
    runner = make_lost()
    assert runner.node is not None
    lose(runner.node, seconds=60)
    make_node()
    assert lost_nodes() == 0


@pytest.mark.django_db(transaction=True)
def test_of_two_reconcilers_at_once_one_moves_the_runner() -> None:
    for _ in range(5):
        runner = make_lost()
        node = make_node()
        together = threading.Barrier(2)

        def race(together: threading.Barrier = together) -> int:
            try:
                together.wait(10)
                return lost_nodes()
            finally:
                connections.close_all()

        with ThreadPoolExecutor(2) as threads:
            assert sorted(threads.map(lambda _: race(), range(2))) == [0, 1]
        runner.refresh_from_db()
        assert runner.generation == 2
        node.status = NodeStatus.DRAINING
        node.save()


@db
def test_what_a_lost_attempt_used_is_counted_once_and_what_it_says_is_refused() -> None:
    runner = make_lost()
    make_node()
    ingest(Batch(runner.pk, 1, 0, 100, [STARTED, usage("a", 10, "0.1"), message("m1", "before the loss")]))
    lost_nodes()
    runner.refresh_from_db()
    new = Batch(runner.pk, 2, 0, 50, [{**STARTED, "pid": 43}, usage("a", 5, "0.05"), message("m1", "again")])
    assert ingest(new) == 50
    late = [usage("a", 10, "0.1"), usage("b", 7, "0.2"), message("m2", "too late"), {"t": 3.0, "kind": "paused"}]
    end = {"t": 4.0, "kind": "exit", "code": 0, "signal": None, "reason": "stopped"}
    batch = Batch(runner.pk, 1, 100, 200, [*late, end])

    assert ingest(Batch(runner.pk, 1, 0, 100, [STARTED])) == 100, "it is read on from where the database stood"
    assert ingest(batch) == 200
    assert ingest(batch) == 200

    session = Session.objects.get(runners=runner)
    assert list(UsageEntry.objects.order_by("pk").values_list("output_tokens", flat=True)) == [10, 5, 7]
    assert (session.output_tokens, session.cost_usd) == (22, Decimal("0.35"))
    assert list(session.messages.values_list("text", flat=True)) == ["before the loss", "again"]
    runner.refresh_from_db()
    assert (runner.status, runner.generation, runner.pid) == (S.RUNNING, 2, 43)
    attempt = Attempt.objects.get(runner=runner, generation=1)
    assert (attempt.status, attempt.exit_code, attempt.refused_records) == ("failed", 0, 5)
    assert Observation.objects.get(runner=runner).telemetry_offset == 50


@db
def test_telemetry_of_an_attempt_that_never_was_is_refused() -> None:
    runner = make_runner(generation=3)
    assert ingest(Batch(runner.pk, 2, 0, 10, [usage("a", 10)])) == 10
    assert ingest(Batch(runner.pk, 4, 0, 10, [usage("a", 10)])) == 10
    assert not UsageEntry.objects.exists()


@db
def test_a_fenced_attempt_is_told_once_and_seen_on_page_and_api() -> None:
    runner = make_lost()
    make_node()
    assert fence(runner.pk, 1, node="old") is False, "it has no successor"
    lost_nodes()
    assert (fence(runner.pk, 1, node="old"), fence(runner.pk, 1, node="old")) == (True, False)
    event = Entry.objects.get(type="runner.fenced")
    assert (event.data["node"], event.data["generation"], event.data["fenced_generation"]) == ("old", 2, 1)
    assert AuditEntry.objects.get(action="attempt.fence").after == {"generation": 1, "node": "old"}
    browser = operator()
    assert "fenced" in browser.get(f"/runners/{runner.pk}/").content.decode()
    first, second = browser.get(f"/api/v1/runners/{runner.pk}/attempts/").json()["results"]
    assert first["fenced_at"] is not None
    assert second["fenced_at"] is None


@pytest.mark.django_db(transaction=True)
def test_an_attempt_that_is_fenced_while_it_is_still_heard_is_both() -> None:
    runner = make_lost()
    make_node()
    lost_nodes()

    def hear() -> None:
        try:
            ingest(Batch(runner.pk, 1, 0, 100, [message("m1", "too late"), usage("a", 7)]))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic():
            assert fence(runner.pk, 1, node="old")
            hearing = threads.submit(hear)
            wait_until(somebody_waits_for_a_lock, "who hears of the attempt waits for who fences it")
        hearing.result(60)
    attempt = Attempt.objects.get(runner=runner, generation=1)
    assert attempt.fenced_at is not None
    assert (attempt.telemetry_offset, attempt.refused_records) == (100, 2)
