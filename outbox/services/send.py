"""Send what webhooks wait for."""

import threading
import time
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import structlog
from django.conf import settings
from django.db import connection, transaction

from outbox import sql
from outbox.encryption import decrypt
from outbox.exceptions import SecretUnreadable
from outbox.models import WebhookDelivery
from outbox.services.event_body import bodies_of
from outbox.services.settle import settle, settle_unsendable
from outbox.services.signing import valid_secrets
from outbox.webhooks.post import TOTAL_SECONDS, Answer, Request, post

#: Requests under way at once in one process. They wait for sockets, so threads are cheap.
SENDERS = 64
#: A turn takes up new work for so long; then it waits for what is under way, while another turn may begin.
TURN_SECONDS = 20.0
#: A delivery whose worker died is taken up by another after so long.
LEASE_SECONDS = TOTAL_SECONDS * 4
#: How soon new work is seen while requests are under way.
LOOK_SECONDS = 0.25

log = structlog.get_logger(__name__)
_turn = threading.Lock()


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed delivery and the request for it."""

    delivery_id: int
    request: Request


def send_due() -> int:
    """Send what is due, until nothing is; return how many requests were made.

    One turn at a time takes up work in a process; a call during it returns at once. A worker that dies loses nothing:
    its leases run out.
    """
    if not _turn.acquire(blocking=False):
        return 0
    claiming, ends, sent = True, time.monotonic() + TURN_SECONDS, 0
    flying: dict[Future[Answer], Job] = {}
    try:
        with ThreadPoolExecutor(SENDERS, thread_name_prefix="webhook") as pool:
            while claiming or flying:
                taken = list(claim(SENDERS - len(flying))) if claiming else []
                flying |= {pool.submit(post, job.request): job for job in taken}
                sent += len(taken)
                if claiming and (time.monotonic() > ends or not flying):
                    claiming = False
                    _turn.release()
                _settle_finished(flying)
    finally:
        if claiming:
            _turn.release()
    return sent


def _settle_finished(flying: dict[Future[Answer], Job]) -> None:
    done, _ = wait(flying, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED) if flying else (set(), None)
    for future in done:
        settle(flying.pop(future).delivery_id, future.result())


def claim(room: int) -> Iterable[Job]:
    """Lease at most `room` due deliveries and yield their jobs; what cannot be sent is settled at once."""
    deliveries = _leased(room) if room > 0 else []
    bodies = bodies_of([delivery.event_id for delivery in deliveries])
    for delivery in deliveries:
        body = bodies.get(delivery.event_id)
        if body is None:
            settle_unsendable(delivery.pk, "The event is no longer kept: OUTBOX_RETENTION_DAYS.")
            continue
        try:
            secrets = [decrypt(secret) for secret in valid_secrets(delivery.webhook)]
        except SecretUnreadable as error:
            settle_unsendable(delivery.pk, f"{error} Give the webhook a new secret.")
            continue
        yield Job(delivery.pk, Request(delivery.webhook.url, secrets, str(delivery.event_id), body))


def _leased(room: int) -> list[WebhookDelivery]:
    with transaction.atomic(), connection.cursor() as cursor:
        # One claims at a time: two at once would both find a receiver's last free place.
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [sql.WEBHOOK_CLAIM_LOCK])
        cursor.execute(
            sql.CLAIM_DELIVERIES,
            {"room": room, "lease": LEASE_SECONDS, "concurrency": settings.WEBHOOK_CONCURRENCY},
        )
        ids = [id for (id,) in cursor.fetchall()]
    return list(WebhookDelivery.objects.filter(pk__in=ids).select_related("webhook")) if ids else []
