"""Operations: a verb over everything that matches, item by item, in the background."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections, transaction
from django.db.models import Value
from django.db.models.functions import Concat
from django.utils import timezone

from outbox.models import AuditEntry, Entry
from runners.exceptions import InvalidRequest, MoveRefused, OperationRefused
from runners.models import Operation, OperationItem, Runner, RunnerMove
from runners.services.operations import (
    Verb,
    begin_operation,
    cancel_operation,
    preview,
    register,
    run_operation,
    verb_named,
    verbs,
)
from runners.services.operations import run as running
from runners.services.reconcile import stalled_operations
from runners.services.runner_verbs import FILTERS, matching_runners
from runners.several import Several
from runners.states import ItemResult, OperationStatus, RunnerStatus
from tests.runners.factories import make_node, make_project, make_runner
from tests.stack import Stack, wait_until

S = RunnerStatus
db = pytest.mark.django_db


def begin(verb: str = "runner.stop", wanted: dict[str, Any] | None = None, **fields: Any) -> Operation:
    return begin_operation(verb, wanted or {}, fields.pop("parameters", {}), actor="user:ada", **fields)


def results(operation: Operation) -> dict[str, list[str]]:
    """Return the names of the items by their result."""
    found: dict[str, list[str]] = {}
    for name, result in operation.items.values_list("name", "result"):
        found.setdefault(result, []).append(name)
    return {result: sorted(names) for result, names in found.items()}


def make_fleet() -> None:
    node, project = make_node(), make_project(name="shop")
    for name, status in (("a", S.RUNNING), ("b", S.PAUSED), ("c", S.TERMINATED), ("d", S.RUNNING)):
        ended = timezone.now() if status == S.TERMINATED else None
        make_runner(name=name, node=node, project=project, status=status, ended_at=ended)


@pytest.fixture
def probe() -> Iterator[list[str]]:
    """A verb whose act notes each runner's name, and does what its prompt says."""
    acted: list[str] = []

    def act(runner_id: Any, *, actor: str) -> None:
        runner = Runner.objects.select_for_update().get(pk=runner_id)
        acted.append(runner.name)
        Runner.objects.filter(pk=runner_id).update(reason=f"{runner.reason}x")
        if runner.prompt == "refuse":
            raise MoveRefused("Not now.")
        if runner.prompt == "break":
            raise ZeroDivisionError
        if runner.prompt == "die":
            raise KeyboardInterrupt

    register(
        Verb(
            name="runner.probe", label="Probe", items="runners", permission="", matching=matching_runners,
            why_not=lambda runner: "", act=act,
        )
    )  # fmt: skip
    yield acted
    del verbs._verbs["runner.probe"]


