"""The events that budgets publish. The only place that spells them."""

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from outbox.registry import register
from outbox.services import publish
from outbox.services.alert import alert
from outbox.states import Severity
from runners.states import BudgetScope

if TYPE_CHECKING:
    from runners.services.standing import Standing

WARNING = "budget.warning"
SPENT = "budget.spent"
RAISED = "budget.raised"

_DATA = {
    "budget_id": "integer",
    "name": "string",
    "scope": "string",
    "scope_key": "string",
    "unit": "string",
    "action": "string",
    "used": "decimal",
    "limit": "decimal",
    "unknown_tokens": "integer",
    "period_start": "time",
    "period_end": "time",
}


def register_types() -> None:
    """Tell the outbox which events there are; called once, when the app is ready."""
    register(
        WARNING,
        description="A budget reached 75 or 90 % of its limit.",
        data={**_DATA, "percent": "integer"},
        severity=Severity.WARNING,
    )
    register(SPENT, description="A budget is spent: its action applies.", data=_DATA, severity=Severity.CRITICAL)
    register(
        RAISED,
        description="An operator raised a budget for a while.",
        data={**_DATA, "amount": "decimal", "until": "time", "reason": "string", "actor": "string"},
    )


def budget_reached(standing: "Standing", threshold: int) -> None:
    """Publish that a budget reached a threshold of its limit, and alert people to it."""
    budget = standing.budget
    if threshold < 100:
        _publish(WARNING, standing, percent=threshold)
        severity, title = Severity.WARNING, f"Budget {budget.name} is at {threshold} %"
    else:
        _publish(SPENT, standing)
        severity, title = Severity.CRITICAL if budget.holds else Severity.WARNING, f"Budget {budget.name} is spent"
    project = budget.scope_key if budget.scope == BudgetScope.PROJECT else None
    alert(severity, title, f"{standing.figures}; action: {budget.action}.", about=budget.aggregate, project=project)


def budget_raised(standing: "Standing", *, amount: Decimal, until: datetime, reason: str, actor: str) -> None:
    """Publish that a budget was raised; `standing` is after it."""
    _publish(RAISED, standing, amount=str(amount), until=until.isoformat(), reason=reason, actor=actor)


def _publish(name: str, standing: "Standing", **more: object) -> None:
    budget = standing.budget
    publish(
        name,
        aggregate=budget.aggregate,
        subject=str(budget.pk),
        routing_key=f"{name}.{budget.scope}",
        data={**standing.facts, **more},
    )
