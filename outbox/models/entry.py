"""The outbox table: what happened and what must be done, until delivered."""

import uuid

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q

from outbox.querysets import EntryQuerySet
from outbox.states import Kind, Status


class Entry(models.Model):
    """An event or a task, written in the transaction of the change it tells of.

    `sequence` is the position in the stream. It is given after commit, in commit order of the numbering
    itself (services/number.py), so that a reader who remembers the last one it saw misses nothing. Tasks
    take numbers too: a reader of events sees gaps, never a number twice or late.
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

    sequence = models.BigIntegerField(null=True)
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    max_attempts = models.PositiveSmallIntegerField(default=12)
    #: Set by the first failure only: what was never tried is due at once and carries no time.
    next_attempt_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True)
    delivered_at = models.DateTimeField(null=True)

    objects = EntryQuerySet.as_manager()

    class Meta:
        verbose_name = "outbox entry"
        verbose_name_plural = "outbox entries"
        constraints = [
            # What has no position yet is in no index of positions: a writer pays for three, not five.
            models.UniqueConstraint(name="entry_sequence", fields=["sequence"], condition=Q(sequence__isnull=False)),
            models.CheckConstraint(name="entry_kind_known", condition=Q(kind__in=Kind.values)),
            models.CheckConstraint(name="entry_status_known", condition=Q(status__in=Status.values)),
            models.CheckConstraint(name="entry_lane_not_negative", condition=Q(lane__gte=0)),
            models.CheckConstraint(
                name="entry_sequence_positive", condition=Q(sequence__isnull=True) | Q(sequence__gt=0)
            ),
            models.CheckConstraint(name="entry_max_attempts_positive", condition=Q(max_attempts__gt=0)),
            models.CheckConstraint(
                name="entry_delivered_at_iff_delivered",
                condition=Q(status=Status.DELIVERED, delivered_at__isnull=False)
                | (~Q(status=Status.DELIVERED) & Q(delivered_at__isnull=True)),
            ),
            # Order is kept by the number: nothing leaves without one.
            models.CheckConstraint(
                name="entry_settled_is_numbered",
                condition=Q(status=Status.PENDING) | Q(sequence__isnull=False),
            ),
            models.CheckConstraint(
                name="entry_dead_says_why",
                condition=~Q(status=Status.DEAD) | (Q(attempts__gt=0) & ~Q(error="")),
            ),
        ]
        indexes = [
            # The relay's indexes hold undelivered rows only: they stay small however long the history grows.
            models.Index(name="entry_unnumbered", fields=["id"], condition=Q(sequence__isnull=True)),
            models.Index(
                name="entry_fresh",
                fields=["lane", "sequence"],
                condition=Q(status=Status.PENDING, sequence__isnull=False, next_attempt_at__isnull=True),
            ),
            models.Index(
                name="entry_failed",
                fields=["aggregate", "sequence"],
                condition=Q(status=Status.PENDING, next_attempt_at__isnull=False),
            ),
            models.Index(name="entry_dead", fields=["id"], condition=Q(status=Status.DEAD)),
            models.Index(name="entry_history", fields=["aggregate", "sequence"], condition=Q(sequence__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.subject or self.aggregate}"
