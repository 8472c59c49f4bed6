"""Launching: all or nothing, and never past a quota."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connections, transaction

from outbox.models import Entry
from outbox.states import Kind
from runners.backends.base import LaunchRequest
from runners.exceptions import (
    InvalidRequest,
    LaunchRefused,
    NoNodeAvailable,
    PathNotAllowed,
    ProgramNotFound,
    ProjectNotActive,
    QuotaExceeded,
)
from runners.models import Node, Runner, RunnerMove
from runners.services import archive_project, launch_runner
from runners.services.places import NODE_LOCK
from runners.sql import lock_for_transaction
from runners.states import NodeStatus, RunnerStatus
from tests.locks import somebody_waits_for
from tests.runners.factories import make_node, make_project, make_runner
from tests.stack import wait_until

TRUE = LaunchRequest(backend="command", argv=["true"])


@pytest.mark.django_db
def test_a_launch_writes_row_history_event_and_start_task_together() -> None:
    project, node = make_project(), make_node()
    runner = launch_runner(project.name, TRUE, actor="user:ada")
    assert (runner.status, runner.generation, runner.node) == (RunnerStatus.STARTING, 1, node)
    move = RunnerMove.objects.get(runner=runner)
    assert (move.from_status, move.to_status, move.actor) == ("", "starting", "user:ada")
    entries = list(Entry.objects.filter(aggregate=runner.aggregate).order_by("id"))
    assert [entry.type for entry in entries] == ["runner.starting", "session.created", "runners.tasks.start_runner"]
    assert entries[0].routing_key == f"runner.starting.{project.name}"
    assert (entries[-1].kind, entries[-1].routing_key) == (Kind.TASK, f"node.{node.name}")
    assert entries[-1].data == {"args": [str(runner.pk), 1]}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("request_", "error", "field"),
    [
        (LaunchRequest(backend="nothing"), InvalidRequest, "backend"),
        (LaunchRequest(backend="command"), InvalidRequest, "argv"),
        (LaunchRequest(backend="command", argv=["no-such-program-here"]), ProgramNotFound, "argv"),
        (LaunchRequest(backend="command", argv=["true"], workspace="../elsewhere"), PathNotAllowed, "path"),
        (LaunchRequest(backend="command", argv=["true"], workspace="/"), PathNotAllowed, "path"),
        (LaunchRequest(backend="command", argv=["true"], workspace="missing"), PathNotAllowed, "path"),
        (LaunchRequest(backend="claude_code", prompt="hi", flags=["--made-up"]), InvalidRequest, "flags"),
        (LaunchRequest(backend="claude_code"), InvalidRequest, "prompt"),
    ],
)
def test_what_cannot_work_is_refused_and_nothing_is_written(
    request_: LaunchRequest, error: type[LaunchRefused], field: str
) -> None:
    project = make_project()
    make_node(programs={"claude_code": {"path": "/bin/claude", "version": "2"}})
    with pytest.raises(error) as refusal:
        launch_runner(project.name, request_, actor="user:ada")
    assert refusal.value.facts["field"] == field
    assert not Runner.objects.exists()
    assert not Entry.objects.exists()


@pytest.mark.django_db
def test_a_workspace_that_leads_out_by_a_link_is_refused(tmp_path: Path) -> None:
    project = make_project()
    make_node()
    (Path(project.path) / "way-out").symlink_to(tmp_path)
    with pytest.raises(PathNotAllowed):
        launch_runner(
            project.name, LaunchRequest(backend="command", argv=["true"], workspace="way-out"), actor="user:ada"
        )


@pytest.mark.django_db
def test_a_program_the_node_has_not_is_refused() -> None:
    make_node(name="bare", programs={})
    with pytest.raises(ProgramNotFound, match="not installed on bare"):
        launch_runner(make_project().name, LaunchRequest(backend="claude_code", prompt="hi"), actor="user:ada")


@pytest.mark.django_db
def test_a_full_quota_is_refused_with_the_figures() -> None:
    project, node = make_project(quota=2), make_node()
    for status in (RunnerStatus.RUNNING, RunnerStatus.UNKNOWN):
        make_runner(project=project, node=node, status=status)
    with pytest.raises(QuotaExceeded) as refusal:
        launch_runner(project.name, TRUE, actor="user:ada")
    assert refusal.value.facts == {"used": 2, "limit": 2}


@pytest.mark.django_db
def test_the_node_with_the_most_free_slots_is_taken() -> None:
    project = make_project()
    busy, roomy = make_node(slots=3), make_node(slots=2)
    make_node(slots=99, status=NodeStatus.DRAINING)
    make_node(slots=99, status=NodeStatus.OFFLINE)
    make_runner(project=project, node=busy)
    make_runner(project=project, node=busy)
    assert launch_runner(project.name, TRUE, actor="user:ada").node == roomy


@pytest.mark.django_db
def test_without_a_free_slot_the_reason_names_the_nodes() -> None:
    node = make_node(name="small", slots=1)
    make_runner(node=node)
    with pytest.raises(NoNodeAvailable, match="small is online with 1 of 1 slots taken"):
        launch_runner(make_project().name, TRUE, actor="user:ada")


@pytest.mark.django_db
@pytest.mark.parametrize(("backend", "asked", "given"), [("command", None, 10), ("codex", None, 20), ("codex", 0, 0)])
def test_its_grace_is_the_backends_unless_the_launch_says_another(backend: str, asked: int | None, given: int) -> None:
    make_node(programs={"codex": {"path": "/usr/bin/codex", "version": "1"}})
    request = LaunchRequest(backend=backend, argv=["true"] * (backend == "command"), prompt="Hi.", grace_seconds=asked)
    assert launch_runner(make_project().name, request, actor="user:ada").grace_seconds == given


@pytest.mark.django_db
def test_nothing_is_launched_in_an_archived_project() -> None:
    make_node()
    project = archive_project(make_project(), actor="user:ada")
    with pytest.raises(ProjectNotActive):
        launch_runner(project.name, TRUE, actor="user:ada")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("limited_by", ["quota", "slots"])
def test_of_two_launches_racing_for_the_last_place_exactly_one_wins(limited_by: str) -> None:
    """Two connections, over and over; with the lock taken away both win within a few rounds."""
    rounds = 10
    for _ in range(rounds):
        node = make_node(slots=1 if limited_by == "slots" else 99)
        projects = [make_project(quota=1)] * 2 if limited_by == "quota" else [make_project(), make_project()]
        together = threading.Barrier(2)

        def race(name: str, together: threading.Barrier = together) -> str:
            try:
                together.wait(5)
                launch_runner(name, TRUE, actor="user:ada")
            except (QuotaExceeded, NoNodeAvailable) as refusal:
                return type(refusal).__name__
            finally:
                connections.close_all()
            return "launched"

        with ThreadPoolExecutor(2) as threads:
            outcomes = sorted(threads.map(race, [project.name for project in projects]))
        assert outcomes == [{"quota": "QuotaExceeded", "slots": "NoNodeAvailable"}[limited_by], "launched"]
        node.status = NodeStatus.OFFLINE
        node.save()


@pytest.mark.django_db(transaction=True)
def test_whoever_looks_on_for_a_slot_keeps_no_full_node_from_others() -> None:
    """A batch takes the locks of nodes in their order: with the second one held here, it would wait in a circle."""
    project, first, second = make_project(), make_node(slots=2), make_node(slots=3)
    taken, filled = threading.Event(), threading.Event()

    def fill() -> None:
        with transaction.atomic():
            lock_for_transaction(NODE_LOCK, second.pk)
            taken.set()
            for _ in range(3):
                make_runner(node=second)
            assert filled.wait(20)
        connections.close_all()

    def launch() -> Node | None:
        try:
            return launch_runner(project.name, TRUE, actor="user:ada").node
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as threads:
        filling = threads.submit(fill)
        with transaction.atomic():
            lock_for_transaction(NODE_LOCK, first.pk)
            assert taken.wait(20)
            launching = threads.submit(launch)
            wait_until(lambda: somebody_waits_for(NODE_LOCK, second.pk), "it saw the slots of the second node")
            filled.set()
            wait_until(lambda: somebody_waits_for(NODE_LOCK, first.pk), "it looks on")
            lock_for_transaction(NODE_LOCK, second.pk)
        filling.result()
        assert launching.result() == first


def test_the_workspace_roots_of_the_tests_are_not_the_whole_disk() -> None:
    assert Path("/") not in settings.WORKSPACE_ROOTS
