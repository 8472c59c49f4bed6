"""Make messages of what waits to be told: one for many events of the same trouble."""

from collections import Counter
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Count, Max, Min, QuerySet
from django.utils import timezone

from outbox import sql
from outbox.models import Notification, NotificationItem, NotificationTarget
from outbox.notifications.quiet import is_quiet
from outbox.notifications.words import TOLD, message_of
from outbox.states import Severity


def collect_due(now: datetime | None = None) -> int:
    """Make one message for each target for which something waits and whose time has come; return how many."""
    now = now or timezone.now()
    waiting = NotificationItem.objects.filter(notification=None, target__active=True)
    ids = list(waiting.order_by().values_list("target", flat=True).distinct())
    return sum(_collect(target_id, now) for target_id in ids)


@transaction.atomic
def _collect(target_id: int, now: datetime) -> bool:
    # One at a time, so that what came meanwhile is in one message and not in two.
    with connection.cursor() as cursor:
        cursor.execute(sql.LOCK_FOR_TRANSACTION, [sql.COLLECTING_LOCK])
    target = NotificationTarget.objects.get(pk=target_id)
    items = _tellable(target, now)
    first = items.aggregate(at=Min("created_at"))["at"]
    if first is None or now < _time_for(target, first):
        return False
    made = Notification.objects.create(target=target, title="", severity=Severity.INFO, event_count=0, created_at=now)
    # First, so that it tells of exactly these: others come all the time, and not in the order of their ids.
    items.update(notification=made)
    _word(made)
    return True


def _word(made: Notification) -> None:
    """Say what happened, in a message that has its items."""
    kinds = Counter(dict(made.items.order_by().values_list("event_type").annotate(count=Count("id"))))
    severities = made.items.order_by().values_list("severity", flat=True).distinct()
    made.title, made.body = message_of(list(made.items.order_by("id")[:TOLD]), kinds)
    made.severity = max(map(Severity, severities), key=lambda each: each.rank)
    made.event_count = sum(kinds.values())
    made.save(update_fields=["title", "body", "severity", "event_count"])


def _tellable(target: NotificationTarget, now: datetime) -> QuerySet[NotificationItem]:
    waiting = NotificationItem.objects.filter(target=target, notification=None)
    if not is_quiet(target, now):
        return waiting
    return waiting.filter(severity=Severity.CRITICAL) if target.critical_passes else waiting.none()


def _time_for(target: NotificationTarget, first: datetime) -> datetime:
    """Return when the next message is due: soon after the first event, but not too soon after the last message."""
    settled = first + timedelta(seconds=target.settle_seconds)
    last = target.notifications.filter(event_count__gt=0).aggregate(at=Max("created_at"))["at"]
    return settled if last is None else max(settled, last + timedelta(seconds=target.window_seconds))
