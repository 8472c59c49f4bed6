"""Periods of a zone's calendar tile time, over every change of the clock."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.periods import bounds_of
from runners.states import Period
from runners.zones import zone_names

#: Zones whose clocks change oddly: by half an hour, at midnight, a day left out, by 45 minutes of offset.
ODD = [
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "America/Havana",
    "Pacific/Apia",
    "Asia/Kathmandu",
    "Africa/Casablanca",
    "Asia/Beirut",
    "Europe/Berlin",
    "America/New_York",
    "Antarctica/Troll",
    "UTC",
]
ZONES = st.one_of(st.sampled_from(ODD), st.sampled_from(sorted(zone_names()))).map(ZoneInfo)
MOMENTS = st.integers(946_684_800, 2_114_380_800).map(lambda second: datetime.fromtimestamp(second, UTC))
TICK = timedelta(microseconds=1)
LONGEST = {Period.HOURLY: 1, Period.DAILY: 26, Period.WEEKLY: 7 * 24 + 2, Period.MONTHLY: 31 * 24 + 2}


@given(kind=st.sampled_from(list(Period)), zone=ZONES, at=MOMENTS)
def test_each_moment_is_in_one_period_and_the_end_of_one_begins_the_next(
    kind: Period, zone: ZoneInfo, at: datetime
) -> None:
    bounds = bounds_of(kind, zone, at)
    assert at in bounds
    assert timedelta(0) < bounds.end - bounds.start <= timedelta(hours=LONGEST[kind])
    for inside in (bounds.start, at, bounds.end - TICK):
        assert bounds_of(kind, zone, inside) == bounds
    assert bounds_of(kind, zone, bounds.end).start == bounds.end
    assert bounds_of(kind, zone, bounds.start - TICK).end == bounds.start


@given(zone=st.sampled_from(ODD).map(ZoneInfo), year=st.integers(2001, 2036), hours=st.integers(0, 8784))
def test_periods_that_begin_within_a_day_of_a_change_of_the_clock_tile_too(
    zone: ZoneInfo, year: int, hours: int
) -> None:
    at = datetime(year, 1, 1, tzinfo=UTC) + timedelta(hours=hours)
    if at.astimezone(zone).utcoffset() == (at + timedelta(hours=1)).astimezone(zone).utcoffset():
        return
    for kind in Period:
        moment = at - timedelta(hours=3)
        while moment < at + timedelta(hours=3):
            bounds = bounds_of(kind, zone, moment)
            assert moment in bounds
            moment = bounds.end
            assert bounds_of(kind, zone, moment).start == moment


@pytest.mark.parametrize(
    ("kind", "zone", "at", "start", "end"),
    [
        # The clock is put forward at 2 on that day: it has 23 hours.
        ("daily", "Europe/Berlin", "2026-03-29T12:00", "2026-03-28T23:00", "2026-03-29T22:00"),
        # It is put back at 3: 25 hours.
        ("daily", "Europe/Berlin", "2026-10-25T12:00", "2026-10-24T22:00", "2026-10-25T23:00"),
        # 2:30 comes twice, and is in two periods.
        ("hourly", "Europe/Berlin", "2026-10-25T00:30", "2026-10-25T00:00", "2026-10-25T01:00"),
        ("hourly", "Europe/Berlin", "2026-10-25T01:30", "2026-10-25T01:00", "2026-10-25T02:00"),
        ("hourly", "Asia/Kathmandu", "2026-05-01T10:20", "2026-05-01T10:15", "2026-05-01T11:15"),
        # Half an hour comes twice on Lord Howe Island: the second half hour is a period of its own.
        ("hourly", "Australia/Lord_Howe", "2026-04-04T14:30", "2026-04-04T14:00", "2026-04-04T15:00"),
        ("hourly", "Australia/Lord_Howe", "2026-04-04T15:10", "2026-04-04T15:00", "2026-04-04T15:30"),
        # Weeks begin on Monday, and go over the ends of months and years.
        ("weekly", "UTC", "2026-01-01T00:00", "2025-12-29T00:00", "2026-01-05T00:00"),
        ("weekly", "America/New_York", "2026-03-08T12:00", "2026-03-02T05:00", "2026-03-09T04:00"),
        ("monthly", "UTC", "2028-02-29T23:59", "2028-02-01T00:00", "2028-03-01T00:00"),
        ("monthly", "America/New_York", "2026-12-31T23:00", "2026-12-01T05:00", "2027-01-01T05:00"),
        # Samoa left out the 30th of December 2011.
        ("daily", "Pacific/Apia", "2011-12-30T09:59", "2011-12-29T10:00", "2011-12-30T10:00"),
        ("daily", "Pacific/Apia", "2011-12-30T10:00", "2011-12-30T10:00", "2011-12-31T10:00"),
    ],
)
def test_periods_of_the_calendar(kind: str, zone: str, at: str, start: str, end: str) -> None:
    moment, first, last = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (at, start, end))
    assert bounds_of(kind, ZoneInfo(zone), moment) == (first, last)
