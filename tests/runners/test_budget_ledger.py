"""Any split, repeat or crash of the telemetry gives the same ledger, and the same budgets."""

from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any
from unittest import mock
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runners.models import Budget, ModelPrice, Runner, UsageEntry
from runners.models.usage import UNPRICED
from runners.scopes import in_scope
from runners.services.usage_summary import total_of
from tests.runners.budgets import make_budget
from tests.runners.teller import hand_over, report, starting
from tests.runners.teller import teller as teller

db = pytest.mark.django_db


def totals(budget: Budget) -> list[tuple[object, ...]]:
    columns = ("starts_at", "used_tokens", "used_usd", "unknown_tokens")
    # A period that was only opened has nothing.
    return [row for row in budget.periods.order_by("starts_at").values_list(*columns) if any(row[1:])]


def ledger_totals(budget: Budget) -> list[tuple[object, ...]]:
    """The same, counted from the ledger."""
    entries = UsageEntry.objects.filter(in_scope(budget.scope, budget.scope_key, prefix="runner__"))
    counted = []
    for period in budget.periods.order_by("starts_at"):
        own = entries.filter(at__gte=period.starts_at, at__lt=period.ends_at)
        sums = total_of(own)
        assert sums.unknown_tokens == sum(entry.total_tokens for entry in own.filter(UNPRICED))
        counted.append((period.starts_at, sums.total_tokens, sums.cost_usd or Decimal(0), sums.unknown_tokens))
    return [row for row in counted if any(row[1:])]


#: Moments around two boundaries of an hourly budget.
TIMES = st.sampled_from([3599.999, 3600.0, 5000.0, 7199.0, 7200.0, 9000.0])


STEPS = st.lists(
    st.one_of(
        st.builds(
            lambda k, n, m, at: report(tokens=n, model=m, stretch="s", key=f"u{k}", at=at),
            st.integers(0, 9), st.integers(0, 9), st.sampled_from(["m", "x"]), TIMES,
        ),
        st.builds(
            lambda k, c, at: report(tokens=0, cost=c, covers=["s"], all_models=True, key=f"t{k}", at=at),
            st.integers(0, 3), st.sampled_from(["0.5", "7"]), TIMES,
        ),
    ),
    max_size=12,
)  # fmt: skip


class PowerCut(Exception):
    """The process died before its commit."""


def crash_before_commit(runner: Runner, records: list[dict[str, Any]], start: int) -> None:
    """Ingest, and die just before the commit."""
    with mock.patch("runners.services.ingest.charge", side_effect=PowerCut), pytest.raises(PowerCut):
        hand_over(runner, *records, start=start)


@pytest.mark.django_db(transaction=True)
@settings(max_examples=40, deadline=None)
@given(
    records=STEPS,
    cuts=st.lists(st.integers(0, 12), max_size=4),
    repeats=st.integers(1, 2),
    crashes=st.sets(st.integers(0, 4)),
)
def test_any_split_repeat_or_crash_gives_the_same_ledger_and_the_same_budgets(
    records: list[dict[str, Any]], cuts: list[int], repeats: int, crashes: set[int]
) -> None:
    Budget.objects.all().delete()
    ModelPrice.objects.filter(pattern="late").delete()
    ModelPrice.objects.get_or_create(
        pattern="m", valid_from=datetime.fromtimestamp(0, UTC),
        defaults={"input_usd": 0, "output_usd": Decimal(1_000_000)},
    )  # fmt: skip
    # Names of their own: what earlier examples used in 1970 is none of these budgets'.
    whole, parts = (starting(agent_name=uuid4().hex) for _ in range(2))
    budgets = [make_budget(5, scope="agent", scope_key=runner.agent_name, period="hourly") for runner in (whole, parts)]
    shared = make_budget(5, period="monthly", scope="project", scope_key=parts.project.name, name="shared")
    if records:
        hand_over(whole, *records)
    edges = sorted({0, len(records), *(cut for cut in cuts if cut < len(records))})
    for number, (start, end) in enumerate(pairwise(edges)):
        if number in crashes:
            crash_before_commit(parts, records[start:end], 10 * start)
        for _ in range(repeats):
            hand_over(parts, *records[start:end], start=10 * start)
    columns = ("key", "output_tokens", "cost_usd", "source")
    assert list(whole.usage.order_by("id").values_list(*columns)) == list(
        parts.usage.order_by("id").values_list(*columns)
    )
    assert totals(budgets[0]) == totals(budgets[1])
    for budget in (*budgets, shared):
        assert totals(budget) == ledger_totals(budget)
