"""Charts of the outbox, as SVG paths: drawn on the server, so that the page needs no script."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from outbox.metrics import backlog
from outbox.models import OutboxSample

HOURS = (1, 24, 168)
DEFAULT_HOURS = 24
WIDTH, HEIGHT = 600, 90
#: Points of one line: two for each pixel's column would not be seen. Of each column the worst is kept.
COLUMNS = 300
#: Samples come each minute; where two are further apart nobody looked, and no line claims to know.
GAP = timedelta(minutes=3)


@dataclass(frozen=True)
class Chart:
    """One line over time."""

    title: str
    now: str
    most: str
    path: str
    empty: bool


@dataclass(frozen=True)
class Charts:
    """The charts of the last `hours`."""

    hours: int
    choices: Sequence[int]
    charts: Sequence[Chart]
    width: int = WIDTH
    height: int = HEIGHT


Point = tuple[datetime, float]


def charts(asked: str | None) -> Charts:
    """Return how many waited, for how long, and how many were dead; the last point is now."""
    hours = next((each for each in HOURS if str(each) == asked), DEFAULT_HOURS)
    end = timezone.now()
    start = end - timedelta(hours=hours)
    pending, dead, lag = backlog()
    samples = [
        *OutboxSample.objects.filter(at__gte=start),
        OutboxSample(at=end, pending=pending, dead=dead, lag_seconds=lag),
    ]
    lines: list[tuple[str, Callable[[OutboxSample], float], Callable[[float], str]]] = [
        ("Lag", lambda sample: sample.lag_seconds, seconds),
        ("Waiting", lambda sample: sample.pending, whole),
        ("Dead", lambda sample: sample.dead, whole),
    ]
    drawn = [
        _chart(title, [(each.at, value(each)) for each in samples], start, end, words) for title, value, words in lines
    ]
    return Charts(hours, HOURS, drawn)


def whole(value: float) -> str:
    return f"{value:,.0f}"


def seconds(value: float) -> str:
    """Return a duration as a person says it."""
    if value >= 5_400:
        return f"{value / 3_600:.1f} h"
    return f"{value / 60:.0f} min" if value >= 90 else f"{value:.1f} s"


def _chart(title: str, points: Sequence[Point], start: datetime, end: datetime, words: Callable[[float], str]) -> Chart:
    most = max(value for _, value in points)
    kept = _worst_of_columns(points, start, end)
    return Chart(title, words(points[-1][1]), words(most), _path(kept, start, end, most), empty=len(points) < 2)


def _worst_of_columns(points: Sequence[Point], start: datetime, end: datetime) -> list[Point]:
    worst: dict[int, Point] = {}
    for at, value in points:
        column = int((at - start) / (end - start) * COLUMNS)
        if column not in worst or value > worst[column][1]:
            worst[column] = (at, value)
    return list(worst.values())


def _path(points: Sequence[Point], start: datetime, end: datetime, most: float) -> str:
    """Return the line through `points`, broken where nobody looked."""
    steps, before = [], None
    gap = max(GAP, 2 * (end - start) / COLUMNS)
    for at, value in points:
        x = (at - start) / (end - start) * WIDTH
        y = HEIGHT - 2 - (value / most * (HEIGHT - 6) if most else 0)
        steps.append(f"{'L' if before and at - before <= gap else 'M'}{x:.1f} {y:.1f}")
        before = at
    return "".join(steps)
