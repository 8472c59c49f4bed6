"""Try again what was given up."""

from django.utils import timezone

from outbox.querysets import EntryQuerySet
from outbox.services.wake import wake_after_commit
from outbox.states import Status


def retry(entries: EntryQuerySet) -> int:
    """Give the dead among `entries` a new life, due now, with all their attempts; return how many there were.

    They arrive late: later entries of their aggregates went out meanwhile. `sequence` says where they belong.
    """
    count = entries.dead().update(status=Status.PENDING, attempts=0, next_attempt_at=timezone.now())
    if count:
        wake_after_commit()
    return count
