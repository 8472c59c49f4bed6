"""Many launches in one transaction: each by the rules of one, and what is refused keeps nobody else from starting."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from outbox.models import AuditEntry, Entry
from runners.backends.base import LaunchRequest
from runners.exceptions import (
    BudgetSpent,
    InvalidRequest,
    NoNodeAvailable,
    ProgramNotFound,
    ProjectNotActive,
    QuotaExceeded,
)
from runners.models import Attempt, Message, Observation, Project, Runner, RunnerMove, Session
from runners.services import launch_runner
from runners.services.budgets import create_budget
from runners.services.launch import MOST_AT_ONCE, launch_runners
from runners.states import ProjectStatus, RunnerStatus
from tests.runners.factories import make_node, make_project, make_runner

S = RunnerStatus


def command(**fields: Any) -> LaunchRequest:
    return LaunchRequest(**{"backend": "command", "argv": ["true"], **fields})


def launch(project: Project, *requests: LaunchRequest) -> Any:
    return launch_runners(project.name, requests, actor="user:ada")


@pytest.mark.django_db
def test_each_of_many_leaves_the_traces_that_one_leaves() -> None:
    project, _ = make_project(quota=10), make_node()
    launch_runner(project.name, command(prompt="go on", name="one"), actor="user:ada")
    came = launch(project, *[command(prompt="go on", name=f"r{n}") for n in range(5)])
    assert [came.done[n].name for n in range(5)] == [f"r{n}" for n in range(5)]
    assert not came.refused

    def traces(runner: Runner) -> dict[str, Any]:
        runner = Runner.objects.get(pk=runner.pk)
        session = runner.session
        assert session is not None
        entries = Entry.objects.events().filter(aggregate=runner.aggregate).order_by("id")
        return {
            "runner": (runner.status, runner.node_id, runner.argv, runner.workspace, runner.reason),
            "moves": list(RunnerMove.objects.filter(runner=runner).values_list("from_status", "to_status", "actor")),
            "attempts": list(Attempt.objects.filter(runner=runner).values_list("generation", "node", "status")),
            "seen": list(Observation.objects.filter(runner=runner).values_list("generation", "telemetry_offset")),
            "said": list(Message.objects.filter(session=session).values_list("role", "text")),
            "session": (session.title, session.message_count, session.external_id),
            "published": list(entries.values_list("type", "routing_key")),
            "acts": list(AuditEntry.objects.filter(target_id=str(runner.pk)).values_list("action", "actor")),
        }

    one = traces(Runner.objects.get(name="one"))
    assert [traces(runner) for runner in came.done.values()] == [one] * 5
    assert [name for name, _ in one["published"]] == ["runner.starting", "session.created"]


@pytest.mark.django_db
def test_start_tasks_of_one_node_travel_together_and_leave_nobody_out() -> None:
    project = make_project(quota=100)
    nodes = [make_node(slots=10), make_node(slots=10)]
    came = launch(project, *[command()] * 20)
    sent = Entry.objects.filter(type="runners.tasks.start_runners").order_by("id")
    assert sorted(sent.values_list("routing_key", flat=True)) == sorted([node.queue for node in nodes] * 2)
    attempts = [tuple(attempt) for task in sent for *attempt, _ in task.data["args"][0]]
    assert sorted(attempts) == sorted((str(runner.pk), 1) for runner in came.done.values())
    for task in sent:
        ids = [runner_id for runner_id, _, _ in task.data["args"][0]]
        assert {runner.node.queue for runner in Runner.objects.filter(pk__in=ids) if runner.node} == {task.routing_key}


@pytest.mark.django_db
def test_a_hundred_launches_take_as_many_statements_as_two() -> None:
    project = make_project(quota=1_000)
    make_node(slots=1_000)

    def statements(count: int) -> int:
        with CaptureQueriesContext(connection) as queries:
            launch(project, *[command(prompt="x")] * count)
        # The rules of redaction are asked for by the clock.
        return sum("redactionrule" not in query["sql"] for query in queries)

    assert statements(100) == statements(2)


@pytest.mark.django_db
def test_the_first_in_the_list_get_the_places_and_the_others_are_told_the_figures() -> None:
    project = make_project(quota=3)
    make_node()
    make_runner(project=project)
    came = launch(project, *[command()] * 4)
    assert list(came.done) == [0, 1]
    assert [(type(came.refused[n]), came.refused[n].facts) for n in (2, 3)] == [
        (QuotaExceeded, {"used": 3, "limit": 3})
    ] * 2
    assert Runner.objects.filter(project=project).count() == 3


@pytest.mark.django_db
def test_those_that_may_wait_are_queued_behind_the_places() -> None:
    project = make_project(quota=1)
    make_node()
    came = launch(project, *[command(on_limit="wait")] * 3)
    assert [came.done[n].status for n in range(3)] == [S.STARTING, S.QUEUED, S.QUEUED]
    assert Entry.objects.filter(type="runners.tasks.start_waiting").count() == 1
    assert Entry.objects.filter(type="runners.tasks.start_runner").count() == 1


@pytest.mark.django_db
def test_what_one_asks_wrongly_is_refused_and_takes_no_place() -> None:
    project = make_project(quota=2)
    make_node(slots=2)
    came = launch(
        project,
        command(workspace="../elsewhere"),
        command(argv=["no-such-program"]),
        command(conversation_mode="resume", session_id="8f7c2f60-0000-4000-8000-000000000000"),
        command(labels=["gpu"]),
        command(name="a"),
        command(name="b"),
    )
    assert sorted(runner.name for runner in came.done.values()) == ["a", "b"]
    assert [type(came.refused[n]) for n in (1, 2, 3)] == [ProgramNotFound, InvalidRequest, NoNodeAvailable]
    assert set(came.refused) == {0, 1, 2, 3}
    assert Session.objects.count() == 2


@pytest.mark.django_db
def test_they_spread_over_the_nodes_by_their_free_slots() -> None:
    project = make_project(quota=100)
    large, small = make_node(name="large", slots=6), make_node(name="small", slots=3)
    came = launch(project, *[command()] * 10)
    nodes = [runner.node for runner in came.done.values()]
    assert (nodes.count(large), nodes.count(small)) == (6, 3)
    # The fuller it gets, the more often the other one's turn comes.
    assert nodes[:3] == [large] * 3
    assert isinstance(came.refused[9], NoNodeAvailable)
    assert "large is online with 6 of 6 slots taken" in came.refused[9].message
    assert "small is online with 3 of 3 slots taken" in came.refused[9].message


@pytest.mark.django_db
def test_a_spent_budget_refuses_those_it_counts() -> None:
    project = make_project()
    make_node()
    budget = {"period": "daily", "unit": "tokens", "limit": 1, "action": "stop"}
    made = create_budget({"name": "ann", "scope": "agent", "scope_key": "ann", **budget}, actor="user:ada")
    made.periods.update(used_tokens=1)
    came = launch(project, command(agent_name="ann"), command(agent_name="bob"), command(agent_name="ann"))
    assert list(came.done) == [1]
    assert [type(came.refused[n]) for n in (0, 2)] == [BudgetSpent, BudgetSpent]


@pytest.mark.django_db
def test_too_many_and_an_archived_project_are_refused_as_a_whole() -> None:
    project = make_project()
    with pytest.raises(InvalidRequest, match=f"more than the {MOST_AT_ONCE}"):
        launch(project, *[command()] * (MOST_AT_ONCE + 1))
    Project.objects.filter(pk=project.pk).update(status=ProjectStatus.ARCHIVED, archived_at=timezone.now())
    with pytest.raises(ProjectNotActive):
        launch(project, command())
    assert not Runner.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_that_launch_many_at_the_same_time_get_no_more_than_there_is() -> None:
    projects = [make_project(quota=12), make_project(quota=100)]
    for name in ("a", "b", "c"):
        make_node(name=f"node-{name}", slots=10)
    gate = threading.Barrier(4)

    def go(project: Project) -> int:
        gate.wait()
        try:
            return len(launch(project, *[command()] * 20).done)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as threads:
        counts = list(threads.map(go, [projects[0], projects[1], projects[0], projects[1]]))
    assert sum(counts) == Runner.objects.count() == 30
    assert counts[0] + counts[2] <= 12
    per_node = Runner.objects.order_by().values_list("node__name", flat=True)
    assert sorted(per_node) == ["node-a"] * 10 + ["node-b"] * 10 + ["node-c"] * 10
