"""What models cost."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from fnmatch import fnmatchcase

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

PER_TOKENS = 1_000_000
#: UsageEntry.cost_usd holds this much.
COST_STEP = Decimal("0.00000001")
_WILD = frozenset("*?")


class PriceField(models.DecimalField):  # type: ignore[type-arg]
    """US dollars for a million tokens of one kind."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs = {"max_digits": 14, "decimal_places": 6, "validators": [MinValueValidator(Decimal(0))], **kwargs}
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]


class ModelPrice(models.Model):
    """What a million tokens of a model cost, from one moment to another.

    The four kinds do not overlap: what was read from a cache is not counted as input too.
    """

    provider = models.SlugField(
        max_length=40,
        blank=True,
        help_text="For models that are named provider/model, or only model; empty: the pattern is of the whole name.",
    )
    pattern = models.CharField(
        max_length=100, help_text="The model's name, with * for any characters and ? for any one. Exact names go first."
    )
    input_usd = PriceField(help_text="Per million tokens.")
    output_usd = PriceField(help_text="Per million tokens.")
    cache_read_usd = PriceField(null=True, blank=True, help_text="Empty: not known; such usage stays unknown.")
    cache_write_usd = PriceField(null=True, blank=True, help_text="Empty: not known; such usage stays unknown.")
    valid_from = models.DateTimeField(help_text="From that moment on.")
    valid_to = models.DateTimeField(null=True, blank=True, help_text="Up to that moment; empty: until further notice.")
    note = models.CharField(max_length=200, blank=True, help_text="Where the price was read, and when.")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["provider", "pattern", "-valid_from"]
        constraints = [
            models.UniqueConstraint(name="price_once", fields=["provider", "pattern", "valid_from"]),
            models.CheckConstraint(
                name="price_valid_to_after_from", condition=Q(valid_to__isnull=True) | Q(valid_to__gt=F("valid_from"))
            ),
        ]

    def __str__(self) -> str:
        name = f"{self.provider}/{self.pattern}" if self.provider else self.pattern
        return f"{name} from {self.valid_from:%Y-%m-%d}"

    def fits(self, model: str, at: datetime) -> bool:
        """Say whether this is a price of `model` at that moment."""
        if at < self.valid_from or (self.valid_to is not None and at >= self.valid_to):
            return False
        if not self.provider:
            return self._matches(model)
        provider, slash, name = model.partition("/")
        return self._matches(name) and provider == self.provider if slash else self._matches(model)

    def _matches(self, name: str) -> bool:
        return name == self.pattern or fnmatchcase(name, self.pattern)

    @property
    def precision(self) -> tuple[bool, int]:
        """Order of two prices that both fit: a name before a pattern, a longer pattern before a shorter one."""
        return not _WILD & set(self.pattern), sum(character not in _WILD for character in self.pattern)

    def cost(self, tokens: Sequence[int]) -> Decimal | None:
        """Return what input, output, cache read and cache write tokens cost; None if a price that is needed lacks."""
        prices = (self.input_usd, self.output_usd, self.cache_read_usd, self.cache_write_usd)
        total = Decimal(0)
        for count, price in zip(tokens, prices, strict=True):
            if count and price is None:
                return None
            total += count * (price or Decimal(0))
        return (total / PER_TOKENS).quantize(COST_STEP)
