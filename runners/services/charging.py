"""Add what the ledger gained to the budgets that count it, in the same transaction, and say what they reach."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.utils import timezone

from outbox.services import enqueue
from runners import budget_events
from runners.models import Budget, BudgetPeriod, Runner
from runners.models.budget import THRESHOLDS
from runners.periods import Bounds, bounds_of
from runners.querysets import BudgetQuerySet
from runners.scopes import Names, is_counted, names_for_budgets
from runners.services.ledger import Charge
from runners.services.standing import spent, standing_in, standings
from runners.sql import Addition, add_to_periods
from runners.transitions import CONTROL_QUEUE

ENFORCE_TASK = "runners.tasks.enforce_budget"

Key = tuple[int, Bounds]


def charge(charges: Sequence[Charge], *, runners: Iterable[Runner] = ()) -> None:
    """Add charges to every active budget that counts them. Call it last in a transaction: it locks the budgets' rows.

    One look for the budgets of all runners, and one statement for the totals. `runners` are those that the caller has
    loaded, with their projects.
    """
    if not charges:
        return
    now = timezone.now()
    by_runner: dict[UUID, list[Charge]] = {}
    for each in charges:
        by_runner.setdefault(each.runner_id, []).append(each)
    names = _names(by_runner, runners)
    budgets = {budget.pk: budget for budget in _active().counting_any(names.values()).with_raised(now)}
    sums: dict[Key, Addition] = {}
    for budget in budgets.values():
        for runner_id, own in by_runner.items():
            if is_counted(names[runner_id], budget.scope, budget.scope_key):
                _add_up(sums, budget, own)
    for row in add_to_periods([sums[key] for key in sorted(sums)]):
        period = BudgetPeriod(**row)
        tell(budgets[period.budget_id], period, now=now)


def _active() -> BudgetQuerySet:
    return Budget.objects.active()


def _names(wanted: Collection[UUID], loaded: Iterable[Runner]) -> dict[UUID, Names]:
    names = {runner.pk: names_of(runner) for runner in loaded if runner.pk in wanted}
    missing = [runner_id for runner_id in wanted if runner_id not in names]
    if missing:
        rest = Runner.objects.select_related("project").filter(pk__in=missing)
        names |= {runner.pk: names_of(runner) for runner in rest}
    return names


def tell(budget: Budget, period: BudgetPeriod, *, now: datetime) -> None:
    """Publish the thresholds that a period has newly reached, each once, and have a spent budget act.

    The period's row is locked by the caller; `budget` comes from with_raised().
    """
    standing = standing_in(budget, Bounds(period.starts_at, period.ends_at), period)
    if standing.level <= period.alerted:
        return
    BudgetPeriod.objects.filter(pk=period.pk).update(alerted=standing.level)
    present = now in standing.bounds
    for threshold in THRESHOLDS:
        # Of a period that is over (its telemetry came late) that it was overspent is news, a warning is not.
        if period.alerted < threshold <= standing.level and (present or threshold == THRESHOLDS[-1]):
            budget_events.budget_reached(standing, threshold)
    if standing.is_spent and budget.holds and present:
        enforce_soon(budget)


def enforce_soon(budget: Budget) -> None:
    """Have the budget act as soon as this transaction has committed."""
    enqueue(ENFORCE_TASK, args=[budget.pk], queue=CONTROL_QUEUE, aggregate=budget.aggregate)


def hold_if_spent(runners: Sequence[Runner]) -> None:
    """Have the budgets that are spent act on runners that have just come to run."""
    if not runners:
        return
    counting = _active().holding().counting_any([names_of(runner) for runner in runners])
    for standing in spent(standings(counting)):
        enforce_soon(standing.budget)


def _add_up(sums: dict[Key, Addition], budget: Budget, charges: Iterable[Charge]) -> None:
    """Add the charges to the sums of the budget's periods in which they fall."""
    zone, bounds = budget.zone, None
    periods: dict[Bounds, list[Charge]] = {}
    for each in charges:
        # Entries of a batch mostly fall into one period.
        if bounds is None or each.at not in bounds:
            bounds = bounds_of(budget.period, zone, each.at)
        periods.setdefault(bounds, []).append(each)
    for bounds, own in periods.items():
        before = sums.get((budget.pk, bounds)) or Addition(budget.pk, *bounds, 0, Decimal(0), 0)
        sums[budget.pk, bounds] = replace(
            before,
            tokens=before.tokens + sum(each.tokens for each in own),
            usd=before.usd + sum((each.usd for each in own), Decimal(0)),
            unknown_tokens=before.unknown_tokens + sum(each.unknown_tokens for each in own),
        )


def names_of(runner: Runner) -> Names:
    """Return the names by which budgets know a runner."""
    return names_for_budgets(
        project=runner.project.name,
        agent=runner.agent_name,
        personality=runner.personality_name,
        runner_id=runner.pk,
    )
