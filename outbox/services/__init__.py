"""The verbs of the outbox."""

from outbox.services.alert import alert
from outbox.services.audit import record_act
from outbox.services.publish import enqueue, publish

__all__ = ["alert", "enqueue", "publish", "record_act"]
