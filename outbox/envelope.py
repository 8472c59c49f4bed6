"""An entry on its way out, and the CloudEvents envelope it travels in."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from outbox.states import Kind

CONTENT_TYPE = "application/cloudevents+json"
#: CloudEvents' "source": what produced the event. With `id` it identifies an event for ever.
SOURCE = "/stratavore"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An entry as a sink sees it; a handler is called with one. `data` is JSON text."""

    id: int
    lane: int
    event_id: UUID
    kind: str
    type: str
    aggregate: str
    subject: str
    routing_key: str
    data: str
    traceparent: str
    created_at: datetime
    sequence: int

    @property
    def is_event(self) -> bool:
        return self.kind == Kind.EVENT

    @property
    def payload(self) -> Any:
        """The data as Python values."""
        return json.loads(self.data)


def cloud_event(event: Outgoing) -> bytes:
    """Return the event in CloudEvents 1.0's structured JSON mode.

    The data is JSON already, as the database wrote it: it is put in, not read and written again.
    """
    head: dict[str, Any] = {
        "specversion": "1.0",
        "id": str(event.event_id),
        "source": SOURCE,
        "type": event.type,
        "time": event.created_at.isoformat(),
        "datacontenttype": "application/json",
        "sequence": event.sequence,
        "aggregate": event.aggregate,
    }
    if event.subject:
        head["subject"] = event.subject
    if event.traceparent:
        head["traceparent"] = event.traceparent
    return f'{json.dumps(head)[:-1]}, "data": {event.data}}}'.encode()
