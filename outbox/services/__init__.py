"""The verbs of the outbox."""

from outbox.services.audit import record_act
from outbox.services.publish import enqueue, publish

__all__ = ["enqueue", "publish", "record_act"]
