"""The outbox table: what happened and what must be done, until delivered."""

import uuid

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q

from outbox.querysets import EntryQuerySet
from outbox.states import Kind, Status


class Entry(models.Model):
    """An event or a task, written in the transaction of the change it tells of.

    `sequence` is the position in the event stream. It is given after commit, in commit order of the numbering
    itself (outbox/sql.py), so that a reader who remembers the last one it saw misses nothing.
    """

    id = models.BigAutoField(primary_key=True)
    event_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    kind = models.CharField(max_length=8, choices=Kind)
    type = models.CharField(max_length=100, help_text="Event type, or the task's name.")
    aggregate = models.CharField(max_length=100, help_text="What keeps its order: runner:<id>, project:<name>, ...")
    lane = models.SmallIntegerField()
    subject = models.CharField(max_length=200, blank=True, help_text="What the event is about, for its readers.")
    routing_key = models.CharField(max_length=255, help_text="Topic of an event; queue of a task.")
    data = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    traceparent = models.CharField(max_length=55, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    sequence = models.BigIntegerField(null=True, unique=True)
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    max_attempts = models.PositiveSmallIntegerField(default=12)
    next_attempt_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True)
    delivered_at = models.DateTimeField(null=True)

    objects = EntryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "entries"
        constraints = [
            models.CheckConstraint(name="entry_kind_known", condition=Q(kind__in=Kind.values)),
            models.CheckConstraint(name="entry_status_known", condition=Q(status__in=Status.values)),
            models.CheckConstraint(
                name="entry_delivered_at_iff_delivered",
                condition=Q(status=Status.DELIVERED, delivered_at__isnull=False)
                | (~Q(status=Status.DELIVERED) & Q(delivered_at__isnull=True)),
            ),
        ]
        indexes = [
            # Undelivered rows only: the index stays small however long the history grows.
            models.Index(name="entry_pending", fields=["lane", "id"], condition=Q(status=Status.PENDING)),
            models.Index(name="entry_blocking", fields=["aggregate", "id"], condition=~Q(status=Status.DELIVERED)),
            models.Index(name="entry_unnumbered", fields=["id"], condition=Q(sequence__isnull=True, kind=Kind.EVENT)),
            models.Index(name="entry_dead", fields=["id"], condition=Q(status=Status.DEAD)),
            models.Index(name="entry_aggregate", fields=["aggregate", "sequence"]),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.subject or self.aggregate}"
