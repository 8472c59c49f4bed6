"""The verbs of the outbox."""

from outbox.services.alert import alert
from outbox.services.audit import Act, record_act, record_acts
from outbox.services.bunch import bunched
from outbox.services.publish import Event, Task, enqueue, publish, publish_many

__all__ = [
    "Act",
    "Event",
    "Task",
    "alert",
    "bunched",
    "enqueue",
    "publish",
    "publish_many",
    "record_act",
    "record_acts",
]
