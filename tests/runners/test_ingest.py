"""Telemetry becomes rows exactly once: whatever the split, the repeats and the crashes."""

from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from outbox.models import Entry
from runners.models import Message, Observation, Runner, Session, UsageEntry
from runners.states import CostSource, RunnerStatus
from tests.runners.factories import make_runner
from tests.runners.teller import STARTED, hand_over, report, starting
from tests.runners.teller import teller as teller


@pytest.mark.django_db
def test_a_whole_life_becomes_status_messages_usage_and_offset() -> None:
    runner = starting()
    records = [
        STARTED,
        report(say="hello", key="m1"),
        report(tokens=5, cost="0.25", key="u1"),
        {"t": 3.5, "kind": "exit", "code": 0, "signal": None, "reason": "exited"},
    ]
    assert hand_over(runner, *records) == 40
    runner.refresh_from_db()
    assert (runner.status, runner.reason, runner.pid, runner.exit_code) == ("terminated", "exited", 42, 0)
    assert runner.started_at == datetime.fromtimestamp(1.0, UTC)
    assert runner.ended_at == datetime.fromtimestamp(3.5, UTC)
    assert Message.objects.get().text == "hello"
    session = Session.objects.get()
    assert (session.message_count, session.output_tokens, session.cost_usd) == (1, 5, Decimal("0.25"))
    assert session.cost_source == CostSource.REPORTED
    assert Observation.objects.get().telemetry_offset == 40
    types = list(Entry.objects.order_by("id").values_list("type", flat=True))
    assert types == ["runner.started", "runner.stopped"]


@pytest.mark.django_db
def test_a_batch_that_comes_again_changes_nothing() -> None:
    runner = starting()
    for _ in range(2):
        assert hand_over(runner, STARTED, report(tokens=5, key="u1")) == 20
    assert UsageEntry.objects.count() == 1
    assert Session.objects.get().output_tokens == 5


@pytest.mark.django_db
def test_a_batch_past_a_gap_is_answered_with_where_the_database_stands() -> None:
    runner = starting()
    assert hand_over(runner, STARTED, start=30) == 0
    runner.refresh_from_db()
    assert runner.status == RunnerStatus.STARTING


@pytest.mark.django_db
def test_telemetry_of_an_older_generation_is_refused() -> None:
    runner = starting()
    Runner.objects.filter(pk=runner.pk).update(generation=2)
    Observation.objects.filter(runner=runner).update(generation=2)
    assert hand_over(runner, STARTED) == 10
    runner.refresh_from_db()
    assert runner.status == RunnerStatus.STARTING


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("status", "exit_", "failure", "expected", "reason"),
    [
        ("running", {"code": 0, "reason": "exited"}, "", "terminated", "exited"),
        ("running", {"code": 3, "reason": "exited"}, "", "failed", "exit code 3"),
        ("running", {"code": None, "signal": 9, "reason": "signaled"}, "", "failed", "ended by SIGKILL"),
        ("running", {"code": 0, "reason": "exited"}, "out of turns", "failed", "out of turns"),
        ("running", {"code": None, "reason": "lost"}, "", "failed", "lost"),
        (
            "stopping",
            {"code": None, "signal": 2, "reason": "stopped by ada"},
            "",
            "terminated",
            "stopped by ada",
        ),
        ("stopping", {"code": None, "reason": "lost"}, "", "failed", "lost"),
        ("stopping", {"code": None, "reason": "never_started"}, "", "terminated", "stopped by ada"),
        ("starting", {"code": 127, "reason": "exec_failed: no such file"}, "", "failed", "exec_failed: no such file"),
        ("unknown", {"code": 0, "reason": "exited"}, "", "terminated", "exited"),
        ("paused", {"code": None, "signal": 15, "reason": "signaled"}, "", "failed", "ended by SIGTERM"),
    ],
)
def test_how_an_end_counts(status: str, exit_: dict[str, Any], failure: str, expected: str, reason: str) -> None:
    runner = make_runner(backend="teller", status=status, reason="stopped by ada" if status == "stopping" else "")
    hand_over(runner, *([report(fail=failure)] if failure else []), {"t": 9.0, "kind": "exit", **exit_})
    runner.refresh_from_db()
    assert (runner.status, runner.reason) == (expected, reason)


