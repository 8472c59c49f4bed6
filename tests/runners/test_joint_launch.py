"""Launches that callers ask for at once, each by itself: one transaction for those that wait, and all that is whose."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections, transaction
from django.db.models.expressions import RawSQL

from outbox import trace
from outbox.models import AuditEntry, Entry
from outbox.origin import Origin, origin
from outbox.states import Source
from runners.backends.base import LaunchRequest
from runners.exceptions import InvalidRequest, NoNodeAvailable, QuotaExceeded
from runners.models import Project, Runner, RunnerMove, Session
from runners.services.joint_launch import _together, launch_beside_others
from runners.services.places import PROJECT_LOCK
from runners.services.start import start_all_on_node
from runners.sql import lock_all_for_transaction
from tests.locks import somebody_waits_for
from tests.runners.factories import make_node, make_project
from tests.stack import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def traceparent(n: int) -> str:
    return f"00-{n:032x}-{n:016x}-01"


def ask(project_name: str, n: int, **fields: Any) -> Runner:
    """Ask for a runner as the n-th caller does: with an actor, a request and a trace of its own."""
    request = LaunchRequest(**{"backend": "command", "argv": ["true"], "name": f"r{n}", **fields})
    try:
        with origin(Origin(Source.API, request_id=f"request-{n}")), trace.following(traceparent(n)):
            return launch_beside_others(project_name, request, actor=f"user:u{n}")
    finally:
        connections.close_all()


def wait_until_waiting(project: Project, count: int) -> None:
    wait_until(lambda: _together.waiting(project.name) == count, f"{count} others wait")


def ask_at_once(project: Project, *asked: dict[str, Any]) -> "list[Future[Runner]]":
    """Let the first wait within its transaction until all others wait for it; return what came of each."""
    with ThreadPoolExecutor(len(asked)) as threads:
        with transaction.atomic():
            lock_all_for_transaction(PROJECT_LOCK, [project.pk])
            found = []
            for n, fields in enumerate(asked):
                found.append(threads.submit(ask, project.name, n + 1, **fields))
                wait_until(lambda: somebody_waits_for(PROJECT_LOCK, project.pk), "the first is at work")
                wait_until_waiting(project, n)
        for each in found:
            each.exception(60)
    return found


def transactions() -> list[int]:
    """Return how many runners each transaction has written."""
    written = Runner.objects.annotate(by=RawSQL("runners_runner.xmin::text", ())).values_list("by", flat=True)
    return sorted(list(written).count(number) for number in set(written))


def test_those_that_come_while_one_is_launched_go_with_one_transaction() -> None:
    project = make_project(quota=10)
    node = make_node(slots=10)
    runners = [each.result() for each in ask_at_once(project, *[{}] * 5)]
    assert transactions() == [1, 4]
    assert [runner.name for runner in runners] == ["r1", "r2", "r3", "r4", "r5"]
    assert {(runner.status, runner.node_id) for runner in Runner.objects.all()} == {("starting", node.pk)}
    (together,) = Entry.objects.filter(type="runners.tasks.start_runners")
    assert together.data["args"] == [[[str(runners[n - 1].pk), 1, traceparent(n)] for n in (2, 3, 4, 5)]]


def test_each_is_its_own_callers_in_history_audit_log_and_trace() -> None:
    project = make_project(quota=10)
    make_node(slots=10)
    for n, each in enumerate(ask_at_once(project, *[{"prompt": "go"}] * 4), start=1):
        runner = each.result()
        assert RunnerMove.objects.get(runner=runner).actor == f"user:u{n}"
        act = AuditEntry.objects.get(target_id=str(runner.pk))
        assert (act.action, act.actor, act.request_id) == ("runner.launch", f"user:u{n}", f"request-{n}")
        told = Entry.objects.events().filter(aggregate=runner.aggregate)
        assert set(told.values_list("traceparent", flat=True)) == {traceparent(n)}
        assert list(told.order_by("id").values_list("type", flat=True)) == ["runner.starting", "session.created"]


def test_the_trace_of_each_leads_on_to_what_its_start_publishes() -> None:
    project = make_project(quota=10)
    make_node(slots=10)
    runners = [each.result() for each in ask_at_once(project, *[{}] * 3)]
    # It cannot start here any more, and that is told.
    Runner.objects.update(workspace="/nowhere")
    Entry.objects.all().delete()
    start_all_on_node([(runner.pk, 1, traceparent(n)) for n, runner in enumerate(runners, start=1)])
    for n, runner in enumerate(runners, start=1):
        failed = Entry.objects.get(type="runner.failed", aggregate=runner.aggregate)
        assert failed.traceparent[:36] == traceparent(n)[:36]


def test_who_launches_in_another_project_does_not_wait() -> None:
    project, other = make_project(quota=10), make_project(quota=10)
    make_node(slots=10)
    with ThreadPoolExecutor(2) as threads:
        with transaction.atomic():
            lock_all_for_transaction(PROJECT_LOCK, [project.pk])
            waiting = threads.submit(ask, project.name, 1)
            wait_until(lambda: somebody_waits_for(PROJECT_LOCK, project.pk), "it is at work")
            assert threads.submit(ask, other.name, 2).result(60).name == "r2"
        assert waiting.result(60).name == "r1"


def test_what_is_refused_keeps_nobody_else_from_starting() -> None:
    project = make_project(quota=2)
    make_node(slots=10)
    asked: list[dict[str, Any]] = [
        {},
        {"argv": []},
        {},
        {},
        {"labels": ["gpu"]},
    ]
    came = ask_at_once(project, *asked)
    kinds = [type(each.exception() or each.result()) for each in came]
    assert kinds == [Runner, InvalidRequest, Runner, QuotaExceeded, QuotaExceeded]
    assert Runner.objects.count() == Session.objects.count() == 2
    assert transactions() == [1, 1]


def test_places_are_not_given_twice() -> None:
    project = make_project(quota=100)
    make_node(slots=3)
    came = ask_at_once(project, *[{}] * 6)
    assert [type(each.exception() or each.result()) for each in came] == [Runner] * 3 + [NoNodeAvailable] * 3


def test_one_that_breaks_the_transaction_is_launched_without_the_others() -> None:
    project = make_project(quota=10)
    make_node(slots=10)
    came = ask_at_once(project, {}, {}, {"name": "a\x00b"}, {})
    assert [each.exception() is None for each in came] == [True, True, False, True]
    assert sorted(Runner.objects.values_list("name", flat=True)) == ["r1", "r2", "r4"]
    assert transactions() == [1, 1, 1]


def test_of_a_project_that_is_not_there_each_is_told_so() -> None:
    with pytest.raises(InvalidRequest, match="There is no project 'nowhere'"):
        ask("nowhere", 1)
