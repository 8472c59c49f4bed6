"""Notifications: who is told of which events, what waits to be told, and what became of each message."""

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from outbox.states import NotificationStatus, Severity


class NotificationTarget(models.Model):
    """Where messages go: an Apprise URL, how messages are grouped, and when it is to be left in peace."""

    name = models.SlugField(max_length=60, unique=True)
    #: Encrypted (outbox/encryption.py): Apprise URLs are made of tokens and passwords.
    url = models.TextField()
    shown = models.CharField(max_length=200, help_text="What may be shown of the URL.")
    active = models.BooleanField(default=True)
    settle_seconds = models.PositiveIntegerField(
        default=5, help_text="After the first event so long is waited for others of the same trouble."
    )
    window_seconds = models.PositiveIntegerField(
        default=60, help_text="After a message so long is collected before the next."
    )
    quiet_from = models.TimeField(null=True, blank=True)
    quiet_until = models.TimeField(null=True, blank=True)
    time_zone = models.CharField(max_length=60, default="UTC")
    critical_passes = models.BooleanField(default=True, help_text="What is critical comes in quiet hours, too.")
    created_by = models.CharField(max_length=100)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                name="notification_target_quiet_both_or_none",
                condition=Q(quiet_from__isnull=True, quiet_until__isnull=True)
                | Q(quiet_from__isnull=False, quiet_until__isnull=False) & ~Q(quiet_from=F("quiet_until")),
            )
        ]

    def __str__(self) -> str:
        return self.name


class NotificationRule(models.Model):
    """Which events a target is told of. One rule that fits suffices."""

    target = models.ForeignKey(NotificationTarget, on_delete=models.CASCADE, related_name="rules")
    event_types = models.JSONField(default=list, help_text="Patterns of event types: runner.*, system.alert, *.")
    severity = models.CharField(
        max_length=10, choices=Severity, default=Severity.WARNING, help_text="Only events that matter as much or more."
    )
    projects = models.JSONField(
        default=list, blank=True, help_text="Only events of these projects; what has no project comes anyway."
    )

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(name="notification_rule_severity_known", condition=Q(severity__in=Severity.values))
        ]

    def __str__(self) -> str:
        return f"{', '.join(self.event_types)} from {self.severity}"


class Notification(models.Model):
    """One message to one target, and what became of it: the log."""

    target = models.ForeignKey(NotificationTarget, on_delete=models.CASCADE, related_name="notifications")
    title = models.CharField(max_length=250)
    body = models.TextField(blank=True)
    severity = models.CharField(max_length=10, choices=Severity)
    event_count = models.PositiveIntegerField(help_text="How many events it tells of; 0: a test.")
    status = models.CharField(max_length=10, choices=NotificationStatus, default=NotificationStatus.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    #: Also the lease of whoever sends it: if that worker dies, another takes it from then on.
    next_attempt_at = models.DateTimeField(null=True, default=timezone.now)
    error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    settled_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(name="notification_status_known", condition=Q(status__in=NotificationStatus.values)),
            models.CheckConstraint(
                name="notification_pending_is_due",
                condition=Q(status=NotificationStatus.PENDING, next_attempt_at__isnull=False, settled_at__isnull=True)
                | ~Q(status=NotificationStatus.PENDING) & Q(next_attempt_at__isnull=True, settled_at__isnull=False),
            ),
            models.CheckConstraint(
                name="notification_failed_says_why", condition=~Q(status=NotificationStatus.FAILED) | ~Q(error="")
            ),
        ]
        indexes = [
            models.Index(
                name="notification_due", fields=["next_attempt_at"], condition=Q(status=NotificationStatus.PENDING)
            ),
            models.Index(name="notification_log", fields=["target", "-id"]),
        ]

    def __str__(self) -> str:
        return self.title


class NotificationItem(models.Model):
    """One event that a target is to be told of; without a notification it still waits to be collected."""

    id = models.BigAutoField(primary_key=True)
    target = models.ForeignKey(NotificationTarget, on_delete=models.CASCADE, related_name="items")
    notification = models.ForeignKey(Notification, on_delete=models.CASCADE, null=True, related_name="items")
    event_id = models.UUIDField()
    event_type = models.CharField(max_length=100)
    severity = models.CharField(max_length=10, choices=Severity)
    text = models.CharField(max_length=300)
    at = models.DateTimeField(help_text="When the event happened.")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["id"]
        constraints = [
            # What makes repeats of the outbox harmless.
            models.UniqueConstraint(name="notification_item_once", fields=["target", "event_id"]),
            models.CheckConstraint(name="notification_item_severity_known", condition=Q(severity__in=Severity.values)),
        ]
        indexes = [
            models.Index(name="notification_item_waiting", fields=["target", "id"], condition=Q(notification=None))
        ]

    def __str__(self) -> str:
        return self.text
