"""Hours by day, job or worker."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from django.utils import timezone

from agents.models import TimeEntry
from agents.querysets import TimeEntryQuerySet

By = Literal["day", "job", "worker"]
Span = tuple[datetime, datetime]


def hours_by(by: By, entries: TimeEntryQuerySet, start: datetime, end: datetime, zone: ZoneInfo) -> dict[str, float]:
    """Return the hours worked between `start` and `end` by day of `zone`, by job or by worker, pauses taken off.

    An entry that reaches over midnight, or over an end of the period, counts where its parts belong.
    """
    now, seconds = timezone.now(), defaultdict[str, float](float)
    for entry in entries.within(start, end).select_related("agent", "person").iterator():
        for begun, ended in _clipped(worked_spans(entry, now), start, end):
            if by == "day":
                for day, part in _by_day(begun, ended, zone):
                    seconds[day.isoformat()] += part
            else:
                seconds[entry.worker if by == "worker" else entry.job_id or ""] += (ended - begun).total_seconds()
    return {key: value / 3600 for key, value in sorted(seconds.items())}


def worked_spans(entry: TimeEntry, now: datetime) -> Iterator[Span]:
    """Yield the parts of an entry in which work was done, oldest first."""
    begun = entry.started_at
    for paused, resumed in entry.all_pauses(now):
        if paused > begun:
            yield begun, paused
        begun = max(begun, resumed)
    ended = entry.ended_at or now
    if ended > begun:
        yield begun, ended


def _clipped(spans: Iterable[Span], start: datetime, end: datetime) -> Iterator[Span]:
    for begun, ended in spans:
        inside = max(begun, start), min(ended, end)
        if inside[0] < inside[1]:
            yield inside


def _by_day(begun: datetime, ended: datetime, zone: ZoneInfo) -> Iterator[tuple[date, float]]:
    while begun < ended:
        day = begun.astimezone(zone).date()
        # Midnight as the zone has it: a day may have 23 or 25 hours.
        midnight = datetime.combine(day + timedelta(days=1), time(), zone)
        yield day, (min(midnight, ended) - begun).total_seconds()
        begun = midnight
