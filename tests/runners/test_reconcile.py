"""The reconciler, rule by rule."""

from datetime import timedelta

import pytest
from django.utils import timezone

from outbox.models import Entry
from runners.models import Node, Runner
from runners.services.nodes import heartbeat_node, register_node
from runners.services.reconcile import (
    reconcile,
    reconcile_node,
    silent_nodes,
    superseded,
    unstarted_runners,
    unstopped_runners,
)
from runners.states import NodeStatus, RunnerStatus
from tests.runners.factories import make_node, make_runner

pytestmark = pytest.mark.django_db
LONG_AGO = timedelta(minutes=5)
S = RunnerStatus


def status_of(runner: Runner) -> str:
    return Runner.objects.values_list("status", flat=True).get(pk=runner.pk)


def test_a_silent_node_is_offline_and_its_runners_unknown_not_failed() -> None:
    node = make_node(last_seen_at=timezone.now() - LONG_AGO)
    running, stopping, starting = (make_runner(node=node, status=s) for s in (S.RUNNING, S.STOPPING, S.STARTING))
    elsewhere = make_runner(status=S.RUNNING)
    assert silent_nodes() == 1
    node.refresh_from_db()
    assert node.status == NodeStatus.OFFLINE
    assert [status_of(r) for r in (running, stopping, starting, elsewhere)] == [
        S.UNKNOWN,
        S.STOPPING,
        S.STARTING,
        S.RUNNING,
    ]


def test_a_node_that_answers_again_is_online_and_its_live_runners_run() -> None:
    node = make_node(status=NodeStatus.OFFLINE)
    running, paused = make_runner(node=node, status=S.UNKNOWN), make_runner(node=node, status=S.UNKNOWN)
    heartbeat_node(node.name)
    alive = {(running.pk, 1): False, (paused.pk, 1): True}
    assert reconcile_node(node.name, alive, kept=set(alive)) == 2
    assert (status_of(running), status_of(paused)) == (S.RUNNING, S.PAUSED)
    node.refresh_from_db()
    assert node.status == NodeStatus.ONLINE


def test_a_runner_of_which_its_node_has_no_record_is_failed_as_lost() -> None:
    node = make_node()
    runner, ending = make_runner(node=node), make_runner(node=node)
    # Kept but not alive: its end is on disk, and will be read.
    assert reconcile_node(node.name, alive={}, kept={(ending.pk, 1)}) == 1
    runner.refresh_from_db()
    assert (runner.status, runner.reason) == (S.FAILED, "lost: its node has no such process")
    assert status_of(ending) == S.RUNNING


def test_a_stopping_runner_that_may_never_have_started_is_left_to_its_stop_task() -> None:
    runner = make_runner(status=S.STOPPING)
    assert reconcile_node(runner.node.name, alive={}, kept=set()) == 0  # type: ignore[union-attr]
    assert status_of(runner) == S.STOPPING


def test_a_starting_runner_without_a_process_is_sent_again_and_not_at_every_round() -> None:
    late = make_runner(status=S.STARTING, status_changed_at=timezone.now() - LONG_AGO)
    make_runner(status=S.STARTING)
    make_runner(
        status=S.STARTING, status_changed_at=timezone.now() - LONG_AGO, node=make_node(status=NodeStatus.OFFLINE)
    )
    assert (unstarted_runners(), unstarted_runners()) == (1, 0)
    task = Entry.objects.get()
    assert (task.type, task.data["args"]) == ("runners.tasks.start_runner", [str(late.pk), 1])


def test_a_runner_that_does_not_stop_is_told_again_without_grace() -> None:
    late = make_runner(status=S.STOPPING, status_changed_at=timezone.now() - LONG_AGO, grace_seconds=10)
    make_runner(status=S.STOPPING, status_changed_at=timezone.now() - LONG_AGO, grace_seconds=900)
    assert (unstopped_runners(), unstopped_runners()) == (1, 0)
    task = Entry.objects.get()
    assert (task.type, task.data["args"]) == ("runners.tasks.stop_runner", [str(late.pk), 1, 0])


def test_processes_whose_runner_ended_or_went_on_are_superseded() -> None:
    ended = make_runner(status=S.FAILED, ended_at=timezone.now())
    restarted = make_runner(status=S.RUNNING, generation=2)
    alive = {(ended.pk, 1), (restarted.pk, 1), (restarted.pk, 2)}
    assert set(superseded(alive)) == {(ended.pk, 1), (restarted.pk, 1)}


def test_a_fleet_in_order_is_left_alone() -> None:
    make_runner(status=S.RUNNING)
    assert not any(reconcile().values())
    assert not Entry.objects.exists()


def test_a_draining_node_stays_draining_when_its_agent_registers_again() -> None:
    make_node(name="n1", status=NodeStatus.DRAINING)
    register_node("n1", hostname="h", boot_id="b", version="1", slots=4, labels=["gpu"], programs={})
    node = Node.objects.get(name="n1")
    assert (node.status, node.slots, node.labels) == (NodeStatus.DRAINING, 4, ["gpu"])
