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
    facts = items.aggregate(first=Min("created_at"), last=Max("id"))
    if facts["first"] is None or now < _time_for(target, facts["first"]):
        return False
    # What comes while this runs is for the next message.
    items = items.filter(id__lte=facts["last"])
    kinds = Counter(dict(items.order_by().values_list("event_type").annotate(count=Count("id"))))
    severities = [Severity(each) for each in items.order_by().values_list("severity", flat=True).distinct()]
    title, body = message_of(list(items.order_by("id")[:TOLD]), kinds)
    made = Notification.objects.create(
        target=target,
        title=title,
        body=body,
        severity=max(severities, key=lambda each: each.rank),
        event_count=sum(kinds.values()),
        created_at=now,
    )
    items.update(notification=made)
    return True


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
