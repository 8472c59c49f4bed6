"""Send messages to their targets, again and again if need be."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from django.db import connection, transaction
from django.utils import timezone

from outbox.encryption import decrypt
from outbox.exceptions import SecretUnreadable
from outbox.models import Notification
from outbox.notifications.address import send
from outbox.states import NotificationStatus, Severity

#: Messages under way at once. A service that does not answer holds up one of them for some 10 s.
SENDERS = 8
#: A message whose worker died is taken up by another after so long.
LEASE = timedelta(seconds=120)
FIRST_WAIT = timedelta(seconds=15)
LONGEST_WAIT = timedelta(hours=1)
#: Later nobody wants to know.
GIVE_UP_AFTER = timedelta(hours=24)

_turn = threading.Lock()


def tell_due() -> int:
    """Send what is due; return how many were tried. At least once: a worker that dies may have sent already."""
    # One turn at a time in a process: services that are slow to answer hold up one of its threads, not all.
    if not _turn.acquire(blocking=False):
        return 0
    try:
        ids = _lease()
        if ids:
            with ThreadPoolExecutor(min(SENDERS, len(ids)), thread_name_prefix="notification") as pool:
                list(pool.map(_tell, ids))
        return len(ids)
    finally:
        _turn.release()


@transaction.atomic
def _lease() -> list[int]:
    due = Notification.objects.filter(status=NotificationStatus.PENDING, next_attempt_at__lte=timezone.now())
    ids = list(due.select_for_update(skip_locked=True).order_by("id").values_list("pk", flat=True)[: SENDERS * 2])
    Notification.objects.filter(pk__in=ids).update(next_attempt_at=timezone.now() + LEASE)
    return ids


def _tell(notification_id: int) -> None:
    try:
        message = Notification.objects.select_related("target").get(pk=notification_id)
        try:
            url = decrypt(message.target.url)
        except SecretUnreadable as error:
            _settle(message, f"{error} Enter the URL again.")
            return
        severity = Severity(message.severity)
        _settle(message, send(url, title=message.title, body=message.body, severity=severity))
    finally:
        # Each thread has a connection of its own; it goes back to the pool.
        connection.close()


def _settle(message: Notification, error: str) -> None:
    now = timezone.now()
    message.attempts += 1
    message.error = error[:500]
    if not error:
        message.status = NotificationStatus.SENT
    elif now - message.created_at > GIVE_UP_AFTER:
        message.status = NotificationStatus.FAILED
    pending = message.status == NotificationStatus.PENDING
    message.settled_at = None if pending else now
    message.next_attempt_at = now + _wait(message.attempts) if pending else None
    message.save(update_fields=["attempts", "error", "status", "settled_at", "next_attempt_at"])


def _wait(attempts: int) -> timedelta:
    # The exponent stops where the longest wait has long been reached.
    return min(FIRST_WAIT * (1 << min(attempts - 1, 16)), LONGEST_WAIT)
