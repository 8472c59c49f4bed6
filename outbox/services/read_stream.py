"""Read the event stream by position."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection

from outbox import sql
from outbox.envelope import Outgoing
from outbox.models import Entry
from outbox.services.number import number_committed

#: Events in one page, and positions looked at for it: with a filter that lets little pass, a look stays short.
PAGE = 200
WINDOW = 20_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """Patterns of types, one of which must match, and projects; empty: all. What has no project comes anyway."""

    types: Sequence[str] = ()
    projects: Sequence[str] = ()

    @property
    def expression(self) -> str:
        """Return the patterns as one regular expression of PostgreSQL's; they hold no other special characters."""
        alternatives = "|".join(re.escape(pattern).replace(r"\*", ".*") for pattern in self.types)
        return f"^({alternatives or '.*'})$"


@dataclass(frozen=True, slots=True)
class Page:
    """Events, and the position up to which there are no others that are wanted."""

    events: list[Outgoing]
    reached: int


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where a reader starts; `reset` says why that is not where it left off, and is empty otherwise."""

    position: int
    reset: str = ""


def beginning(left_off: int | None) -> Beginning:
    """Return where a reader starts that has read up to `left_off`; one that has read nothing yet, at the end.

    0 is the beginning of what is kept.
    """
    end = number_committed()
    if left_off is None:
        return Beginning(end)
    if left_off > end:
        return Beginning(0, "That position is not in this stream: the database is another one.")
    if 0 < left_off < purged_through():
        return Beginning(left_off, "Events past that position are no longer kept.")
    return Beginning(left_off)


def read_page(position: int, wanted: Wanted, *, end: int | None = None) -> Page:
    """Return the first wanted events past `position`, at most PAGE, and how far was looked."""
    reached = min(number_committed() if end is None else end, _window_end(position))
    with connection.cursor() as cursor:
        cursor.execute(
            sql.STREAM_PAGE,
            {
                "after": position,
                "end": reached,
                "types": wanted.expression,
                "projects": list(wanted.projects) or None,
                "limit": PAGE,
            },
        )
        events = [Outgoing(*row) for row in cursor.fetchall()]
    return Page(events, events[-1].sequence if len(events) == PAGE else reached)


def purged_through() -> int:
    """Return the highest position that retention has deleted; 0 when none was."""
    with connection.cursor() as cursor:
        cursor.execute(sql.PURGED_THROUGH)
        (position,) = cursor.fetchone() or (0,)
    return int(position)


def _window_end(position: int) -> int:
    """Return the last position to look at, counted from the next that exists: numbers may have long gaps."""
    following = Entry.objects.filter(sequence__gt=position).order_by("sequence").values_list("sequence", flat=True)
    return int(following.first() or position) + WINDOW
