"""Numbers as people read them. Every page and every live row is formatted here, so the two never differ."""

from datetime import datetime
from decimal import Decimal

UNKNOWN = "unknown"
#: Nothing was measured, and nothing could be: a runner without a process has no memory.
NONE = "–"  # noqa: RUF001 - an en dash is meant


def tokens(count: int | None) -> str:
    """Return 950, 12.4k, 3.10M; None is unknown, never 0."""
    if count is None:
        return UNKNOWN
    if count < 1_000:
        return str(count)
    if count < 999_950:
        return f"{count / 1_000:.1f}k"
    return f"{count / 1_000_000:.2f}M"


def dollars(cost: Decimal | None, *, complete: bool = True) -> str:
    """Return $1.24, or more digits below a cent; None is unknown. An incomplete sum is at least that much."""
    if cost is None:
        return UNKNOWN
    digits = 2 if cost >= 1 or cost == 0 else 4
    return f"{'' if complete else '≥ '}${cost:,.{digits}f}"


def megabytes(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:.0f} MB" if value < 1_000 else f"{value / 1_024:.1f} GB"


def size(byte_count: int | None) -> str:
    """Return bytes with a binary unit."""
    if byte_count is None:
        return NONE
    value, unit = float(byte_count), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1_000 or unit == "GB":
            break
        value /= 1_024
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"


def percent(value: float | None) -> str:
    return NONE if value is None else f"{value:.0f} %"


def seconds(duration: float | None) -> str:
    """Return 42 s, 3 m 07 s, 2 h 05 m, 3 d 4 h. static/js/times.js counts on in the same words."""
    if duration is None:
        return NONE
    total = max(int(duration), 0)
    minutes, rest = divmod(total, 60)
    hours, minutes_left = divmod(minutes, 60)
    days, hours_left = divmod(hours, 24)
    if not minutes:
        return f"{rest} s"
    if not hours:
        return f"{minutes} m {rest:02} s"
    return f"{hours} h {minutes_left:02} m" if not days else f"{days} d {hours_left} h"


def instant(at: datetime | None) -> str | None:
    """Return an ISO time for a `datetime` attribute."""
    return at.isoformat(timespec="milliseconds") if at else None
