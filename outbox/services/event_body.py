"""The body of an event's messages, made from what the outbox keeps."""

from collections.abc import Sequence
from uuid import UUID

from django.db import connection

from outbox import sql
from outbox.envelope import Outgoing, cloud_event


def bodies_of(event_ids: Sequence[UUID]) -> dict[UUID, bytes]:
    """Return the envelopes of those of these events that are still kept: the same bytes for every reader."""
    if not event_ids:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(sql.EVENTS_BY_ID, [list(event_ids)])
        return {event.event_id: cloud_event(event) for event in (Outgoing(*row) for row in cursor.fetchall())}


def body_of(event_id: UUID) -> bytes | None:
    """Return one event's envelope, or None when it is no longer kept."""
    return bodies_of([event_id]).get(event_id)
