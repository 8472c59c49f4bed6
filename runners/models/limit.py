"""What a provider said about one account: not before then."""

from datetime import datetime

from django.db import models
from django.db.models import Q
from django.utils import timezone

from runners.models.runner import Runner


class ProviderLimit(models.Model):
    """The limit of one credential, kept after it is over: how often it was reached lately sets the next pause."""

    credential = models.CharField(max_length=100, unique=True, help_text="A fingerprint; never the secret.")
    label = models.CharField(max_length=120, help_text="For people.")
    until = models.DateTimeField()
    is_told = models.BooleanField(default=True, help_text="The provider said until when; else it is tried again then.")
    hits = models.PositiveIntegerField(default=1, help_text="How often in a row nobody said until when.")
    note = models.CharField(max_length=200, blank=True, help_text="The program's words.")
    runner = models.ForeignKey(Runner, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    reached_at = models.DateTimeField(default=timezone.now)
    cleared_at = models.DateTimeField(null=True, blank=True)
    cleared_by = models.CharField(max_length=100, blank=True)

    class Meta:
        ordering = ["-reached_at"]
        permissions = [("clear_limit", "Can clear the limit of a provider")]
        indexes = [models.Index(name="limit_in_force", fields=["until"], condition=Q(cleared_at__isnull=True))]

    def __str__(self) -> str:
        return self.label

    def in_force(self, now: datetime) -> bool:
        """Say whether it holds at that moment."""
        return self.cleared_at is None and self.until > now

    @property
    def aggregate(self) -> str:
        """Its name in the outbox."""
        return f"limit:{self.pk}"
