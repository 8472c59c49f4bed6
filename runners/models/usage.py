"""The usage ledger: tokens and cost, append-only."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from runners.models.runner import Runner
from runners.models.session import Session
from runners.states import CostSource


class UsageEntry(models.Model):
    """Tokens used at one point of a session, and their cost where it is known.

    Entries add up: a program that reports running totals is entered by the difference. `key` makes a repeat count once.
    """

    session = models.ForeignKey(Session, on_delete=models.PROTECT, related_name="usage")
    runner = models.ForeignKey(Runner, on_delete=models.PROTECT, related_name="usage")
    key = models.CharField(max_length=160)
    model = models.CharField(max_length=100, blank=True)
    input_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    cache_read_tokens = models.BigIntegerField(default=0)
    cache_write_tokens = models.BigIntegerField(default=0)
    cost_usd = models.DecimalField(max_digits=14, decimal_places=8, null=True)
    source = models.CharField(max_length=10, choices=CostSource)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "usage entries"
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(name="usage_key_once", fields=["session", "key"]),
            models.CheckConstraint(
                name="usage_cost_known_iff_sourced",
                condition=Q(source=CostSource.UNKNOWN, cost_usd__isnull=True)
                | (Q(source__in=[CostSource.REPORTED, CostSource.PRICED]) & Q(cost_usd__isnull=False)),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model}: {self.input_tokens} in, {self.output_tokens} out"
