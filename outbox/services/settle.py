"""Write down what became of a delivery: it arrived, is tried again, or is given up."""

import random
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from outbox.models import Webhook, WebhookAttempt, WebhookDelivery
from outbox.services.webhook_switch import switch_off
from outbox.states import DeliveryStatus
from outbox.webhooks.post import GONE, Answer

#: 5 s, 20 s, 80 s ... 4 h: a restart is bridged in seconds, and a day is some eleven attempts.
FIRST_WAIT_SECONDS, WAIT_FACTOR, LONGEST_WAIT_SECONDS = 5.0, 4.0, 4 * 3600.0
#: What failed together must not return together.
JITTER = (0.5, 1.5)
#: Answers by which a receiver speaks of itself, not of this one event.
BUSY = {429, 503}


@transaction.atomic
def settle(delivery_id: int, answer: Answer) -> None:
    """Record an attempt and what follows from it."""
    # The webhook first, as everyone who locks both does.
    webhook = Webhook.objects.select_for_update().filter(deliveries=delivery_id).first()
    if webhook is None:
        return  # deleted while the request was under way
    delivery = WebhookDelivery.objects.select_for_update().get(pk=delivery_id)
    delivery.attempts += 1
    _record(delivery, answer)
    if answer.success:
        _delivered(delivery, webhook)
    else:
        _failed(delivery, webhook, answer)
    delivery.save()


@transaction.atomic
def settle_unsendable(delivery_id: int, error: str) -> None:
    """Give up a delivery that cannot even be tried."""
    delivery = WebhookDelivery.objects.select_for_update().get(pk=delivery_id)
    _close(delivery, DeliveryStatus.FAILED, error)
    delivery.save()


def _record(delivery: WebhookDelivery, answer: Answer) -> None:
    WebhookAttempt.objects.create(
        delivery=delivery,
        number=delivery.attempts,
        at=answer.at,
        duration_ms=answer.duration_ms,
        request_headers=dict(answer.request_headers),
        answer_status=answer.status,
        answer_headers=dict(answer.headers),
        answer_body=answer.body,
        error=answer.error[:500],
    )


def _delivered(delivery: WebhookDelivery, webhook: Webhook) -> None:
    _close(delivery, DeliveryStatus.DELIVERED, "")
    if webhook.failing_since or webhook.resting_until:
        webhook.failing_since = webhook.resting_until = None
        webhook.save(update_fields=["failing_since", "resting_until"])


def _failed(delivery: WebhookDelivery, webhook: Webhook, answer: Answer) -> None:
    now = timezone.now()
    asked = _retry_after(answer, now)
    if delivery.status == DeliveryStatus.PENDING:
        _try_again_or_give_up(delivery, answer.error, asked)
    webhook.failing_since = webhook.failing_since or now
    if asked and answer.status in BUSY:
        webhook.resting_until = now + asked
    webhook.save(update_fields=["failing_since", "resting_until"])
    if answer.status == GONE:
        _close(delivery, DeliveryStatus.FAILED, answer.error)
        switch_off(webhook, "The receiver answered 410: it is gone.")
    elif now - webhook.failing_since > timedelta(days=settings.WEBHOOK_DISABLE_AFTER_DAYS):
        _close(delivery, DeliveryStatus.FAILED, answer.error)
        switch_off(webhook, f"It has only failed since {webhook.failing_since:%Y-%m-%d %H:%M} UTC.")


def _try_again_or_give_up(delivery: WebhookDelivery, error: str, asked: timedelta | None) -> None:
    now = timezone.now()
    if now >= delivery.give_up_at:
        _close(delivery, DeliveryStatus.FAILED, error)
        return
    wait = max(_wait(delivery.attempts), asked or timedelta())
    # Whatever the receiver asks for, there is one more attempt at the end.
    delivery.next_attempt_at = min(now + wait, delivery.give_up_at)
    delivery.leased_until = None
    delivery.error = error[:500]


def _close(delivery: WebhookDelivery, status: DeliveryStatus, error: str) -> None:
    delivery.status = status
    delivery.error = error[:500]
    delivery.next_attempt_at = delivery.leased_until = None
    delivery.settled_at = timezone.now()


def _wait(attempts: int) -> timedelta:
    seconds = min(FIRST_WAIT_SECONDS * WAIT_FACTOR ** (attempts - 1), LONGEST_WAIT_SECONDS)
    return timedelta(seconds=seconds * random.uniform(*JITTER))  # noqa: S311 - no secret


def _retry_after(answer: Answer, now: datetime) -> timedelta | None:
    """Return how long the receiver asks to wait, at most WEBHOOK_RETRY_HOURS; None if it does not say, or nonsense."""
    text = answer.headers.get("retry-after", "").strip()
    most = timedelta(hours=settings.WEBHOOK_RETRY_HOURS)
    if text.isascii() and text.isdigit():
        return min(timedelta(seconds=int(text[:9])), most)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    if until.tzinfo is None:
        return None
    return max(timedelta(), min(until - now, most))
