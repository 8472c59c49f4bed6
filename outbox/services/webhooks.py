"""Create, change, try out and delete webhooks; send deliveries again."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from outbox.encryption import encrypt
from outbox.exceptions import AddressRefused, WebhookInactive, WebhookRefused
from outbox.models import Entry, Webhook, WebhookDelivery
from outbox.patterns import wrong_pattern
from outbox.querysets import WebhookDeliveryQuerySet
from outbox.services.publish import publish
from outbox.services.webhook_acts import choices, record_webhook_act
from outbox.services.webhook_switch import about, switch_off, switch_on
from outbox.sinks import waker
from outbox.states import DeliveryStatus
from outbox.webhooks.addresses import check_url
from outbox.webhooks.signature import new_secret
from outbox.webhooks.types import PING

MAX_PATTERNS = 50


@transaction.atomic
def create_webhook(
    *,
    url: str,
    event_types: Sequence[str] = ("*",),
    projects: Sequence[str] = (),
    description: str = "",
    actor: str,
) -> tuple[Webhook, str]:
    """Create a webhook; return it and its secret, which cannot be shown again. Raises WebhookRefused."""
    _check(url, event_types, projects)
    secret = new_secret()
    webhook = Webhook.objects.create(
        url=url,
        description=description,
        event_types=list(event_types),
        projects=list(projects),
        secret=encrypt(secret),
        created_by=actor,
    )
    record_webhook_act("create", webhook, actor=actor, after=choices(webhook))
    return webhook, secret


@transaction.atomic
def change_webhook(webhook: Webhook, *, actor: str, active: bool | None = None, **wanted: Any) -> Webhook:
    """Change what is given. Events written before are not delivered to a webhook that is switched on."""
    locked = Webhook.objects.select_for_update().get(pk=webhook.pk)
    before = choices(locked)
    for name, value in wanted.items():
        setattr(locked, name, value)
    _check(locked.url, locked.event_types, locked.projects)
    locked.save(update_fields=list(wanted))
    if active is True and not locked.active:
        switch_on(locked)
    elif active is False:
        switch_off(locked, f"Switched off by {actor}.", actor=actor)
    record_webhook_act("change", locked, actor=actor, before=before, after=choices(locked))
    return locked


@transaction.atomic
def delete_webhook(webhook: Webhook, *, actor: str) -> None:
    """Delete a webhook with its log of deliveries."""
    record_webhook_act("delete", webhook, actor=actor, before=choices(webhook))
    webhook.delete()


@transaction.atomic
def ping_webhook(webhook: Webhook, *, actor: str) -> Entry:
    """Publish an event for this webhook alone: it goes the way that every event goes. Raises WebhookInactive."""
    _need_active(webhook)
    record_webhook_act("ping", webhook, actor=actor)
    return publish(
        PING,
        aggregate=webhook.aggregate,
        subject=str(webhook.pk),
        routing_key=PING,
        data={**about(webhook), "actor": actor},
    )


@transaction.atomic
def redeliver(delivery: WebhookDelivery, *, actor: str) -> WebhookDelivery:
    """Send one delivery again, now, whatever became of it. Raises WebhookInactive, WebhookRefused."""
    _need_active(delivery.webhook)
    if not Entry.objects.filter(event_id=delivery.event_id).exists():
        raise WebhookRefused("The event is no longer kept, so it cannot be sent again.")
    record_webhook_act("redeliver", delivery.webhook, actor=actor, after={"event_id": str(delivery.event_id)})
    _again(delivery.webhook.deliveries.filter(pk=delivery.pk))
    delivery.refresh_from_db()
    return delivery


@transaction.atomic
def redeliver_failed(webhook: Webhook, *, since: datetime, actor: str) -> int:
    """Send again what failed of the events since then; return how many. Raises WebhookInactive."""
    _need_active(webhook)
    count = _again(webhook.deliveries.failed().filter(created_at__gte=since))
    record_webhook_act("redeliver", webhook, actor=actor, after={"since": since.isoformat(), "count": count})
    return count


def _again(deliveries: WebhookDeliveryQuerySet) -> int:
    now = timezone.now()
    count = deliveries.update(
        status=DeliveryStatus.PENDING,
        next_attempt_at=now,
        leased_until=None,
        settled_at=None,
        give_up_at=now + timedelta(hours=settings.WEBHOOK_RETRY_HOURS),
    )
    transaction.on_commit(lambda: waker.ask(waker.SEND_TASK))
    return count


def _need_active(webhook: Webhook) -> None:
    if not webhook.active:
        raise WebhookInactive("The webhook is switched off: switch it on first.")


def _check(url: str, event_types: Sequence[str], projects: Sequence[str]) -> None:
    try:
        check_url(url)
    except AddressRefused as refusal:
        raise WebhookRefused(str(refusal), field="url") from None
    if not 0 < len(event_types) <= MAX_PATTERNS:
        raise WebhookRefused(f"Give between one and {MAX_PATTERNS} patterns of event types.", field="event_types")
    for pattern in event_types:
        if wrong := wrong_pattern(pattern):
            raise WebhookRefused(wrong, field="event_types")
    if len(projects) > MAX_PATTERNS:
        raise WebhookRefused(f"Give at most {MAX_PATTERNS} projects.", field="projects")
