"""Note for each webhook which events it must be told of."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from outbox.envelope import Outgoing
from outbox.models import Webhook, WebhookDelivery
from outbox.patterns import wants
from outbox.sinks import waker
from outbox.webhooks.types import PING


def fan_out(events: Sequence[Outgoing]) -> None:
    """Write a delivery for each event and webhook that wants it; a repeat writes none.

    Called by the relay before the events count as delivered: none is missed, however often a relay dies.
    """
    webhooks = list(Webhook.objects.active())
    now = timezone.now()
    rows = [_delivery(webhook, event, now) for webhook in webhooks for event in events if _wants(webhook, event)]
    if rows:
        # One statement or several: a repeat after a crash between them writes what is missing.
        WebhookDelivery.objects.bulk_create(rows, ignore_conflicts=True)
        transaction.on_commit(lambda: waker.ask(waker.SEND_TASK))


def _wants(webhook: Webhook, event: Outgoing) -> bool:
    if event.type == PING:
        return event.subject == str(webhook.pk)
    # Most webhooks have no projects to compare: then the data need not be read.
    data = event.payload if webhook.projects else None
    return wants(webhook.event_types, webhook.projects, type=event.type, data=data)


def _delivery(webhook: Webhook, event: Outgoing, now: datetime) -> WebhookDelivery:
    return WebhookDelivery(
        webhook=webhook,
        event_id=event.event_id,
        event_type=event.type,
        sequence=event.sequence,
        next_attempt_at=now,
        give_up_at=now + timedelta(hours=settings.WEBHOOK_RETRY_HOURS),
    )
