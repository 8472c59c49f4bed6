"""What an outbox entry is, and how far its delivery has come."""

from django.db.models import TextChoices


class Kind(TextChoices):
    EVENT = "event", "Event"
    TASK = "task", "Task"


class Status(TextChoices):
    """pending > delivered | dead; dead > pending (by hand)."""

    PENDING = "pending", "Pending"
    DELIVERED = "delivered", "Delivered"
    DEAD = "dead", "Dead"


class Source(TextChoices):
    """By which door an act came."""

    PAGE = "page", "Dashboard"
    API = "api", "API"
    ADMIN = "admin", "Admin"
    CLI = "cli", "Command line"
    TASK = "task", "Task"
    SYSTEM = "system", "System"


class DeliveryStatus(TextChoices):
    """Of a webhook's delivery. pending > delivered | failed; both > pending (by hand)."""

    PENDING = "pending", "Pending"
    DELIVERED = "delivered", "Delivered"
    FAILED = "failed", "Failed"


class Severity(TextChoices):
    """How much an event matters to people who are told of it."""

    INFO = "info", "Info"
    WARNING = "warning", "Warning"
    CRITICAL = "critical", "Critical"

    @property
    def rank(self) -> int:
        return list(Severity).index(self)


class NotificationStatus(TextChoices):
    """pending > sent | failed; failed > pending (by hand)."""

    PENDING = "pending", "Pending"
    SENT = "sent", "Sent"
    FAILED = "failed", "Failed"
