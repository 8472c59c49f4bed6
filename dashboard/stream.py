"""Where the event stream stands, and what it holds past a position."""

from dataclasses import dataclass

from django.db.models import Max

from outbox.models import Entry
from outbox.services.number import number_committed


@dataclass(frozen=True)
class Position:
    """A place in one stream. Positions of different epochs cannot be compared."""

    epoch: str
    sequence: int


def position() -> Position:
    """Return where the stream stands now. Read it before the rows: then updates may repeat them, never miss one."""
    return Position(epoch(), Entry.objects.aggregate(top=Max("sequence"))["top"] or 0)


def advance() -> Position:
    """Number what has committed, and return where the stream stands; makes good for a relay that is away."""
    number_committed()
    return position()


def epoch() -> str:
    """Return the id of this stream: its oldest event's. A database that was reset or replaced has another.

    Dropping old events changes it too; then clients start from a snapshot once, which is harmless.
    """
    oldest = (
        Entry.objects.filter(sequence__isnull=False).order_by("sequence").values_list("event_id", flat=True).first()
    )
    return oldest.hex[:16] if oldest else "empty"
