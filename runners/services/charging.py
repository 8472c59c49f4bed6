"""Add what the ledger gained to the budgets that count it, in the same transaction, and say what they reach."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from uuid import UUID

from django.utils import timezone

from outbox.services import enqueue
from runners import budget_events
from runners.models import Budget, BudgetPeriod, Runner
from runners.models.budget import THRESHOLDS
from runners.periods import Bounds, bounds_of
from runners.querysets import BudgetQuerySet
from runners.services.ledger import Charge
from runners.services.standing import spent, standing_in, standings
from runners.sql import Addition, add_to_periods
from runners.transitions import CONTROL_QUEUE

ENFORCE_TASK = "runners.tasks.enforce_budget"

Key = tuple[int, Bounds]


def charge(charges: Sequence[Charge], *, runner: Runner | None = None) -> None:
    """Add charges to every active budget that counts them. Call it last in a transaction: it locks the budgets' rows.

    Budgets are looked up once for each runner, the totals written in one statement. `runner` is one that the caller
    has loaded: nearly always the only one.
    """
    if not charges:
        return
    now = timezone.now()
    budgets: dict[int, Budget] = {}
    sums: dict[Key, Addition] = {}
    for runner_id, its in groupby(sorted(charges, key=lambda charge: charge.runner_id), lambda each: each.runner_id):
        known = runner if runner is not None and runner.pk == runner_id else None
        counting = list(budgets_counting(known or _load(runner_id)).with_raised(now))
        budgets |= {budget.pk: budget for budget in counting}
        own = list(its)
        for budget in counting:
            _add_up(sums, budget, own)
    for row in add_to_periods([sums[key] for key in sorted(sums)]):
        period = BudgetPeriod(**row)
        tell(budgets[period.budget_id], period, now=now)


def budgets_counting(runner: Runner) -> BudgetQuerySet:
    """Return the active budgets that count a runner."""
    return Budget.objects.active().counting(**scope_names(runner), runner_id=runner.pk)


def _load(runner_id: UUID) -> Runner:
    return Runner.objects.select_related("project").get(pk=runner_id)


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


def hold_if_spent(runner: Runner) -> None:
    """Have the budgets that are spent act on a runner that has just come to run."""
    for standing in spent(standings(budgets_counting(runner).holding())):
        enforce_soon(standing.budget)


def _add_up(sums: dict[Key, Addition], budget: Budget, charges: Iterable[Charge]) -> None:
    """Add the charges to the sums of the budget's periods in which they fall."""
    zone, bounds = budget.zone, None
    for each in charges:
        # Entries of a batch mostly fall into one period.
        if bounds is None or each.at not in bounds:
            bounds = bounds_of(budget.period, zone, each.at)
        before = sums.get((budget.pk, bounds)) or Addition(budget.pk, *bounds, 0, Decimal(0), 0)
        sums[budget.pk, bounds] = Addition(
            budget.pk,
            *bounds,
            tokens=before.tokens + each.tokens,
            usd=before.usd + each.usd,
            unknown_tokens=before.unknown_tokens + each.unknown_tokens,
        )


def scope_names(runner: Runner) -> Mapping[str, str]:
    """Return the names by which budgets know a runner."""
    return {"project": runner.project.name, "agent": runner.agent_name, "personality": runner.personality_name}
