"""Time zones by name."""

from functools import cache
from zoneinfo import available_timezones

from django.core.exceptions import ValidationError


@cache
def zone_names() -> frozenset[str]:
    """Return the names there are. Reading them from the disk takes 50 ms: once a process is enough."""
    return frozenset(available_timezones() - {"localtime"})


def validate_zone(name: str) -> None:
    """Raise ValidationError if there is no such time zone."""
    if name not in zone_names():
        raise ValidationError(f"There is no time zone {name!r}: write it as Europe/Berlin.")
