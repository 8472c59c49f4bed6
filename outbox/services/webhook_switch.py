"""Switch webhooks on and off."""

from urllib.parse import urlsplit

from django.db import transaction
from django.utils import timezone

from outbox.models import Webhook
from outbox.services.alert import alert
from outbox.services.publish import publish
from outbox.services.webhook_acts import record_webhook_act
from outbox.states import DeliveryStatus, Severity
from outbox.webhooks.types import DISABLED

SYSTEM = "system"
SWITCHED_OFF = "The webhook was switched off."


@transaction.atomic
def switch_off(webhook: Webhook, reason: str, *, actor: str = SYSTEM) -> None:
    """Send it nothing any more, and tell so. What waited counts as failed: it can be sent again later."""
    count = Webhook.objects.filter(pk=webhook.pk, active=True).update(
        active=False, disabled_reason=reason[:200], resting_until=None
    )
    if not count:
        return
    webhook.active, webhook.disabled_reason = False, reason[:200]
    webhook.deliveries.pending().update(
        status=DeliveryStatus.FAILED,
        error=SWITCHED_OFF,
        settled_at=timezone.now(),
        next_attempt_at=None,
        leased_until=None,
    )
    data = {**about(webhook), "reason": reason, "actor": actor}
    if actor == SYSTEM:
        # A person's act is recorded where it begins.
        record_webhook_act("switch_off", webhook, actor=actor, reason=reason)
        alert(Severity.WARNING, f"The webhook {_name(webhook)} was switched off", reason, about=webhook.aggregate)
    publish(DISABLED, aggregate=webhook.aggregate, subject=str(webhook.pk), routing_key=DISABLED, data=data)


def switch_on(webhook: Webhook) -> None:
    """Send it what happens from now on."""
    Webhook.objects.filter(pk=webhook.pk).update(
        active=True, disabled_reason="", failing_since=None, resting_until=None
    )
    webhook.active, webhook.disabled_reason, webhook.failing_since = True, "", None


def about(webhook: Webhook) -> dict[str, str]:
    """Return what events tell of a webhook. Not the URL: its path may be a secret of the receiver's."""
    return {
        "webhook_id": str(webhook.pk),
        "description": webhook.description,
        "host": urlsplit(webhook.url).hostname or "",
    }


def _name(webhook: Webhook) -> str:
    return webhook.description or urlsplit(webhook.url).hostname or str(webhook.pk)
