"""Forget what was delivered long ago."""

from datetime import timedelta

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from outbox import sql
from outbox.models import Notification, NotificationItem
from outbox.querysets import EntryQuerySet
from outbox.services.audit import record_act
from outbox.services.retry import sample

#: Rows deleted in one statement: some 50 ms, so that autovacuum and other writers keep up.
CHUNK = 5_000


def purge_delivered() -> int:
    """Delete delivered entries older than OUTBOX_RETENTION_DAYS, oldest first; return how many.

    What is pending or dead stays however old it is, and so does the newest entry: it says how far the stream reaches.
    """
    return _purge(sql.PURGE_DELIVERED, settings.OUTBOX_RETENTION_DAYS)


def purge_deliveries() -> int:
    """Delete webhooks' deliveries settled over WEBHOOK_RETENTION_DAYS ago, with their attempts; return how many."""
    return _purge(sql.PURGE_DELIVERIES, settings.WEBHOOK_RETENTION_DAYS)


def purge_notifications() -> int:
    """Delete messages settled over OUTBOX_RETENTION_DAYS ago, with what they told of; return how many."""
    before = timezone.now() - timedelta(days=settings.OUTBOX_RETENTION_DAYS)
    old = Notification.objects.filter(settled_at__lt=before)
    NotificationItem.objects.filter(notification__in=old).delete()
    count, _ = old.delete()
    return count


def _purge(statement: str, days: int) -> int:
    before = timezone.now() - timedelta(days=days)
    deleted = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(statement, {"before": before, "limit": CHUNK})
            deleted += int(cursor.rowcount)
            if cursor.rowcount < CHUNK:
                return deleted


@transaction.atomic
def purge_dead(entries: EntryQuerySet, *, actor: str) -> int:
    """Delete the dead among `entries`: nobody will deliver them. Return how many there were."""
    events = sample(entries.dead())
    count, _ = entries.dead().delete()
    if count:
        before = {"count": count, "events": events}
        record_act("outbox.purge", actor=actor, target_type="outbox", target_id="dead", before=before)
    return count
