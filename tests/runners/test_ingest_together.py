"""Telemetry of many runners in one transaction: the same rows as one by one, and one that is broken harms no other."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from outbox.models import Entry
from runners.models import Attempt, Message, Observation, Runner, RunnerMove, Session, UsageEntry
from runners.node_agent.attempts import INGESTED, find_attempt
from runners.node_agent.attempts import Attempt as OnDisk
from runners.node_agent.clock import Clock
from runners.node_agent.database import in_database
from runners.node_agent.reader import Reader, take_in
from runners.services.budgets import create_budget
from runners.services.ingest import ingest, ingest_all
from runners.services.telemetry import Batch
from runners.sql import Vitals, write_vitals
from runners.states import RunnerStatus
from tests.runners.factories import make_project
from tests.runners.teller import STARTED, report, starting
from tests.runners.teller import teller as teller

EXIT = {"t": 9.0, "kind": "exit", "code": 0, "signal": None, "reason": "exited"}
#: Longer than the column: the database refuses the whole statement.
POISON = report(say="x", key="k" * 500)


def batch_of(runner: Runner, records: Sequence[dict[str, Any]], start: int = 0) -> Batch:
    """Return records as if each were 10 bytes long, from the `start`th."""
    return Batch(runner.pk, runner.generation, 10 * start, 10 * (start + len(records)), records)


def ledger(runner: Runner) -> tuple[object, ...]:
    runner.refresh_from_db()
    session = Session.objects.get(runners=runner)
    entries = Entry.objects.filter(aggregate=runner.aggregate).order_by("id")
    return (
        list(Message.objects.filter(session=session).values_list("key", "text")),
        list(UsageEntry.objects.filter(session=session).values_list("key", "output_tokens", "cost_usd", "source")),
        (session.message_count, session.output_tokens, session.cost_usd, session.cost_source, session.ended_at),
        (runner.status, runner.reason, runner.pid, runner.exit_code, runner.started_at, runner.ended_at),
        list(RunnerMove.objects.filter(runner=runner).values_list("from_status", "to_status", "reason")),
        list(Attempt.objects.filter(runner=runner).values_list("generation", "status", "exit_code", "ended_at")),
        list(entries.values_list("type", "data__status", "data__from")),
        Observation.objects.values_list("telemetry_offset", "activity", "parser_state").get(runner=runner),
    )


FACTS = st.one_of(
    st.builds(lambda k, t: report(say=t, key=f"m{k}"), st.integers(0, 5), st.text(max_size=5)),
    st.builds(lambda k, n: report(tokens=n, key=f"u{k}"), st.integers(0, 5), st.integers(0, 9)),
    st.builds(lambda k, n: report(tokens=n, cost="0.5", key=f"c{k}"), st.integers(0, 3), st.integers(0, 9)),
    st.builds(lambda k: report(tokens=0, cost="2", settles=True, key=f"s{k}"), st.integers(0, 2)),
    st.builds(lambda: report(about="working")),
    st.sampled_from([{"t": 3.0, "kind": "paused"}, {"t": 4.0, "kind": "resumed"}, {"t": 5.0, "kind": "garbled"}]),
)
STORIES = st.lists(
    st.builds(
        lambda told, ends: [STARTED, *told, *([EXIT] if ends else [])], st.lists(FACTS, max_size=8), st.booleans()
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.django_db(transaction=True)
@hypothesis_settings(max_examples=25, deadline=None)
@given(stories=STORIES, cut=st.integers(0, 10), repeats=st.integers(1, 2), broken=st.integers(0, 3))
def test_many_runners_in_one_transaction_give_the_same_ledgers_as_one_by_one(
    stories: list[list[dict[str, Any]]], cut: int, repeats: int, broken: int
) -> None:
    project = make_project()
    alone = [starting(project=project) for _ in stories]
    together = [starting(project=project) for _ in stories]
    for runner, story in zip(alone, stories, strict=True):
        ingest(batch_of(runner, story))
    # Cut at one place, each half perhaps twice; and once with one that breaks the transaction of all.
    for start, end in ((0, cut), (cut, None)):
        batches = [batch_of(r, s[start:end], start) for r, s in zip(together, stories, strict=True) if s[start:end]]
        if batches:
            at = broken % len(batches)
            spoiled = batches[at]
            records = [*spoiled.records, POISON]
            with pytest.raises(Exception, match="too long"):
                ingest_all(
                    [
                        *batches[:at],
                        Batch(spoiled.runner_id, 1, spoiled.start_offset, spoiled.end_offset + 10, records),
                        *batches[at + 1 :],
                    ]
                )
        for _ in range(repeats):
            assert ingest_all(batches) == [batch.end_offset for batch in batches]
    assert [ledger(runner) for runner in together] == [ledger(runner) for runner in alone]
    assert connection.in_atomic_block is False


@pytest.mark.django_db
def test_a_hundred_runners_take_as_many_statements_as_two() -> None:
    project = make_project()

    def statements(count: int) -> int:
        story = [STARTED, report(say="hi", key="m"), report(tokens=3, cost="1", key="u"), EXIT]
        batches = [batch_of(starting(project=project), story) for _ in range(count)]
        with CaptureQueriesContext(connection) as queries:
            ingest_all(batches)
        return len(queries)

    assert statements(100) == statements(2)


@pytest.mark.django_db
def test_a_budget_counts_what_all_runners_of_a_transaction_used() -> None:
    project = make_project()
    limit = {"period": "daily", "unit": "tokens", "limit": 100}
    budgets = [
        create_budget({"name": "all", "scope": "global", **limit}, actor="user:ada"),
        create_budget({"name": "own", "scope": "project", "scope_key": project.name, **limit}, actor="user:ada"),
    ]
    now = timezone.now().timestamp()
    runners = [starting(project=project), starting(project=project), starting()]
    ingest_all([batch_of(runner, [report(now, tokens=40, cost="1", key="u")]) for runner in runners])
    assert [budget.periods.get().used_tokens for budget in budgets] == [120, 80]
    told = Entry.objects.filter(type__startswith="budget.").order_by("id").values_list("type", "data__name")
    assert sorted(told) == sorted(
        [("budget.warning", "all"), ("budget.warning", "all"), ("budget.spent", "all"), ("budget.warning", "own")]
    )


def on_disk(runner: Runner, records: Sequence[dict[str, Any]], runs: Path) -> OnDisk:
    directory = runs / f"{runner.pk.hex}.{runner.generation}"
    directory.mkdir()
    (directory / "telemetry.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    attempt = find_attempt(directory)
    assert attempt is not None
    return attempt


@pytest.mark.django_db
@pytest.mark.parametrize("poison", [POISON, {"t": 1.0, "kind": "started"}], ids=["by the database", "by its reader"])
def test_one_that_cannot_be_read_is_set_aside_and_the_others_are_taken_in(
    tmp_path: Path, poison: dict[str, Any]
) -> None:
    runners = [starting() for _ in range(3)]
    stories = [[STARTED, EXIT], [report(say="a", key="m"), poison], [STARTED, report(tokens=3, key="u")]]
    attempts = [on_disk(runner, story, tmp_path) for runner, story in zip(runners, stories, strict=True)]
    found = take_in(attempts)
    assert [bool(found[attempt.key]) for attempt in attempts] == [True, False, True]
    assert [attempt.aside_until > 0 for attempt in attempts] == [False, True, False]
    assert [Runner.objects.get(pk=runner.pk).status for runner in runners] == [
        RunnerStatus.TERMINATED,
        RunnerStatus.STARTING,
        RunnerStatus.RUNNING,
    ]
    assert not Message.objects.exists()
    assert Observation.objects.get(runner=runners[1]).telemetry_offset == 0


@pytest.mark.django_db
def test_one_that_talks_without_end_leaves_room_for_the_others(tmp_path: Path) -> None:
    loud, quiet = starting(), starting()
    line = report(say="x" * 10_000, key="m")
    attempts = [on_disk(loud, [line] * 300, tmp_path), on_disk(quiet, [STARTED], tmp_path)]
    found = take_in(attempts)
    assert found[attempts[1].key] is not None
    read = found[attempts[0].key]
    assert read is not None
    assert attempts[0].behind
    assert len(read[0].records) < 300


@pytest.mark.django_db(transaction=True)
def test_measuring_and_reading_the_same_runners_never_wait_for_each_other_in_a_circle() -> None:
    runners = [starting() for _ in range(10)]

    def measure() -> None:
        backwards = sorted(runners, key=lambda runner: runner.pk, reverse=True)
        for _ in range(60):
            write_vitals([Vitals(runner.pk, 1, timezone.now(), 1.0, 1.0, 1, 1) for runner in backwards])
        connections.close_all()

    def read() -> None:
        for turn in range(60):
            ingest_all([batch_of(runner, [report(say="x", key=f"{turn}")], turn) for runner in runners])
        connections.close_all()

    with ThreadPoolExecutor() as threads:
        for done in [threads.submit(work) for work in (measure, read)]:
            done.result()
    assert Message.objects.count() == 600


@pytest.mark.django_db(transaction=True)
async def test_an_end_that_cannot_be_noted_on_disk_does_not_keep_the_others_waiting(tmp_path: Path) -> None:
    def prepare() -> list[Runner]:
        runners = [starting(), starting()]
        for runner in runners:
            on_disk(runner, [STARTED, EXIT], tmp_path)
        (tmp_path / f"{runners[0].pk.hex}.1" / INGESTED).symlink_to("/nowhere/at/all")
        return runners

    def statuses() -> list[str]:
        return list(Runner.objects.values_list("status", flat=True))

    runners = await in_database(prepare)
    reader = Reader(tmp_path, Clock())
    await reader.read([f"{runner.pk.hex}.1" for runner in runners])
    assert await in_database(statuses) == ["terminated"] * 2
    assert not reader.open
    assert (tmp_path / f"{runners[1].pk.hex}.1" / INGESTED).exists()
