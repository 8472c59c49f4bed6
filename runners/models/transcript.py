"""What attempts left on their nodes' disks, in storage."""

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from runners.models.runner import Runner
from runners.models.session import Session
from runners.states import TranscriptKind


class Transcript(models.Model):
    """One file of an attempt's run directory in storage: its terminal, or its telemetry.

    It grows by parts. Redaction keeps lengths, so an offset is the same here and in the file on the node.
    """

    # Not CASCADE: what is in storage would be left there with nobody knowing of it.
    runner = models.ForeignKey(Runner, on_delete=models.PROTECT, related_name="transcripts")
    generation = models.PositiveIntegerField()
    kind = models.CharField(max_length=10, choices=TranscriptKind)
    session = models.ForeignKey(Session, on_delete=models.SET_NULL, null=True, blank=True, related_name="transcripts")
    size_bytes = models.BigIntegerField(default=0, help_text="Of the text up to which it is stored.")
    stored_bytes = models.BigIntegerField(default=0, help_text="What its parts take in storage.")
    part_count = models.PositiveIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True, help_text="Of the whole text; empty until it is complete.")
    began_at = models.DateTimeField(default=timezone.now)
    grown_at = models.DateTimeField(default=timezone.now)
    completed_at = models.DateTimeField(null=True, blank=True)
    removed_at = models.DateTimeField(null=True, blank=True, help_text="When its project's retention removed the text.")

    class Meta:
        ordering = ["runner", "generation", "kind"]
        constraints = [
            models.UniqueConstraint(name="transcript_once", fields=["runner", "generation", "kind"]),
            models.CheckConstraint(name="transcript_kind_known", condition=Q(kind__in=TranscriptKind.values)),
            models.CheckConstraint(
                name="transcript_sha256_iff_complete",
                condition=Q(completed_at__isnull=True, sha256="") | (Q(completed_at__isnull=False) & ~Q(sha256="")),
            ),
            models.CheckConstraint(
                name="transcript_removed_only_when_complete",
                condition=Q(removed_at__isnull=True) | Q(completed_at__isnull=False),
            ),
        ]
        indexes = [
            # For retention: what is still there, oldest first.
            models.Index(
                name="transcript_kept",
                fields=["completed_at"],
                condition=Q(completed_at__isnull=False, removed_at__isnull=True),
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display().lower()} of {self.runner_id}, attempt {self.generation}"

    @property
    def is_complete(self) -> bool:
        return self.completed_at is not None


class TranscriptPart(models.Model):
    """Some of a transcript's text, as one zstd frame in storage. Parts follow each other without a gap."""

    transcript = models.ForeignKey(Transcript, on_delete=models.CASCADE, related_name="parts")
    number = models.PositiveIntegerField(help_text="From 0.")
    start_offset = models.BigIntegerField(help_text="Of the text.")
    end_offset = models.BigIntegerField()
    name = models.CharField(max_length=255, help_text="In storage.")
    stored_bytes = models.BigIntegerField()
    sha256 = models.CharField(max_length=64, help_text="Of what is stored.")
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["transcript", "number"]
        constraints = [
            models.UniqueConstraint(name="transcript_part_once", fields=["transcript", "number"]),
            models.CheckConstraint(name="transcript_part_not_empty", condition=Q(end_offset__gt=F("start_offset"))),
        ]

    def __str__(self) -> str:
        return self.name
