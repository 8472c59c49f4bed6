"""Reports of any program: what they may say, and that nothing they say is an error."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runners.backends.base import FailureFact, MessageFact, SessionFact, UsageFact
from runners.backends.reports import read_report

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    [
        "id",
        "role",
        "text",
        "tool_name",
        "tool_input",
        "is_error",
        "model",
        "input_tokens",
        "cost_usd",
        "title",
        "reason",
    ]
)
TYPES = st.sampled_from(["message", "usage", "session", "failure", "something else"])


def read(data: Any, state: dict[str, Any] | None = None, t: float = 1.0) -> list[Any]:
    return list(read_report({"t": t, "kind": "report", "data": data}, {} if state is None else state))


@settings(max_examples=150, deadline=None)
@given(TYPES, st.dictionaries(FIELDS, JSON))
def test_no_report_however_odd_is_an_error(kind: str, fields: dict[str, Any]) -> None:
    for fact in read({**fields, "type": kind}):
        match fact:
            case MessageFact():
                assert len(fact.key) <= 120
                fact.text.encode()
                json.dumps(fact.tool_input, allow_nan=False)
            case UsageFact():
                assert len(fact.key) <= 160
                assert 0 <= fact.input_tokens < 2**53
                assert fact.cost_usd is None or 0 <= fact.cost_usd < 1_000_000
            case SessionFact():
                assert len(fact.external_id) <= 100
            case FailureFact():
                assert len(fact.reason) <= 200


@pytest.mark.parametrize("data", [None, 5, "text", [], {}, {"type": None}, {"type": []}, {"raw": "not json"}])
def test_what_is_no_report_is_counted(data: Any) -> None:
    state: dict[str, Any] = {}
    assert read(data, state) == []
    assert state["unparsed"] == 1


@pytest.mark.parametrize("cost", ["free", float("nan"), float("inf"), -1, True, [], 10**9, None])
def test_a_cost_that_is_none_is_unknown_not_zero(cost: Any) -> None:
    assert read({"type": "usage", "id": 1, "cost_usd": cost})[0].cost_usd is None


def test_a_cost_is_exact_to_the_ledgers_last_digit() -> None:
    assert read({"type": "usage", "id": 1, "cost_usd": 0.1})[0].cost_usd == Decimal("0.10000000")
    assert read({"type": "usage", "id": 1, "cost_usd": "0.123456789"})[0].cost_usd == Decimal("0.12345679")


def test_without_an_id_the_time_tells_repeats_from_new_reports() -> None:
    data = {"type": "message", "text": "Still working."}
    assert read(data, t=1.0)[0].key == read(data, t=1.0)[0].key != read(data, t=2.0)[0].key


def test_each_attempt_may_count_its_ids_anew() -> None:
    keys = set()
    state: dict[str, Any] = {}
    for pid in (1, 2):
        assert not list(read_report({"t": 0.0, "kind": "started", "pid": pid, "start_ticks": 7}, state))
        keys |= {read({"type": "message", "id": 1}, state)[0].key for _ in range(2)}
    assert len(keys) == 2
