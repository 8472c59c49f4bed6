"""Webhooks: who wants to be told of which events, and what became of each telling."""

import uuid

from django.db import models
from django.db.models import Q

from outbox.querysets import WebhookDeliveryQuerySet, WebhookQuerySet
from outbox.states import DeliveryStatus


class Webhook(models.Model):
    """A receiver: an address, a secret to sign with, and the events it wants."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    url = models.CharField(max_length=2_000)
    description = models.CharField(max_length=200, blank=True)
    event_types = models.JSONField(default=list, help_text="Patterns of event types: runner.*, session.created, *.")
    projects = models.JSONField(
        default=list, blank=True, help_text="Only events of these projects; what has no project comes anyway."
    )
    #: Encrypted (outbox/encryption.py).
    secret = models.TextField()
    previous_secret = models.TextField(blank=True)
    #: Until then every request is signed with the previous secret as well.
    previous_secret_until = models.DateTimeField(null=True)
    active = models.BooleanField(default=True)
    disabled_reason = models.CharField(max_length=200, blank=True)
    #: The first failure since the last success.
    failing_since = models.DateTimeField(null=True)
    #: The receiver asked to be left alone until then.
    resting_until = models.DateTimeField(null=True)
    created_by = models.CharField(max_length=100)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = WebhookQuerySet.as_manager()

    class Meta:
        ordering = ["created_at"]
        constraints = [
            models.CheckConstraint(
                name="webhook_previous_secret_ends",
                condition=Q(previous_secret="", previous_secret_until__isnull=True)
                | (~Q(previous_secret="") & Q(previous_secret_until__isnull=False)),
            ),
            models.CheckConstraint(
                name="webhook_active_has_no_reason", condition=Q(active=False) | Q(disabled_reason="")
            ),
        ]

    def __str__(self) -> str:
        return self.description or self.url

    @property
    def aggregate(self) -> str:
        return f"webhook:{self.pk}"


class WebhookDelivery(models.Model):
    """One event for one webhook. The body is made from the outbox entry, which has the event's id."""

    id = models.BigAutoField(primary_key=True)
    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    event_id = models.UUIDField()
    event_type = models.CharField(max_length=100)
    sequence = models.BigIntegerField()
    status = models.CharField(max_length=10, choices=DeliveryStatus, default=DeliveryStatus.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True)
    #: A worker is sending it; if that worker dies, another may take it from then on.
    leased_until = models.DateTimeField(null=True)
    #: The last attempt is made then.
    give_up_at = models.DateTimeField()
    error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    settled_at = models.DateTimeField(null=True)

    objects = WebhookDeliveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "webhook deliveries"
        constraints = [
            # What makes repeats of the outbox harmless.
            models.UniqueConstraint(name="webhook_delivery_once", fields=["webhook", "event_id"]),
            models.CheckConstraint(name="webhook_delivery_status_known", condition=Q(status__in=DeliveryStatus.values)),
            models.CheckConstraint(
                name="webhook_delivery_pending_is_due",
                condition=Q(status=DeliveryStatus.PENDING, next_attempt_at__isnull=False, settled_at__isnull=True)
                | (
                    ~Q(status=DeliveryStatus.PENDING)
                    & Q(next_attempt_at__isnull=True, leased_until__isnull=True, settled_at__isnull=False)
                ),
            ),
            models.CheckConstraint(
                name="webhook_delivery_failed_says_why", condition=~Q(status=DeliveryStatus.FAILED) | ~Q(error="")
            ),
        ]
        indexes = [
            models.Index(
                name="webhook_delivery_due",
                fields=["webhook", "next_attempt_at"],
                condition=Q(status=DeliveryStatus.PENDING),
            ),
            models.Index(name="webhook_delivery_log", fields=["webhook", "-id"]),
            models.Index(name="webhook_delivery_settled", fields=["settled_at"]),
        ]

    def __str__(self) -> str:
        return f"{self.event_type} {self.event_id}"


class WebhookAttempt(models.Model):
    """One request and its answer."""

    id = models.BigAutoField(primary_key=True)
    delivery = models.ForeignKey(WebhookDelivery, on_delete=models.CASCADE, related_name="attempt_list")
    number = models.PositiveSmallIntegerField()
    at = models.DateTimeField()
    duration_ms = models.PositiveIntegerField()
    request_headers = models.JSONField(default=dict)
    #: Null: no answer came.
    answer_status = models.PositiveSmallIntegerField(null=True)
    answer_headers = models.JSONField(default=dict)
    answer_body = models.TextField(blank=True, help_text="Its beginning.")
    error = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(name="webhook_attempt_once", fields=["delivery", "number"])]

    def __str__(self) -> str:
        return f"attempt {self.number}"
