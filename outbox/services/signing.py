"""A webhook's secrets."""

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from outbox.encryption import encrypt
from outbox.models import Webhook
from outbox.services.webhook_acts import record_webhook_act
from outbox.webhooks.signature import new_secret


def valid_secrets(webhook: Webhook) -> list[str]:
    """Return the secrets to sign with now, encrypted: the present one, and for a while the one before."""
    until = webhook.previous_secret_until
    return [webhook.secret, webhook.previous_secret] if until and until > timezone.now() else [webhook.secret]


@transaction.atomic
def rotate_secret(webhook: Webhook, *, actor: str) -> str:
    """Give the webhook a new secret and return it; it cannot be shown again.

    The old one stays valid beside it for WEBHOOK_ROTATION_HOURS, so that the receiver can be changed in between.
    """
    locked = Webhook.objects.select_for_update().get(pk=webhook.pk)
    secret = new_secret()
    hours = settings.WEBHOOK_ROTATION_HOURS
    locked.previous_secret = locked.secret if hours else ""
    locked.previous_secret_until = timezone.now() + timedelta(hours=hours) if hours else None
    locked.secret = encrypt(secret)
    locked.save(update_fields=["secret", "previous_secret", "previous_secret_until"])
    record_webhook_act("rotate_secret", locked, actor=actor)
    return secret
