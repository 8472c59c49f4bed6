"""Forget what was delivered long ago."""

from datetime import timedelta

from django.conf import settings
from django.db import connection
from django.utils import timezone

from outbox import sql
from outbox.querysets import EntryQuerySet

#: Rows deleted in one statement: some 50 ms, so that autovacuum and other writers keep up.
CHUNK = 5_000


def purge_delivered() -> int:
    """Delete delivered entries older than OUTBOX_RETENTION_DAYS, oldest first; return how many.

    What is pending or dead stays however old it is, and so does the newest entry: it says how far the stream reaches.
    """
    before = timezone.now() - timedelta(days=settings.OUTBOX_RETENTION_DAYS)
    deleted = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(sql.PURGE_DELIVERED, {"before": before, "limit": CHUNK})
            deleted += int(cursor.rowcount)
            if cursor.rowcount < CHUNK:
                return deleted


def purge_dead(entries: EntryQuerySet) -> int:
    """Delete the dead among `entries`: nobody will deliver them. Return how many there were."""
    count, _ = entries.dead().delete()
    return count
