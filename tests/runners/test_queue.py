"""Waiting for a place: fair, by priority then age, started when a place is free."""

import pytest
from django.utils import timezone

from outbox.models import Entry
from runners.backends.base import LaunchRequest
from runners.exceptions import InvalidRequest
from runners.models import Project, Runner
from runners.services import launch_runner, stop_runner
from runners.services.queue import queue_position, start_queued
from runners.services.start import start_on_node
from runners.states import RunnerStatus
from runners.transitions import move
from tests.runners.factories import make_node, make_project, make_runner

pytestmark = pytest.mark.django_db
S = RunnerStatus


def wait(project: Project, priority: int = 0) -> Runner:
    request = LaunchRequest(backend="command", argv=["true"], on_limit="wait", priority=priority)
    return launch_runner(project.name, request, actor="user:ada")


def started() -> list[Runner]:
    return list(Runner.objects.filter(status=S.STARTING).order_by("status_changed_at"))


def end(runner: Runner) -> None:
    move(runner.pk, S.TERMINATED, generation=runner.generation, actor="system:test")


def test_with_a_free_place_it_does_not_wait() -> None:
    make_node()
    assert wait(make_project(quota=1)).status == S.STARTING


def test_a_full_quota_queues_and_says_so_in_the_stream() -> None:
    make_node()
    project = make_project(quota=0)
    runner = wait(project)
    assert (runner.status, runner.node) == (S.QUEUED, None)
    types = list(Entry.objects.filter(aggregate=runner.aggregate).order_by("id").values_list("type", flat=True))
    assert types == ["runner.queued", "session.created"]
    assert start_queued() == 0


def test_waiting_is_no_way_around_other_refusals() -> None:
    with pytest.raises(InvalidRequest):
        launch_runner(make_project(quota=0).name, LaunchRequest(backend="command", on_limit="wait"), actor="user:ada")
    assert not Runner.objects.exists()


def test_a_freed_place_wakes_the_queue_at_once_and_the_next_in_line_starts() -> None:
    make_node()
    project = make_project(quota=1)
    working = wait(project)
    waiting = wait(project)
    Entry.objects.all().delete()
    move(working.pk, S.FAILED, generation=1, actor="system:test")
    assert Entry.objects.filter(type="runners.tasks.start_waiting").count() == 1
    assert start_queued() == 1
    waiting.refresh_from_db()
    assert waiting.status == S.STARTING
    assert waiting.node is not None
    assert Entry.objects.filter(type="runners.tasks.start_runner", aggregate=waiting.aggregate).exists()


def test_within_a_project_priority_goes_before_age() -> None:
    make_node()
    project = make_project(quota=0)
    old, newer, urgent = wait(project), wait(project), wait(project, priority=5)
    assert [queue_position(r.pk) for r in (old, newer, urgent)] == [2, 3, 1]
    project.quota.max_concurrent_runners = 2
    project.quota.save()
    assert start_queued() == 2
    assert {r.pk for r in started()} == {urgent.pk, old.pk}
    assert queue_position(newer.pk) == 1
    assert queue_position(old.pk) is None


def test_projects_take_turns_however_many_one_of_them_queued() -> None:
    node = make_node(slots=0)
    greedy, modest = make_project(quota=50), make_project(quota=50)
    for _ in range(6):
        wait(greedy)
    for _ in range(2):
        wait(modest)
    node.slots = 4
    node.save()
    assert start_queued() == 4
    assert [Runner.objects.filter(project=p, status=S.STARTING).count() for p in (greedy, modest)] == [2, 2]


def test_a_project_with_a_full_quota_does_not_hold_up_the_others() -> None:
    make_node()
    full, free = make_project(quota=0), make_project(quota=0)
    wait(full)
    other = wait(free)
    free.quota.max_concurrent_runners = 1
    free.quota.save()
    assert start_queued() == 1
    assert [r.pk for r in started()] == [other.pk]


def test_a_queued_runner_is_cancelled_by_a_stop_and_never_starts() -> None:
    make_node()
    runner = wait(make_project(quota=0))
    stopped = stop_runner(runner.pk, actor="user:ada")
    assert (stopped.status, stopped.reason) == (S.TERMINATED, "cancelled")
    assert start_on_node(runner.pk, 1) is False
    assert start_queued() == 0


def test_as_many_start_at_once_as_there_are_slots() -> None:
    node = make_node(slots=0)
    project = make_project(quota=1000)
    for number in range(30):
        make_runner(project=project, node=node, status=S.QUEUED, name=f"w{number}", created_at=timezone.now())
    node.slots = 10
    node.save()
    assert start_queued() == 10
    assert Runner.objects.filter(status=S.QUEUED).count() == 20
