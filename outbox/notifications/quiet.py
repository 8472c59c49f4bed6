"""Quiet hours."""

from datetime import datetime
from zoneinfo import ZoneInfo

from outbox.models import NotificationTarget


def is_quiet(target: NotificationTarget, now: datetime) -> bool:
    """Return whether the target is to be left in peace; hours may span midnight, and are those of its time zone."""
    if target.quiet_from is None or target.quiet_until is None:
        return False
    here = now.astimezone(ZoneInfo(target.time_zone)).time()
    if target.quiet_from < target.quiet_until:
        return target.quiet_from <= here < target.quiet_until
    return here >= target.quiet_from or here < target.quiet_until
