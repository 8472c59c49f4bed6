"""Bars of a chart, reckoned for an SVG that the server renders."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from math import floor, log10

from dashboard import figures
from runners.services.usage_summary import Sums

WIDTH, HEIGHT = 960, 200


@dataclass(frozen=True)
class Bar:
    """One day. Lengths are in the units of the SVG; `label` is for people."""

    x: float
    y: float
    width: float
    height: float
    label: str
    #: Part of what it stands for is not known: it is at least that.
    partial: bool
    #: The day under the bar, where there is room for it.
    tick: str = ""


@dataclass(frozen=True)
class Chart:
    bars: list[Bar]
    #: Height and words of the lines across.
    lines: list[tuple[float, str]]
    width: int = WIDTH
    height: int = HEIGHT


def day_chart(days: Sequence[Sums], first: date, last: date, *, in_dollars: bool) -> Chart:
    """Return a bar for each day from `first` to `last`; a day without usage has none of any height."""
    by_day = {sums.key: sums for sums in days}
    count = (last - first).days + 1
    step = WIDTH / count
    values = {day: _value(sums, in_dollars=in_dollars) for day, sums in by_day.items()}
    top = _round_up(max([*values.values(), Decimal(0)]))
    bars = []
    for number in range(count):
        day = first + timedelta(days=number)
        sums, key = by_day.get(day.isoformat()), day.isoformat()
        height = float(values.get(key, Decimal(0)) / top) * HEIGHT if top else 0.0
        bars.append(
            Bar(
                x=round(number * step + step * 0.12, 2),
                y=round(HEIGHT - height, 2),
                width=round(step * 0.76, 2),
                height=round(height, 2),
                label=_label(day, sums),
                partial=sums is not None and not sums.is_whole,
                # A label takes some 60 units.
                tick=f"{day:%d %b}" if number % max(1, -(-count * 60 // WIDTH)) == 0 else "",
            )
        )
    return Chart(bars, [(HEIGHT - HEIGHT * part / 2, _words(top * part / 2, in_dollars)) for part in (1, 2) if top])


def _value(sums: Sums, *, in_dollars: bool) -> Decimal:
    value = (sums.cost_usd or Decimal(0)) if in_dollars else Decimal(sums.total_tokens)
    return max(value, Decimal(0))


def _label(day: date, sums: Sums | None) -> str:
    if sums is None:
        return f"{day:%d %b}: nothing"
    cost = figures.dollars(sums.cost_usd, complete=sums.is_whole)
    return f"{day:%d %b}: {figures.tokens(sums.total_tokens)} tokens, {cost}"


def _words(value: Decimal, in_dollars: bool) -> str:
    return figures.dollars(value) if in_dollars else figures.tokens(int(value))


def _round_up(value: Decimal) -> Decimal:
    """Return the next number that is 1, 2 or 5 and zeros."""
    if value <= 0:
        return Decimal(0)
    power = Decimal(10) ** floor(log10(value))
    return next(step * power for step in (Decimal(1), Decimal(2), Decimal(5), Decimal(10)) if step * power >= value)
