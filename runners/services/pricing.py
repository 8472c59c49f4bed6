"""What usage costs by the price table."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from runners.models import ModelPrice


@dataclass(frozen=True)
class Priced:
    """A cost, and the price it comes from."""

    cost_usd: Decimal
    price: ModelPrice


@dataclass(frozen=True)
class PriceBook:
    """The price table as it stood when it was read; a batch of usage is priced from one."""

    prices: Sequence[ModelPrice]

    @classmethod
    def read(cls) -> "PriceBook":
        return cls(list(ModelPrice.objects.all()))

    def price_of(self, model: str, at: datetime) -> ModelPrice | None:
        """Return the most precise price of a model at that moment, the newest of several.

        None if there is none, or if prices of several providers fit alike: which one it was would be a guess.
        """
        fitting = [price for price in self.prices if price.fits(model, at)]
        if not fitting:
            return None
        precision = max(price.precision for price in fitting)
        best = [price for price in fitting if price.precision == precision]
        if len({price.provider for price in best}) > 1:
            return None
        return max(best, key=lambda price: price.valid_from)

    def cost_of(self, model: str, tokens: Sequence[int], at: datetime) -> Priced | None:
        """Return what the tokens cost, or None: not known. Never 0 for that."""
        price = self.price_of(model, at)
        cost = price.cost(tokens) if price else None
        return Priced(cost, price) if price is not None and cost is not None else None
