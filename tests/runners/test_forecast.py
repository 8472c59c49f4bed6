"""When a budget will be spent, if things go on as they went lately."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from runners.services.forecast import forecast
from runners.services.standing import standing_of
from tests.runners.budgets import clock_at, make_budget, use
from tests.runners.teller import starting
from tests.runners.teller import teller as teller

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("lately", "before", "expected"),
    [
        (10, 40, NOON + timedelta(hours=5)),  # 50 of 100 are left, at 10 an hour
        (100, 0, None),  # spent already
        (1, 50, None),  # 49 hours more: the day ends first
        (0, 50, None),  # nothing lately
    ],
)
def test_the_rate_of_the_last_hour_tells_when_a_daily_budget_is_spent(
    lately: int, before: int, expected: datetime | None
) -> None:
    with clock_at(NOON):
        budget = make_budget(100)
        runner = starting()
        use(runner, before, at=(NOON - timedelta(hours=2)).timestamp())
        use(runner, lately, at=(NOON - timedelta(minutes=30)).timestamp())
        found = forecast(standing_of(budget))
    assert (found.per_hour, found.spent_at) == (Decimal(lately), expected)
