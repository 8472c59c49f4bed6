"""How the outbox fared, minute by minute."""

from django.db import models


class OutboxSample(models.Model):
    """The backlog at one moment; what the admin's chart is drawn from."""

    at = models.DateTimeField(primary_key=True)
    pending = models.PositiveIntegerField()
    dead = models.PositiveIntegerField()
    lag_seconds = models.FloatField(help_text="Age of the oldest entry that waits; 0 when none does.")
    #: How far the stream reached: the difference of two samples is what was written between them.
    sequence = models.BigIntegerField()

    class Meta:
        ordering = ["at"]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M}"
