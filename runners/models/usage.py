"""The usage ledger: tokens and cost, append-only."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from runners.models.price import ModelPrice
from runners.models.runner import Runner
from runners.models.session import Session
from runners.states import CostSource

#: The kinds of tokens, in the order in which prices are given. They do not overlap.
TOKEN_COLUMNS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")

#: Nobody knows the cost, and no later entry holds it.
UNPRICED = Q(source=CostSource.UNKNOWN, settled_by__isnull=True)


class UsageEntry(models.Model):
    """Tokens used at one point of a session, and their cost where it is known.

    Entries add up: a program that reports running totals is entered by the difference. `key` makes a repeat count once.
    Two things may still happen to an entry, each once (a trigger refuses all else): an unknown cost gets a price, and
    a later entry settles it.
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
    price = models.ForeignKey(
        ModelPrice, on_delete=models.PROTECT, null=True, related_name="+", db_index=False, help_text="If priced by us."
    )
    stretch = models.CharField(max_length=100, blank=True, help_text="The part of a run of which a total may follow.")
    settled_by = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        related_name="settled",
        db_index=False,
        help_text="The later entry that brings the sum to what the program reported for both.",
    )
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
            models.CheckConstraint(
                name="usage_price_iff_priced",
                condition=Q(source=CostSource.PRICED, price__isnull=False)
                | (~Q(source=CostSource.PRICED) & Q(price__isnull=True)),
            ),
        ]
        indexes = [
            models.Index(name="usage_by_time", fields=["at"]),
            models.Index(
                name="usage_open",
                fields=["session", "source"],
                condition=~Q(source=CostSource.REPORTED) & Q(settled_by__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model}: {self.input_tokens} in, {self.output_tokens} out"

    @property
    def tokens(self) -> tuple[int, int, int, int]:
        return self.input_tokens, self.output_tokens, self.cache_read_tokens, self.cache_write_tokens

    @property
    def total_tokens(self) -> int:
        return sum(self.tokens)

    @property
    def is_unpriced(self) -> bool:
        """Nobody knows the cost, and no later entry holds it."""
        return self.source == CostSource.UNKNOWN and self.settled_by_id is None
