"""What the outbox keeps."""

from outbox.models.audit import AuditEntry, AuditSeal
from outbox.models.entry import Entry
from outbox.models.webhook import Webhook, WebhookAttempt, WebhookDelivery

__all__ = ["AuditEntry", "AuditSeal", "Entry", "Webhook", "WebhookAttempt", "WebhookDelivery"]
