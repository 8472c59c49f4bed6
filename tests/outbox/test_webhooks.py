"""Webhooks from the event to the receiver: real requests over real sockets."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from outbox.exceptions import WebhookInactive, WebhookRefused
from outbox.models import Entry, Webhook, WebhookAttempt, WebhookDelivery
from outbox.services import send
from outbox.services.relay import relay_all
from outbox.services.retention import purge_deliveries
from outbox.services.send import send_due
from outbox.services.signing import rotate_secret
from outbox.services.webhooks import change_webhook, create_webhook, ping_webhook, redeliver, redeliver_failed
from outbox.states import DeliveryStatus, Status
from outbox.webhooks import post
from tests.outbox.receiver import Received, Receiver, receiving
from tests.outbox.stream import happen, wait_for

ADA = "user:ada"
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _webhooks_on_loopback(settings: Settings) -> None:
    settings.OUTBOX_BATCH_HANDLERS = ["outbox.services.fan_out.fan_out"]
    settings.WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    settings.WEBHOOK_ALLOW_HTTP = True


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def subscribe(receiver: Receiver, *patterns: str, **wanted: Any) -> tuple[Webhook, str]:
    return create_webhook(url=receiver.url, event_types=patterns or ("test.*",), actor=ADA, **wanted)


def answer(status: int, **headers: str) -> Callable[[Received], tuple[int, dict[str, str], bytes]]:
    return lambda request: (status, headers, b"what I think of it")


def make_due() -> None:
    WebhookDelivery.objects.pending().update(next_attempt_at=timezone.now())
    Webhook.objects.update(resting_until=None)


def only() -> WebhookDelivery:
    return WebhookDelivery.objects.get()


def test_an_event_arrives_signed_as_its_envelope(receiver: Receiver) -> None:
    _, secret = subscribe(receiver)
    event = happen("a:1", 7, text="Grüße")
    relay_all()
    assert send_due() == 1
    [request] = receiver.requests
    body = request.verified(secret)
    event.refresh_from_db()
    assert (body["id"], body["sequence"], body["data"]["text"]) == (str(event.event_id), event.sequence, "Grüße")
    assert request.headers["webhook-id"] == str(event.event_id)
    assert request.headers["content-type"] == "application/cloudevents+json"
    assert only().status == DeliveryStatus.DELIVERED


def test_the_secret_is_not_in_the_database(receiver: Receiver) -> None:
    _, secret = subscribe(receiver)
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_jsonb(outbox_webhook)::text FROM outbox_webhook")
        (row,) = cursor.fetchone() or ("",)
    assert secret.removeprefix("whsec_") not in row


def test_while_a_secret_changes_both_verify_and_later_only_the_new_one(receiver: Receiver) -> None:
    webhook, old = subscribe(receiver)
    new = rotate_secret(webhook, actor=ADA)
    happen("a:1", 1)
    relay_all()
    send_due()
    assert receiver.requests[0].verified(old) == receiver.requests[0].verified(new)
    Webhook.objects.update(previous_secret_until=timezone.now())
    happen("a:1", 2)
    relay_all()
    send_due()
    receiver.requests[1].verified(new)
    with pytest.raises(Exception, match="No matching signature"):
        receiver.requests[1].verified(old)


def test_a_webhook_gets_what_its_patterns_and_projects_say(receiver: Receiver) -> None:
    subscribe(receiver, projects=["shop"])
    subscribe(receiver, "runner.*")
    happen("a:1", 1, project="shop")
    happen("a:2", 2, project="other")
    happen("a:3", 3)
    relay_all()
    send_due()
    assert sorted(json.loads(request.body)["data"]["n"] for request in receiver.requests) == [1, 3]


def test_an_event_relayed_twice_is_delivered_once(receiver: Receiver) -> None:
    subscribe(receiver)
    happen("a:1")
    relay_all()
    Entry.objects.update(status=Status.PENDING, delivered_at=None)
    relay_all()
    send_due()
    send_due()
    assert len(receiver.requests) == 1


def test_a_failed_delivery_is_tried_again_with_the_same_id_and_later_each_time(receiver: Receiver) -> None:
    _, secret = subscribe(receiver)
    happen("a:1")
    relay_all()
    receiver.answer = answer(500)
    waits = []
    for _ in range(3):
        make_due()
        asked = timezone.now()
        send_due()
        waits.append(((only().next_attempt_at or asked) - asked).total_seconds())
    receiver.answer = answer(200)
    make_due()
    send_due()
    assert 2.5 <= waits[0] < 12
    assert 10 <= waits[1] < 35
    assert 40 <= waits[2] < 125
    assert len(set(receiver.events())) == 1
    assert receiver.requests[-1].verified(secret)
    assert (only().status, only().attempts, only().error) == (DeliveryStatus.DELIVERED, 4, "")


def test_the_log_keeps_each_request_and_answer(receiver: Receiver) -> None:
    subscribe(receiver)
    happen("a:1")
    relay_all()
    receiver.answer = lambda request: (500, {"x-mood": "bad"}, b"x" * 100_000 + b"\x00")
    send_due()
    attempt = WebhookAttempt.objects.get()
    assert (attempt.number, attempt.answer_status, attempt.error) == (1, 500, "It answered 500.")
    assert attempt.answer_headers["x-mood"] == "bad"
    assert attempt.answer_body == "x" * post.KEPT_BODY_BYTES
    assert attempt.request_headers["webhook-id"] == str(only().event_id)


def test_retry_after_is_honoured_and_the_receiver_left_alone_meanwhile(receiver: Receiver) -> None:
    subscribe(receiver)
    happen("a:1")
    relay_all()
    receiver.answer = answer(429, **{"retry-after": "3600"})
    before = timezone.now()
    send_due()
    assert (only().next_attempt_at or before) - before >= timedelta(seconds=3600)
    happen("a:2")
    relay_all()
    assert send_due() == 0
    Webhook.objects.update(resting_until=timezone.now())
    receiver.answer = answer(200)
    assert send_due() == 1
    assert Webhook.objects.get().failing_since is None


def test_a_retry_after_that_is_nonsense_or_endless_is_bounded(receiver: Receiver) -> None:
    subscribe(receiver)
    for text in ("soon", "-5", "99999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"):
        WebhookDelivery.objects.all().delete()
        Webhook.objects.update(resting_until=None)
        receiver.answer = answer(503, **{"retry-after": text})
        happen("a:1")
        relay_all()
        send_due()
        assert only().status == DeliveryStatus.PENDING
        assert only().next_attempt_at is not None
        assert (only().next_attempt_at or timezone.now()) <= only().give_up_at


def test_after_a_day_a_delivery_is_given_up(receiver: Receiver) -> None:
    subscribe(receiver)
    happen("a:1")
    relay_all()
    receiver.answer = answer(500)
    WebhookDelivery.objects.update(give_up_at=timezone.now())
    send_due()
    assert (only().status, only().error) == (DeliveryStatus.FAILED, "It answered 500.")
    assert send_due() == 0


def test_a_receiver_that_is_gone_switches_its_webhook_off_and_all_are_told(receiver: Receiver) -> None:
    webhook, _ = subscribe(receiver)
    with receiving() as other:
        subscribe(other, "webhook.disabled")
        for n in range(3):
            happen("a:1", n)
        relay_all()
        receiver.answer = answer(410)
        send_due()
        relay_all()
        send_due()
        [told] = [json.loads(request.body) for request in other.requests]
    webhook.refresh_from_db()
    assert (webhook.active, "410" in webhook.disabled_reason) == (False, True)
    assert set(webhook.deliveries.values_list("status", flat=True)) == {DeliveryStatus.FAILED}
    assert told["type"] == "webhook.disabled"
    assert told["data"]["webhook_id"] == str(webhook.pk)
    assert "/hook" not in json.dumps(told)


def test_a_webhook_that_only_fails_for_days_is_switched_off(receiver: Receiver, settings: Settings) -> None:
    subscribe(receiver)
    happen("a:1")
    relay_all()
    receiver.answer = answer(500)
    Webhook.objects.update(
        failing_since=timezone.now() - timedelta(days=settings.WEBHOOK_DISABLE_AFTER_DAYS, minutes=1)
    )
    send_due()
    assert not Webhook.objects.get().active
    assert Entry.objects.filter(type="webhook.disabled").count() == 1
    alert = Entry.objects.get(type="system.alert")
    assert (alert.data["severity"], "only failed since" in alert.data["detail"]) == ("warning", True)
    assert "/hook" not in str(alert.data)
    happen("a:2")
    relay_all()
    assert WebhookDelivery.objects.count() == 1


def test_switched_on_again_what_failed_can_be_sent_again(receiver: Receiver) -> None:
    webhook, _ = subscribe(receiver)
    for n in range(3):
        happen("a:1", n)
    relay_all()
    webhook = change_webhook(webhook, actor=ADA, active=False)
    with pytest.raises(WebhookInactive):
        redeliver_failed(webhook, since=timezone.now() - timedelta(hours=1), actor=ADA)
    webhook = change_webhook(webhook, actor=ADA, active=True)
    assert redeliver_failed(webhook, since=timezone.now() - timedelta(hours=1), actor=ADA) == 3
    send_due()
    assert len(receiver.requests) == 3


def test_what_arrived_can_be_sent_again_but_not_an_event_that_is_no_longer_kept(receiver: Receiver) -> None:
    subscribe(receiver)
    happen("a:1")
    relay_all()
    send_due()
    redeliver(only(), actor=ADA)
    send_due()
    assert len(set(receiver.events())) == 1
    assert len(receiver.requests) == 2
    assert only().attempts == 2
    Entry.objects.all().delete()
    with pytest.raises(WebhookRefused, match="no longer kept"):
        redeliver(only(), actor=ADA)


def test_a_ping_goes_to_its_webhook_alone_whatever_that_wants(receiver: Receiver) -> None:
    webhook, secret = subscribe(receiver, "runner.*")
    subscribe(receiver, "*")
    ping_webhook(webhook, actor=ADA)
    relay_all()
    send_due()
    [request] = receiver.requests
    assert request.verified(secret)["type"] == "webhook.ping"


def test_a_slow_receiver_holds_up_neither_the_outbox_nor_another_receiver(
    receiver: Receiver, settings: Settings
) -> None:
    settings.WEBHOOK_CONCURRENCY = 2
    subscribe(receiver)
    receiver.delay = 2
    with receiving() as quick:
        subscribe(quick)
        for n in range(6):
            happen("a:1", n)
        relay_all()
        assert not Entry.objects.pending().exists()
        sending = threading.Thread(target=_send_in_thread)
        sending.start()
        wait_for(lambda: len(quick.requests) == 6, what="the quick receiver's events")
        assert len(receiver.requests) <= 2
        sending.join()
    assert receiver.most_busy == 2
    assert len(receiver.requests) == 6


def _send_in_thread() -> None:
    try:
        send_due()
    finally:
        connection.close()


def test_a_receiver_that_fails_gets_one_request_at_a_time(receiver: Receiver) -> None:
    subscribe(receiver)
    Webhook.objects.update(failing_since=timezone.now())
    receiver.delay = 0.2
    receiver.answer = answer(500)
    for n in range(4):
        happen("a:1", n)
    relay_all()
    send_due()
    assert receiver.most_busy == 1
    assert len(receiver.requests) == 4


def test_a_delivery_of_a_worker_that_died_is_sent_by_another(receiver: Receiver) -> None:
    subscribe(receiver)
    happen("a:1")
    relay_all()
    assert len(list(send.claim(10))) == 1
    assert send_due() == 0
    WebhookDelivery.objects.update(leased_until=timezone.now())
    assert send_due() == 1
    assert only().status == DeliveryStatus.DELIVERED


def test_a_receiver_that_dribbles_for_ever_is_cut_off(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(post, "TOTAL_SECONDS", 0.5)
    subscribe(receiver)
    receiver.delay = 2
    happen("a:1")
    relay_all()
    send_due()
    assert "No answer in time" in only().error
    assert WebhookAttempt.objects.get().duration_ms < 1_900


def test_redirects_are_not_followed(receiver: Receiver) -> None:
    with receiving() as inner:
        receiver.answer = answer(302, location=inner.url)
        subscribe(receiver)
        happen("a:1")
        relay_all()
        send_due()
        assert inner.requests == []
    assert "redirects are not followed" in only().error


def test_a_webhook_whose_key_is_gone_fails_with_a_sentence(receiver: Receiver, settings: Settings) -> None:
    subscribe(receiver)
    happen("a:1")
    relay_all()
    settings.ENCRYPTION_KEYS = ["a" * 43 + "="]
    send_due()
    assert only().status == DeliveryStatus.FAILED
    assert "ENCRYPTION_KEYS" in only().error


def test_a_new_encryption_key_reads_what_the_old_one_wrote(receiver: Receiver, settings: Settings) -> None:
    old, new = "b" * 43 + "=", "c" * 43 + "="
    settings.ENCRYPTION_KEYS = [old]
    _, secret = subscribe(receiver)
    settings.ENCRYPTION_KEYS = [new, old]
    happen("a:1")
    relay_all()
    send_due()
    receiver.requests[0].verified(secret)


def test_settled_deliveries_go_with_their_attempts_after_their_time(receiver: Receiver, settings: Settings) -> None:
    subscribe(receiver)
    for n in range(2):
        happen("a:1", n)
    relay_all()
    send_due()
    old = WebhookDelivery.objects.order_by("id")[0]
    WebhookDelivery.objects.filter(pk=old.pk).update(
        settled_at=timezone.now() - timedelta(days=settings.WEBHOOK_RETENTION_DAYS, minutes=1)
    )
    assert purge_deliveries() == 1
    assert (WebhookDelivery.objects.count(), WebhookAttempt.objects.count()) == (1, 1)


@pytest.mark.parametrize("patterns", [[], ["nothing.like.this"], ["Runner.*"], ["*"] * 51])
def test_patterns_that_match_nothing_are_refused(receiver: Receiver, patterns: list[str]) -> None:
    with pytest.raises(WebhookRefused):
        create_webhook(url=receiver.url, event_types=patterns, actor=ADA)
    assert not Webhook.objects.exists()
