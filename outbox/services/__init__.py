"""The verbs of the outbox."""

from outbox.services.publish import enqueue, publish

__all__ = ["enqueue", "publish"]
