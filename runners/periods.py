"""The periods of a zone's calendar: which one holds a moment, and where exactly it begins and ends.

The periods of a kind tile time: each moment is in one, and the end of one is the beginning of the next, over changes of
the clock too. A day in which the clock is put forward has 23 hours; an hour that comes twice is two periods.
"""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from runners.states import Period

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class Bounds(NamedTuple):
    """A period in UTC; its end is not part of it."""

    start: datetime
    end: datetime

    def __contains__(self, at: object) -> bool:
        return isinstance(at, datetime) and self.start <= at < self.end


def bounds_of(kind: str, zone: ZoneInfo, at: datetime) -> Bounds:
    """Return the period of the zone's calendar that holds `at`."""
    if kind == Period.HOURLY:
        return _hour(zone, at)
    local = at.astimezone(zone)
    first = datetime(local.year, local.month, local.day)  # noqa: DTZ001 - a date of the zone's calendar
    if kind == Period.DAILY:
        following = first + DAY
    elif kind == Period.WEEKLY:
        first -= local.weekday() * DAY
        following = first + 7 * DAY
    else:
        first = first.replace(day=1)
        following = (first + 31 * DAY).replace(day=1)
    return Bounds(_instant(first, zone), _instant(following, zone))


def _instant(midnight: datetime, zone: ZoneInfo) -> datetime:
    """Return when the zone's clock first shows a midnight; if it leaps over it, when it leaps."""
    # fold=0 is the first of two, and in a gap reckons by the clock before it: the moment of the leap itself.
    return midnight.replace(tzinfo=zone, fold=0).astimezone(UTC)


def _hour(zone: ZoneInfo, at: datetime) -> Bounds:
    """Return the hour on the zone's clock; where the clock is changed within it, up to or from that moment.

    Most zones change by whole hours on the hour. Some do not: Lord Howe Island changes by half an hour.
    """
    at = at.astimezone(UTC)
    local = at.astimezone(zone)
    start = at - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    end = start + HOUR
    # The end itself may have another offset: it belongs to the next hour.
    return Bounds(
        _change(zone, start, at) if _offset(zone, start) != _offset(zone, at) else start,
        _change(zone, at, end) if _offset(zone, end) != _offset(zone, at) else end,
    )


def _offset(zone: ZoneInfo, at: datetime) -> timedelta | None:
    return at.astimezone(zone).utcoffset()


def _change(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """Return the first whole second at which the zone's offset is that of `after`; it changes once between the two."""
    low, high = int(before.timestamp()), -int(-after.timestamp() // 1)
    wanted = _offset(zone, after)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(zone, datetime.fromtimestamp(middle, UTC)) == wanted:
            high = middle
        else:
            low = middle
    return datetime.fromtimestamp(high, UTC)
