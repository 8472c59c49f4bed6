"""Make, change and raise budgets. All of them wait for whoever is entering usage, and count what was entered."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from outbox.services import record_act
from runners import budget_events
from runners.exceptions import InvalidRequest
from runners.models import Budget, BudgetPeriod, BudgetRaise, Project, Runner, UsageEntry
from runners.models.budget import SMALLEST_LIMIT
from runners.periods import bounds_of
from runners.scopes import in_scope
from runners.services.prices import facts_of
from runners.services.standing import Standing, standing_of
from runners.services.usage_summary import used_between
from runners.sql import change_reckoning
from runners.states import BudgetScope

#: What was counted for one scope, period or unit is no count of another.
OPEN_FIELDS = ("name", "limit", "action", "active")


@transaction.atomic
def create_budget(values: Mapping[str, Any], *, actor: str) -> Budget:
    """Create a budget and return it; what its scope used in the present period counts. Raises InvalidRequest."""
    budget = Budget(**values)
    _check(budget)
    _check_key(budget)
    change_reckoning()
    budget.save()
    recount(budget)
    _record("budget.create", budget, actor, before=None, after=facts_of(budget))
    return budget


@transaction.atomic
def change_budget(budget: Budget, changes: Mapping[str, Any], *, actor: str) -> Budget:
    """Change name, limit, action or whether it is active. Raises InvalidRequest."""
    closed = sorted(name for name in changes if name not in OPEN_FIELDS and changes[name] != getattr(budget, name))
    if closed:
        raise InvalidRequest(f"The {closed[0]} of a budget stays as it was made: add another budget.", field=closed[0])
    before, was_active = facts_of(budget), budget.active
    for name in OPEN_FIELDS:
        setattr(budget, name, changes.get(name, getattr(budget, name)))
    _check(budget)
    change_reckoning()
    budget.save()
    if budget.active and not was_active:
        # Nothing was counted while it was off.
        recount(budget)
    rearm(budget)
    _record("budget.change", budget, actor, before=before, after=facts_of(budget))
    return budget


@transaction.atomic
def delete_budget(budget: Budget, *, actor: str) -> None:
    """Delete a budget with what it counted; whom it held goes on."""
    change_reckoning()
    _record("budget.delete", budget, actor, before=facts_of(budget), after=None)
    budget.delete()


@transaction.atomic
def raise_budget(
    budget: Budget, amount: Decimal, *, reason: str, actor: str, until: datetime | None = None
) -> BudgetRaise:
    """Raise a budget by `amount` until a moment; without one, to the end of the present period.

    Whom it paused goes on within a second, if no other budget holds it. Several raises add up. Raises InvalidRequest.
    """
    now = timezone.now()
    until = until or bounds_of(budget.period, budget.zone, now).end
    if amount < SMALLEST_LIMIT:
        raise InvalidRequest("The amount must be greater than 0.", field="amount")
    if not reason.strip():
        raise InvalidRequest("Say why.", field="reason")
    if until <= now:
        raise InvalidRequest("That moment is past.", field="until")
    change_reckoning()
    made = BudgetRaise.objects.create(
        budget=budget, amount=amount, reason=reason.strip()[:500], actor=actor, made_at=now, until=until
    )
    standing = rearm(budget)
    budget_events.budget_raised(standing, amount=amount, until=until, reason=made.reason, actor=actor)
    after = {"amount": str(amount), "until": until.isoformat(), "limit": str(standing.limit)}
    _record("budget.raise", budget, actor, before=None, after=after, reason=made.reason)
    return made


def recount(budget: Budget) -> BudgetPeriod:
    """Count the present period anew from the ledger. Under change_reckoning(): nobody enters usage meanwhile."""
    bounds = bounds_of(budget.period, budget.zone, timezone.now())
    entries = UsageEntry.objects.filter(in_scope(budget.scope, budget.scope_key, prefix="runner__"))
    used = used_between(entries, *bounds)
    totals = {
        "ends_at": bounds.end,
        "used_tokens": used.total_tokens,
        "used_usd": used.cost_usd or Decimal(0),
        "unknown_tokens": used.unknown_tokens,
    }
    period, _ = BudgetPeriod.objects.update_or_create(budget=budget, starts_at=bounds.start, defaults=totals)
    return period


def rearm(budget: Budget) -> Standing:
    """After its limit changed, let the thresholds that are no longer reached be told of again."""
    standing = standing_of(budget)
    BudgetPeriod.objects.filter(budget=budget, starts_at=standing.bounds.start, alerted__gt=standing.level).update(
        alerted=standing.level
    )
    return standing


def _check(budget: Budget) -> None:
    try:
        budget.full_clean()
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise InvalidRequest(" ".join(messages), field=None if field == "__all__" else field) from None


def _check_key(budget: Budget) -> None:
    """Raise InvalidRequest if the key cannot be one of the scope's."""
    key = budget.scope_key
    if budget.scope == BudgetScope.PROJECT and not Project.objects.filter(name=key).exists():
        raise InvalidRequest(f"There is no project {key!r}.", field="scope_key")
    if budget.scope == BudgetScope.RUNNER:
        runner_id = _uuid(key)
        if runner_id is None or not Runner.objects.filter(pk=runner_id).exists():
            raise InvalidRequest(f"There is no runner {key!r}.", field="scope_key")
        budget.scope_key = str(runner_id)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _record(action: str, budget: Budget, actor: str, **more: Any) -> None:
    record_act(action, actor=actor, target_type="budget", target_id=budget.pk, target_name=budget.name, **more)
