"""When a project's jobs are given out."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from agents.models import DispatchSettings


def within_hours(dispatch: DispatchSettings, now: datetime) -> bool:
    """Return whether `now` is a working hour where the project is.

    Hours over midnight (22:00 to 06:00) belong to the day on which they begin.
    """
    local = now.astimezone(ZoneInfo(dispatch.time_zone))
    start, end = dispatch.work_from, dispatch.work_until
    if start is None or end is None or start == end:
        return local.weekday() in dispatch.work_days
    if start < end:
        return local.weekday() in dispatch.work_days and start <= local.time() < end
    if local.time() >= start:
        return local.weekday() in dispatch.work_days
    return local.time() < end and (local - timedelta(days=1)).weekday() in dispatch.work_days