@pytest.mark.django_db
def test_pause_and_resume_are_what_the_node_reports() -> None:
    runner = make_runner(backend="teller", status=RunnerStatus.RUNNING)
    hand_over(runner, {"t": 2.0, "kind": "paused"})
    runner.refresh_from_db()
    assert runner.status == RunnerStatus.PAUSED
    hand_over(runner, {"t": 3.0, "kind": "resumed"}, start=10)
    runner.refresh_from_db()
    assert runner.status == RunnerStatus.RUNNING


@pytest.mark.django_db
def test_a_start_seen_after_the_stop_was_asked_keeps_stopping_and_the_identity() -> None:
    runner = make_runner(backend="teller", status=RunnerStatus.STOPPING)
    hand_over(runner, STARTED)
    runner.refresh_from_db()
    assert (runner.status, runner.pid) == (RunnerStatus.STOPPING, 42)


@pytest.mark.django_db
def test_a_cost_not_known_stays_unknown_until_a_total_settles_it() -> None:
    runner = starting()
    hand_over(runner, STARTED, report(tokens=5, key="u1"))
    session = Session.objects.get()
    assert (session.output_tokens, session.cost_usd, session.cost_source) == (5, None, CostSource.UNKNOWN)
    hand_over(runner, report(tokens=1, cost="0.5", key="u2"), start=20)
    session.refresh_from_db()
    assert (session.cost_usd, session.cost_source) == (Decimal("0.5"), CostSource.UNKNOWN)
    hand_over(runner, report(tokens=0, cost="0.1", settles=True, key="u3"), start=30)
    session.refresh_from_db()
    assert (session.cost_usd, session.cost_source) == (Decimal("0.6"), CostSource.REPORTED)


@pytest.mark.django_db
def test_garbled_and_unknown_records_are_no_error() -> None:
    runner = starting()
    odd = [{"t": 1.0, "kind": "garbled", "raw": "x"}, {"t": 1.0, "kind": "from the future"}]
    assert hand_over(runner, *odd, STARTED) == 30


@pytest.mark.django_db
def test_a_session_id_that_another_has_is_dropped_and_the_telemetry_goes_on() -> None:
    first, second = starting(), starting()
    for runner in (first, second):
        assert hand_over(runner, STARTED, report(session="1"), report(say="hi", key="m")) == 30
    assert sorted(Session.objects.values_list("external_id", flat=True)) == ["", "1"]
    assert Message.objects.count() == 2


@pytest.mark.django_db
def test_a_nul_in_a_text_does_not_stop_the_telemetry() -> None:
    runner = starting()
    hand_over(runner, report(say="a\x00b", key="m1"))
    assert Message.objects.get().text == "a\N{REPLACEMENT CHARACTER}b"


TELLING = st.lists(
    st.one_of(
        st.builds(lambda k, t: report(say=t, key=f"m{k}"), st.integers(0, 5), st.text(max_size=5)),
        st.builds(lambda k, n: report(tokens=n, key=f"u{k}"), st.integers(0, 5), st.integers(0, 9)),
    ),
    max_size=12,
)


@pytest.mark.django_db(transaction=True)
@settings(max_examples=25, deadline=None)
@given(records=TELLING, cuts=st.lists(st.integers(0, 12), max_size=4), repeats=st.integers(1, 2))
def test_any_split_and_any_repeat_gives_the_same_ledger(
    records: list[dict[str, Any]], cuts: list[int], repeats: int
) -> None:
    whole, parts = starting(), starting()
    if records:
        hand_over(whole, *records)
    edges = sorted({0, len(records), *(cut for cut in cuts if cut < len(records))})
    for start, end in pairwise(edges):
        for _ in range(repeats):
            hand_over(parts, *records[start:end], start=10 * start)
    assert ledger(whole) == ledger(parts)
    assert connection.in_atomic_block is False


def ledger(runner: Runner) -> tuple[object, ...]:
    session = Session.objects.get(runners=runner)
    return (
        list(Message.objects.filter(session=session).values_list("key", "text")),
        list(UsageEntry.objects.filter(session=session).values_list("key", "output_tokens")),
        (session.message_count, session.output_tokens, session.cost_usd),
        Observation.objects.get(runner=runner).telemetry_offset,
    )
