"""What the outbox keeps."""

from outbox.models.audit import AuditCheck, AuditEntry, AuditSeal
from outbox.models.entry import Entry
from outbox.models.notification import Notification, NotificationItem, NotificationRule, NotificationTarget
from outbox.models.sample import OutboxSample
from outbox.models.webhook import Webhook, WebhookAttempt, WebhookDelivery

__all__ = [
    "AuditCheck",
    "AuditEntry",
    "AuditSeal",
    "Entry",
    "Notification",
    "NotificationItem",
    "NotificationRule",
    "NotificationTarget",
    "OutboxSample",
    "Webhook",
    "WebhookAttempt",
    "WebhookDelivery",
]
