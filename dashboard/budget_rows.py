"""What the pages show of a budget."""

from collections.abc import Iterable
from typing import Any

from django.db.models import Q
from django.utils import timezone

from dashboard import figures
from runners.models import Budget
from runners.services.forecast import forecast
from runners.services.standing import Standing, standings
from runners.states import BudgetScope, BudgetUnit

Row = dict[str, Any]
#: From here on a budget is an alarm on the overview.
ALARM_PERCENT = 75


def budget_rows(found: Iterable[Standing]) -> list[Row]:
    return [budget_row(standing) for standing in found]


def budget_row(standing: Standing) -> Row:
    """Return what is shown of one budget."""
    budget = standing.budget
    ends = standing.bounds.end.astimezone(budget.zone)
    return {
        "id": budget.pk,
        "name": budget.name,
        "active": budget.active,
        "scope": budget.get_scope_display(),
        "scope_key": budget.scope_key,
        "period": budget.get_period_display(),
        "time_zone": budget.time_zone,
        "action": budget.action,
        "used": amount(standing, standing.used, whole=standing.is_whole),
        "limit": amount(standing, standing.limit),
        "raised": amount(standing, standing.raised) if standing.raised else "",
        "percent": min(int(standing.percent), 999),
        "bar": min(float(standing.percent), 100.0),
        "level": standing.level if budget.active else 0,
        "is_spent": standing.is_spent,
        "unknown": figures.tokens(standing.unknown_tokens)
        if standing.unknown_tokens and budget.unit == BudgetUnit.USD
        else "",
        "ends_at": figures.instant(standing.bounds.end),
        "ends": f"{ends:%d %b %H:%M}",
        "forecast": forecast_words(standing),
        "raises": list(budget.raises.filter(until__gt=timezone.now())) if standing.raised else [],
    }


def forecast_words(standing: Standing) -> str:
    """Return the forecast as a sentence."""
    if standing.is_spent:
        return ""
    coming = forecast(standing)
    if not coming.used_in_window:
        return f"Nothing used in the last {_span(coming.window.total_seconds())}."
    rate = f"{amount(standing, coming.per_hour)} an hour lately"
    if coming.spent_at is None:
        return f"{rate}: it lasts to the end of its period."
    left = (coming.spent_at - timezone.now()).total_seconds()
    return f"{rate}: spent in about {_span(left)}."


def amount(standing: Standing, value: Any, *, whole: bool = True) -> str:
    """Return an amount in the budget's unit; one that lacks a part is at least that much."""
    if standing.budget.unit == BudgetUnit.TOKENS:
        return f"{figures.tokens(int(value))} tokens"
    return figures.dollars(value, complete=whole)


def alarms() -> list[Row]:
    """Return the budgets that are near their limit or past it, the worst first."""
    reached = [standing for standing in standings(Budget.objects.active()) if standing.percent >= ALARM_PERCENT]
    return budget_rows(sorted(reached, key=lambda standing: -standing.percent))


def budgets_of_project(name: str) -> list[Row]:
    """Return the budgets that count a project's runners whoever works in it."""
    counting = Q(scope=BudgetScope.GLOBAL) | Q(scope=BudgetScope.PROJECT, scope_key=name)
    return budget_rows(standings(Budget.objects.active().filter(counting).order_by("scope", "name")))


def _span(seconds: float) -> str:
    return figures.seconds(seconds).removesuffix(" 00 s").removesuffix(" 00 m")
