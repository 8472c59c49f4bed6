"""Note how the outbox fares, once a minute."""

from datetime import timedelta

from django.utils import timezone

from outbox.metrics import backlog
from outbox.models import OutboxSample
from outbox.services.number import number_committed

#: A week back, a chart still shows the last release.
KEPT = timedelta(days=7)


def take_sample() -> OutboxSample:
    """Write the present backlog down, and forget what is older than a week."""
    now = timezone.now()
    sequence = number_committed()
    pending, dead, lag = backlog()
    OutboxSample.objects.filter(at__lt=now - KEPT).delete()
    return OutboxSample.objects.create(at=now, pending=pending, dead=dead, lag_seconds=lag, sequence=sequence)
