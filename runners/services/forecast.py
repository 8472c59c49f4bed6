"""When a budget will be spent, if things go on as they went lately."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.utils import timezone

from runners.models import UsageEntry
from runners.scopes import in_scope
from runners.services.standing import Standing
from runners.services.usage_summary import used_between
from runners.states import BudgetUnit, Period

#: What "lately" is: about a twenty-fourth of the period, and at least ten minutes: agents work in bursts.
WINDOWS = {
    Period.HOURLY: timedelta(minutes=10),
    Period.DAILY: timedelta(hours=1),
    Period.WEEKLY: timedelta(hours=7),
    Period.MONTHLY: timedelta(hours=30),
}


@dataclass(frozen=True)
class Forecast:
    """How fast a budget is used, in its unit, and when it will be spent: None if not before it begins anew."""

    window: timedelta
    used_in_window: Decimal
    spent_at: datetime | None

    @property
    def per_hour(self) -> Decimal:
        return self.used_in_window * 3600 / Decimal(self.window.total_seconds())


def forecast(standing: Standing, *, at: datetime | None = None) -> Forecast:
    """Return the forecast of a budget's present period. One query."""
    at = at or timezone.now()
    budget = standing.budget
    window = WINDOWS[Period(budget.period)]
    entries = UsageEntry.objects.filter(in_scope(budget.scope, budget.scope_key, prefix="runner__"))
    sums = used_between(entries, at - window, at)
    used = Decimal(sums.total_tokens) if budget.unit == BudgetUnit.TOKENS else sums.cost_usd or Decimal(0)
    return Forecast(window, used, _spent_at(standing, used, window, at))


def _spent_at(standing: Standing, used: Decimal, window: timedelta, at: datetime) -> datetime | None:
    if used <= 0 or standing.is_spent:
        return None
    windows_left = standing.left / used
    # Beyond the period nothing is foretold; comparing first keeps the sum within what a datetime can hold.
    if windows_left * Decimal(window.total_seconds()) >= Decimal((standing.bounds.end - at).total_seconds()):
        return None
    return at + window * float(windows_left)
