"""A conversation and its messages."""

import uuid

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.utils import timezone

from runners.models.project import Project
from runners.states import Beginning, CostSource, Role


class Session(models.Model):
    """One conversation with an agent program; it may span several runners by resume.

    The totals are kept in the transaction that writes the messages and usage entries they sum up.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="sessions")
    backend = models.CharField(max_length=40)
    external_id = models.CharField(max_length=100, blank=True, help_text="The program's own id of the conversation.")
    title = models.CharField(max_length=200, blank=True)
    began = models.CharField(max_length=10, choices=Beginning, default=Beginning.NEW)
    resumed_from = models.ForeignKey(
        "self",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="resumed_by",
        help_text="The session of which it is a fork, or from whose transcript it was rebuilt.",
    )
    forked_at = models.ForeignKey(
        "Message",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="The last message of that session which it knows; empty: all.",
    )
    rebuilt_because = models.CharField(
        max_length=200, blank=True, help_text="Why the program could not go on in its own conversation."
    )
    started_at = models.DateTimeField(default=timezone.now)
    last_message_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    message_count = models.PositiveIntegerField(default=0)
    input_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    cache_read_tokens = models.BigIntegerField(default=0)
    cache_write_tokens = models.BigIntegerField(default=0)
    cost_usd = models.DecimalField(
        max_digits=14,
        decimal_places=8,
        null=True,
        blank=True,
        help_text="Sum of the known costs; empty: none is known.",
    )
    cost_source = models.CharField(max_length=10, choices=CostSource, default=CostSource.UNKNOWN)

    class Meta:
        ordering = ["-started_at"]
        constraints = [
            models.UniqueConstraint(
                name="session_external_id_once", fields=["backend", "external_id"], condition=~Q(external_id="")
            ),
            models.CheckConstraint(name="session_began_known", condition=Q(began__in=Beginning.values)),
            models.CheckConstraint(name="session_cost_source_known", condition=Q(cost_source__in=CostSource.values)),
        ]
        indexes = [models.Index(name="session_newest", fields=["-started_at"])]

    def __str__(self) -> str:
        return self.title or f"session {str(self.pk)[:8]}"

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens + self.cache_read_tokens + self.cache_write_tokens


class Message(models.Model):
    """One thing said or done in a session. `key` is the program's own id of it: a repeat is dropped."""

    # Without an index of its own: message_in_order serves it.
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="messages", db_index=False)
    runner = models.ForeignKey("runners.Runner", on_delete=models.SET_NULL, null=True, related_name="messages")
    key = models.CharField(max_length=120)
    role = models.CharField(max_length=10, choices=Role)
    text = models.TextField(blank=True)
    tool_name = models.CharField(max_length=100, blank=True)
    tool_input = models.JSONField(null=True, blank=True, encoder=DjangoJSONEncoder)
    is_error = models.BooleanField(default=False)
    call_id = models.CharField(
        max_length=100, blank=True, help_text="Of the use of a tool and of its result: the same, as far as known."
    )
    anchor = models.CharField(
        max_length=100, blank=True, help_text="The program's own id of this place; it can be forked from here."
    )
    at = models.DateTimeField()

    # Of a long one the row holds the beginning: the whole stands in the record of its runner's telemetry.
    more_characters = models.PositiveIntegerField(default=0, help_text="How many were left out.")
    record_attempt = models.PositiveIntegerField(null=True, blank=True)
    record_offset = models.BigIntegerField(null=True, blank=True, help_text="In bytes, of the transcript too.")
    record_bytes = models.PositiveIntegerField(null=True, blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(name="message_key_once", fields=["session", "key"]),
            models.CheckConstraint(name="message_role_known", condition=Q(role__in=Role.values)),
        ]
        indexes = [models.Index(name="message_in_order", fields=["session", "id"])]

    def __str__(self) -> str:
        return f"{self.role}: {self.text[:60]}"
