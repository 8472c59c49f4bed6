"""How much may be used, how much was, and by how much an operator raised it for a while."""

from decimal import Decimal
from zoneinfo import ZoneInfo

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from runners.querysets import BudgetQuerySet
from runners.states import BudgetAction, BudgetScope, BudgetUnit, Period
from runners.zones import validate_zone

SMALLEST_LIMIT = Decimal("0.00000001")
#: Percents of the limit at which somebody is told.
THRESHOLDS = (75, 90, 100)


class Budget(models.Model):
    """A limit on what a scope may use in each period.

    Scope, period, zone and unit stay as they were made: what was counted for one is no count of another.
    """

    name = models.CharField(max_length=80, unique=True, help_text="For people: it stands in alerts and refusals.")
    scope = models.CharField(max_length=12, choices=BudgetScope)
    scope_key = models.CharField(
        max_length=100, blank=True, help_text="Name of the project, agent or personality, or the runner's id."
    )
    period = models.CharField(max_length=8, choices=Period)
    time_zone = models.CharField(
        max_length=64, default="UTC", validators=[validate_zone], help_text="In whose calendar, as in Europe/Berlin."
    )
    unit = models.CharField(max_length=6, choices=BudgetUnit)
    limit = models.DecimalField(max_digits=24, decimal_places=8, validators=[MinValueValidator(SMALLEST_LIMIT)])
    action = models.CharField(max_length=5, choices=BudgetAction, default=BudgetAction.WARN)
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)

    objects = BudgetQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        permissions = [("raise_budget", "Can raise a budget for a while")]
        constraints = [
            models.CheckConstraint(name="budget_scope_known", condition=Q(scope__in=BudgetScope.values)),
            models.CheckConstraint(name="budget_period_known", condition=Q(period__in=Period.values)),
            models.CheckConstraint(name="budget_unit_known", condition=Q(unit__in=BudgetUnit.values)),
            models.CheckConstraint(name="budget_action_known", condition=Q(action__in=BudgetAction.values)),
            models.CheckConstraint(name="budget_limit_above_zero", condition=Q(limit__gt=0)),
            models.CheckConstraint(
                name="budget_key_unless_global",
                condition=Q(scope=BudgetScope.GLOBAL, scope_key="") | (~Q(scope=BudgetScope.GLOBAL) & ~Q(scope_key="")),
            ),
        ]
        indexes = [models.Index(name="budget_by_scope", fields=["scope", "scope_key"], condition=Q(active=True))]

    def __str__(self) -> str:
        return self.name

    @property
    def aggregate(self) -> str:
        """Its name in the outbox: events of one budget keep their order."""
        return f"budget:{self.pk}"

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    @property
    def holds(self) -> bool:
        """Say whether it stops work when it is spent, rather than only warn."""
        return self.action != BudgetAction.WARN


class BudgetPeriod(models.Model):
    """What a budget's scope used in one period. Written in the transaction of the ledger's entries it sums up."""

    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="periods")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    used_tokens = models.BigIntegerField(default=0)
    used_usd = models.DecimalField(max_digits=24, decimal_places=8, default=Decimal(0), help_text="The known part.")
    unknown_tokens = models.BigIntegerField(default=0, help_text="Tokens of which nobody knows the cost.")
    alerted = models.PositiveSmallIntegerField(default=0, help_text="Percent of the limit that was last told of.")

    class Meta:
        ordering = ["-starts_at"]
        constraints = [
            models.UniqueConstraint(name="budget_period_once", fields=["budget", "starts_at"]),
            models.CheckConstraint(name="budget_period_has_length", condition=Q(ends_at__gt=F("starts_at"))),
        ]

    def __str__(self) -> str:
        return f"{self.budget_id} from {self.starts_at:%Y-%m-%d %H:%M}"


class BudgetRaise(models.Model):
    """More for a while: an operator's decision, with its reason."""

    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="raises")
    amount = models.DecimalField(max_digits=24, decimal_places=8, validators=[MinValueValidator(SMALLEST_LIMIT)])
    reason = models.CharField(max_length=500)
    actor = models.CharField(max_length=100)
    made_at = models.DateTimeField(default=timezone.now)
    until = models.DateTimeField(help_text="From then on the budget has its own limit again.")

    class Meta:
        ordering = ["-made_at"]
        constraints = [
            models.CheckConstraint(name="raise_above_zero", condition=Q(amount__gt=0)),
            models.CheckConstraint(name="raise_has_reason", condition=~Q(reason="")),
        ]
        indexes = [models.Index(name="raise_by_end", fields=["budget", "until"])]

    def __str__(self) -> str:
        return f"{self.amount} until {self.until:%Y-%m-%d %H:%M}"