@pytest.fixture
def at_once(probe: list[str], monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The same verb, done to ten at once; one whose prompt is `break` breaks its chunk, one with `die` the worker."""
    chunks: list[list[str]] = []

    def act_many(ids: Sequence[Any], *, actor: str) -> Several[Any, Runner]:
        runners = list(Runner.objects.select_for_update().filter(pk__in=ids).order_by("-created_at", "-pk"))
        chunks.append([runner.name for runner in runners])
        Runner.objects.filter(pk__in=ids).update(reason=Concat("reason", Value("x")))
        prompts = {runner.prompt for runner in runners}
        if "die" in prompts:
            raise KeyboardInterrupt
        if "break" in prompts:
            raise ZeroDivisionError
        return Several({runner.pk: runner for runner in runners})

    monkeypatch.setattr(running, "CHUNK_ITEMS", 10)
    register(replace(verb_named("runner.probe"), act_many=act_many))
    return chunks


@db
def test_a_preview_tells_the_count_and_each_exception_and_changes_nothing() -> None:
    make_fleet()
    shown = preview("runner.pause", {"project": "shop"})
    assert (shown.count, shown.would_do, shown.exception_count) == (4, 2, 2)
    assert {(exempt.name, exempt.reason) for exempt in shown.exceptions} == {
        ("b", "It is paused."),
        ("c", "It is terminated."),
    }
    assert not Operation.objects.exists()
    assert not Entry.objects.exists()


@db
def test_an_operation_stops_what_matches_and_tells_what_came_of_each() -> None:
    make_fleet()
    operation = begin("runner.stop", {"project": "shop"}, parameters={"grace_seconds": 3})
    assert (operation.status, operation.total) == (OperationStatus.PENDING, 4)
    assert Entry.objects.get(type="runners.tasks.run_operation").data["args"] == [str(operation.pk)]
    run_operation(operation.pk)
    operation.refresh_from_db()
    assert (operation.status, operation.done, operation.skipped, operation.failed) == ("done", 3, 1, 0)
    assert operation.ended_at is not None
    assert results(operation) == {"done": ["a", "b", "d"], "skipped": ["c"]}
    assert set(Runner.objects.exclude(name="c").values_list("status", flat=True)) == {S.STOPPING}
    assert [entry.data["args"][2] for entry in Entry.objects.filter(type="runners.tasks.stop_runner")] == [3, 3, 3]
    told = list(Entry.objects.events().filter(aggregate=operation.aggregate).order_by("pk"))
    assert (told[0].type, told[-1].type) == ("operation.started", "operation.finished")
    assert told[-1].data["done"] == 3
    assert AuditEntry.objects.get(action="operation.begin").actor == "user:ada"


@db
def test_pause_resume_kill_and_restart_are_done_too() -> None:
    make_fleet()
    for verb, done in (("pause", "ad"), ("resume", "b"), ("restart", "c"), ("kill", "abcd")):
        operation = begin(f"runner.{verb}")
        run_operation(operation.pk)
        assert results(operation)["done"] == list(done), verb
    kills = Entry.objects.filter(type="runners.tasks.stop_runner")
    assert [entry.data["args"][2] for entry in kills] == [0, 0, 0, 0]


@db
def test_a_refused_item_is_told_with_its_reason_and_the_others_go_on(probe: list[str]) -> None:
    for name, prompt in (("good", ""), ("refused", "refuse"), ("broken", "break"), ("last", "")):
        make_runner(name=name, prompt=prompt)
    operation = begin("runner.probe")
    run_operation(operation.pk)
    operation.refresh_from_db()
    assert (operation.status, operation.done, operation.failed) == ("done", 2, 2)
    assert operation.items.get(name="refused").message == "Not now."
    assert operation.items.get(name="broken").message == "an unexpected fault: ZeroDivisionError"
    # What a refused act had written before is undone.
    assert dict(Runner.objects.values_list("name", "reason")) == {"good": "x", "last": "x", "refused": "", "broken": ""}


@pytest.mark.django_db(transaction=True)
def test_a_killed_worker_leaves_each_item_done_or_to_do_and_the_next_goes_on(probe: list[str]) -> None:
    for number in range(5):
        make_runner(name=f"r{number}", prompt="die" if number == 2 else "")
    operation = begin("runner.probe")
    with pytest.raises(KeyboardInterrupt):
        run_operation(operation.pk)
    assert {name for name, reason in Runner.objects.values_list("name", "reason") if reason} == {"r4", "r3"}
    Runner.objects.update(prompt="")
    run_operation(operation.pk)
    operation.refresh_from_db()
    assert (operation.status, operation.done) == ("done", 5)
    assert set(Runner.objects.values_list("reason", flat=True)) == {"x"}


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_one_operation_do_nothing_twice(probe: list[str]) -> None:
    for _ in range(60):
        make_runner()
    operation = begin("runner.probe")

    def work() -> None:
        try:
            run_operation(operation.pk)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    operation.refresh_from_db()
    assert (operation.status, operation.done) == ("done", 60)
    assert set(Runner.objects.values_list("reason", flat=True)) == {"x"}
    assert Entry.objects.filter(type="operation.finished").count() == 1


@db
def test_a_chunk_that_fails_as_a_whole_is_done_item_by_item(at_once: list[list[str]], probe: list[str]) -> None:
    for number in range(25):
        make_runner(name=f"r{number:02}", prompt={3: "break", 1: "refuse"}.get(number, ""))
    operation = begin("runner.probe")
    run_operation(operation.pk)
    operation.refresh_from_db()
    assert (operation.status, operation.done, operation.failed) == ("done", 23, 2)
    assert dict(operation.items.filter(result="failed").values_list("name", "message")) == {
        "r03": "an unexpected fault: ZeroDivisionError",
        "r01": "Not now.",
    }
    # What the failed chunk had written is undone: its items are done once, and no others one by one.
    assert sorted(probe) == [f"r{number:02}" for number in range(5)]
    assert set(Runner.objects.exclude(name__in=("r01", "r03")).values_list("reason", flat=True)) == {"x"}


@pytest.mark.django_db(transaction=True)
def test_a_worker_killed_in_the_middle_of_a_chunk_leaves_it_to_do(at_once: list[list[str]], probe: list[str]) -> None:
    for number in range(25):
        make_runner(name=f"r{number:02}", prompt="die" if number == 8 else "")
    operation = begin("runner.probe")
    with pytest.raises(KeyboardInterrupt):
        run_operation(operation.pk)
    done = set(operation.items.filter(result="done").values_list("name", flat=True))
    assert done == {f"r{number:02}" for number in range(15, 25)}
    assert set(Runner.objects.exclude(reason="").values_list("name", flat=True)) == done
    Runner.objects.update(prompt="")
    run_operation(operation.pk)
    operation.refresh_from_db()
    assert (operation.status, operation.done) == ("done", 25)
    assert set(Runner.objects.values_list("reason", flat=True)) == {"x"}
    assert probe == []


@pytest.mark.django_db(transaction=True)
def test_workers_at_one_operation_and_its_cancel_wait_for_the_chunk(at_once: list[list[str]]) -> None:
    for _ in range(40):
        make_runner()
    operation = begin("runner.probe")

    def work(do: Callable[[], object]) -> threading.Thread:
        def done() -> None:
            try:
                do()
            finally:
                connections.close_all()

        return threading.Thread(target=done)

    threads = [work(lambda: run_operation(operation.pk)) for _ in range(2)]
    threads.append(work(lambda: _cancel_after_a_chunk(operation)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    operation.refresh_from_db()
    touched = Runner.objects.exclude(reason="")
    assert set(touched.values_list("reason", flat=True)) == {"x"}
    assert operation.items.filter(result="done").count() == operation.done == touched.count()
    assert not operation.items.filter(result="pending").exists()
    assert Entry.objects.filter(type="operation.finished").count() == 1


def _cancel_after_a_chunk(operation: Operation) -> None:
    wait_until(lambda: operation.items.filter(result="done").exists(), "a chunk is done")
    try:
        cancel_operation(operation.pk, actor="user:bob")
    except OperationRefused:
        assert Operation.objects.get(pk=operation.pk).done == 40


@db
def test_a_cancelled_operation_leaves_the_rest_undone(probe: list[str]) -> None:
    for number in range(3):
        make_runner(name=f"r{number}")
    operation = begin("runner.probe")
    first = operation.items.order_by("pk").first()
    assert first is not None
    OperationItem.objects.filter(pk=first.pk).update(result=ItemResult.DONE)
    cancelled = cancel_operation(operation.pk, actor="user:bob")
    assert (cancelled.status, cancelled.done, cancelled.cancelled_by) == ("cancelled", 1, "user:bob")
    run_operation(operation.pk)
    assert probe == []
    assert len(results(operation)["cancelled"]) == 2
    assert cancel_operation(operation.pk, actor="user:bob").status == OperationStatus.CANCELLED
    assert Entry.objects.filter(type="operation.finished").count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_cancel_in_the_middle_keeps_what_is_done(probe: list[str]) -> None:
    for number in range(3):
        make_runner(name=f"r{number}")
    operation = begin("runner.probe")
    ready, go = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            # The newest runner is in another's hands while the operation comes to it and is cancelled.
            Runner.objects.select_for_update().get(name="r2")
            ready.set()
            go.wait(30)

    def in_thread(do: Callable[[], object]) -> threading.Thread:
        def done() -> None:
            try:
                do()
            finally:
                connections.close_all()

        return threading.Thread(target=done)

    holder = in_thread(hold)
    worker = in_thread(lambda: run_operation(operation.pk))
    canceller = in_thread(lambda: cancel_operation(operation.pk, actor="user:bob"))
    holder.start()
    assert ready.wait(30)
    worker.start()
    canceller.start()
    go.set()
    for thread in (holder, worker, canceller):
        thread.join(60)
    operation.refresh_from_db()
    assert operation.status == OperationStatus.CANCELLED
    done = set(results(operation).get("done", []))
    assert {name for name, reason in Runner.objects.values_list("name", "reason") if reason} == done
    assert operation.done == len(done)


@db
def test_what_is_done_cannot_be_cancelled() -> None:
    make_fleet()
    operation = begin()
    run_operation(operation.pk)
    with pytest.raises(OperationRefused, match="It is done"):
        cancel_operation(operation.pk, actor="user:ada")


@db
def test_a_runner_that_is_gone_or_has_ended_meanwhile_is_skipped() -> None:
    make_fleet()
    operation = begin()
    Runner.objects.filter(name="a").delete()
    Runner.objects.filter(name="d").update(status=S.FAILED, ended_at=timezone.now())
    run_operation(operation.pk)
    assert results(operation)["skipped"] == ["a", "c", "d"]
    assert operation.items.get(name="a").message == "It is gone."


@db
def test_more_than_was_shown_and_nothing_at_all_are_refused() -> None:
    make_fleet()
    with pytest.raises(OperationRefused, match="4 runners match by now, not 3"):
        begin(at_most=3)
    with pytest.raises(OperationRefused, match="No runners match"):
        begin(wanted={"project": "nowhere"})
    assert not Operation.objects.exists()


@db
@pytest.mark.parametrize(
    ("verb", "wanted", "parameters", "told"),
    [
        ("runner.fly", {}, {}, "There is no operation 'runner.fly'; there are "),
        ("runner.stop", {"colour": "red"}, {}, "not narrowed by colour; there are ids, status"),
        ("runner.stop", {"status": "happy"}, {}, "status cannot be 'happy'"),
        ("runner.stop", {"ids": ["x"]}, {}, "ids cannot be"),
        ("runner.stop", {"open": "yes"}, {}, "true or false"),
        ("runner.stop", {"created_after": "soon"}, {}, "a time with its zone"),
        ("runner.stop", {"project": 3}, {}, "a text is wanted"),
        ("runner.stop", {}, {"grace_seconds": -1}, "whole number from 0"),
        ("runner.pause", {}, {"grace_seconds": 1}, "has no parameter grace_seconds"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(
    verb: str, wanted: dict[str, Any], parameters: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        preview(verb, wanted, parameters)
    assert told in refusal.value.message


@db
def test_every_filter_narrows() -> None:
    make_fleet()
    runner = Runner.objects.get(name="a")
    later = timezone.now().isoformat()
    values: dict[str, tuple[Any, str]] = {
        "ids": ([str(runner.pk)], "a"),
        "status": (["paused", "terminated"], "bc"),
        "open": (False, "c"),
        "project": ("shop", "abcd"),
        "node": ("nowhere", ""),
        "backend": ("command", "abcd"),
        "session": (str(runner.session_id), "a"),
        "created_after": (later, ""),
        "created_before": (later, "abcd"),
        "search": (str(runner.pk), "a"),
    }
    assert set(values) == set(FILTERS)
    for name, (value, found) in values.items():
        assert sorted(matching_runners({name: value}).values_list("name", flat=True)) == list(found), name


@db
def test_an_operation_that_nobody_goes_on_with_is_sent_again() -> None:
    make_fleet()
    operation = begin()
    Entry.objects.all().delete()
    assert stalled_operations() == 0
    Operation.objects.update(progressed_at=timezone.now() - timedelta(minutes=1))
    assert (stalled_operations(), stalled_operations()) == (1, 0)
    assert Entry.objects.get().data["args"] == [str(operation.pk)]


@pytest.mark.django_db(transaction=True)
def test_an_operation_outlives_the_worker_that_is_killed_in_the_middle_of_it(stack: Stack) -> None:
    """SIGKILL while it stops 400 runners; the next worker goes on, and each was stopped once."""
    node = make_node(name="nowhere", last_seen_at=timezone.now() + timedelta(hours=1))
    project = make_project()
    for _ in range(400):
        make_runner(project=project, node=node)
    operation = begin(wanted={"project": project.name})
    done = operation.items.filter(result=ItemResult.DONE)
    wait_until(lambda: done.count() > 20, "some are done")
    stack.kill("worker")
    assert done.count() < 400
    stack.start("worker")
    wait_until(lambda: Operation.objects.filter(pk=operation.pk, status="done").exists(), "it is done", 300)
    assert done.count() == 400
    moves = RunnerMove.objects.filter(runner__project=project, to_status=S.STOPPING)
    assert moves.count() == moves.values("runner").distinct().count() == 400
