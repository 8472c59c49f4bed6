"""Where a budget stands in its present period."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import Q
from django.utils import timezone

from runners.exceptions import BudgetSpent
from runners.models import Budget, BudgetPeriod
from runners.models.budget import THRESHOLDS
from runners.periods import Bounds, bounds_of
from runners.querysets import BudgetQuerySet
from runners.states import BudgetUnit


@dataclass(frozen=True)
class Standing:
    """A budget's figures in one period. `limit` has what it is raised by in it."""

    budget: Budget
    bounds: Bounds
    limit: Decimal
    raised: Decimal
    used_tokens: int = 0
    used_usd: Decimal = Decimal(0)
    #: Of a budget in dollars the part that is not counted, because nobody knows its cost.
    unknown_tokens: int = 0
    alerted: int = 0

    @property
    def used(self) -> Decimal:
        return Decimal(self.used_tokens) if self.budget.unit == BudgetUnit.TOKENS else self.used_usd

    @property
    def left(self) -> Decimal:
        return max(self.limit - self.used, Decimal(0))

    @property
    def percent(self) -> Decimal:
        return self.used * 100 / self.limit

    @property
    def level(self) -> int:
        """The highest threshold that is reached: 0, 75, 90 or 100 percent."""
        return max((threshold for threshold in THRESHOLDS if self.percent >= threshold), default=0)

    @property
    def is_spent(self) -> bool:
        return self.used >= self.limit

    @property
    def is_whole(self) -> bool:
        """What was used is known to the last token; else it is at least that."""
        return self.budget.unit == BudgetUnit.TOKENS or self.unknown_tokens == 0

    @property
    def figures(self) -> str:
        """For people: $10.02 of $10.00; 12,000 of 10,000 tokens."""
        if self.budget.unit == BudgetUnit.TOKENS:
            return f"{self.used:,.0f} of {self.limit:,.0f} tokens"
        return f"{'' if self.is_whole else 'at least '}{_dollars(self.used)} of {_dollars(self.limit)}"

    @property
    def facts(self) -> dict[str, Any]:
        """For programs: events and refusals tell these."""
        return {
            "budget_id": self.budget.pk,
            "name": self.budget.name,
            "scope": self.budget.scope,
            "scope_key": self.budget.scope_key,
            "unit": self.budget.unit,
            "action": self.budget.action,
            "used": str(_plain(self.used)),
            "limit": str(_plain(self.limit)),
            "unknown_tokens": self.unknown_tokens,
            "period_start": self.bounds.start.isoformat(),
            "period_end": self.bounds.end.isoformat(),
        }

    def refusal(self) -> BudgetSpent:
        """Return the refusal of whatever would use more."""
        anew = self.bounds.end.astimezone(self.budget.zone)
        return BudgetSpent(
            f"Budget {self.budget.name} is spent: {self.figures}; it begins anew on {anew:%Y-%m-%d at %H:%M %Z}.",
            **self.facts,
        )


def standing_of(budget: Budget, *, at: datetime | None = None) -> Standing:
    """Return where one budget stands."""
    return standings(Budget.objects.filter(pk=budget.pk), at=at)[0]


def standings(budgets: BudgetQuerySet, *, at: datetime | None = None) -> list[Standing]:
    """Return where budgets stand at a moment: now, or another. Two queries."""
    at = at or timezone.now()
    found = list(budgets.with_raised(at))
    rows = {
        (row.budget_id, row.starts_at): row
        for row in BudgetPeriod.objects.filter(Q(starts_at__lte=at, ends_at__gt=at), budget__in=found)
    }
    return [_standing(budget, at, rows) for budget in found]


def standing_in(budget: Budget, bounds: Bounds, row: BudgetPeriod | None) -> Standing:
    """Return the figures of one period; `budget` comes from with_raised()."""
    raised: Decimal = getattr(budget, "raised", Decimal(0))
    used = {}
    if row is not None:
        used = {name: getattr(row, name) for name in ("used_tokens", "used_usd", "unknown_tokens", "alerted")}
    return Standing(budget, bounds, budget.limit + raised, raised, **used)


def spent(budgets: Iterable[Standing]) -> list[Standing]:
    """Return those that are spent and stop work."""
    return [standing for standing in budgets if standing.is_spent and standing.budget.holds]


def _standing(budget: Budget, at: datetime, rows: Mapping[tuple[int, datetime], BudgetPeriod]) -> Standing:
    bounds = bounds_of(budget.period, budget.zone, at)
    return standing_in(budget, bounds, rows.get((budget.pk, bounds.start)))


def _dollars(amount: Decimal) -> str:
    return f"${amount:,.2f}" if amount >= 1 else f"${amount:,.4f}"


def _plain(amount: Decimal) -> Decimal:
    """Return the amount without zeros at its end, and never as 1E+4."""
    return amount.quantize(Decimal(1)) if amount == amount.to_integral() else amount.normalize()
