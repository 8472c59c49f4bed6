"""One verb done to many items in the background, with what came of each."""

import uuid

from django.db import models
from django.db.models import Q
from django.utils import timezone

from runners.states import ItemResult, OperationStatus


class Operation(models.Model):
    """What was asked for, and how far it is. Its items were chosen when it began; the filter is kept for people."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    verb = models.CharField(max_length=60, help_text="As in runner.stop; see runners/services/operations.")
    filter = models.JSONField(default=dict, blank=True)
    parameters = models.JSONField(default=dict, blank=True)
    actor = models.CharField(max_length=100)
    status = models.CharField(max_length=10, choices=OperationStatus, default=OperationStatus.PENDING)
    total = models.PositiveIntegerField(default=0)
    done = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    skipped = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    progressed_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)
    cancelled_by = models.CharField(max_length=100, blank=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(name="operation_status_known", condition=Q(status__in=OperationStatus.values)),
            models.CheckConstraint(
                name="operation_ended_at_iff_ended",
                condition=Q(status__in=[OperationStatus.DONE, OperationStatus.CANCELLED], ended_at__isnull=False)
                | (Q(status__in=[OperationStatus.PENDING, OperationStatus.RUNNING], ended_at__isnull=True)),
            ),
        ]
        indexes = [models.Index(name="operation_newest", fields=["-created_at"])]

    def __str__(self) -> str:
        return f"{self.verb} on {self.total}"

    @property
    def aggregate(self) -> str:
        """Its name in the outbox."""
        return f"operation:{self.pk}"

    @property
    def is_open(self) -> bool:
        return self.status in {OperationStatus.PENDING, OperationStatus.RUNNING}

    @property
    def handled(self) -> int:
        return self.done + self.failed + self.skipped


class OperationItem(models.Model):
    """One item of an operation, and what came of it."""

    operation = models.ForeignKey(Operation, on_delete=models.CASCADE, related_name="items")
    target_id = models.CharField(max_length=64)
    name = models.CharField(max_length=200, blank=True, help_text="As it was called when the operation began.")
    result = models.CharField(max_length=10, choices=ItemResult, default=ItemResult.PENDING)
    message = models.TextField(blank=True, help_text="Why it was skipped or failed.")
    at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(name="operation_item_once", fields=["operation", "target_id"]),
            models.CheckConstraint(name="operation_item_result_known", condition=Q(result__in=ItemResult.values)),
        ]
        indexes = [
            models.Index(
                name="operation_item_pending", fields=["operation", "id"], condition=Q(result=ItemResult.PENDING)
            )
        ]

    def __str__(self) -> str:
        return f"{self.name}: {self.result}"
