"""The pages of webhooks, as a browser without JavaScript sees them."""

import re
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from outbox.models import Entry, Webhook, WebhookDelivery
from outbox.services.relay import relay_all
from outbox.services.send import send_due
from outbox.services.webhooks import create_webhook, ping_webhook
from tests.callers import make_user
from tests.outbox.receiver import Receiver, receiving

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _webhooks_on_loopback(settings: Settings) -> None:
    settings.OUTBOX_LISTENERS = []
    settings.OUTBOX_HANDLERS = {}
    settings.WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    settings.WEBHOOK_ALLOW_HTTP = True


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(User.objects.create_user("staff", is_superuser=True, is_staff=True))
    return client


def text(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200
    return response.content.decode()


def deliver() -> None:
    relay_all()
    send_due()


def test_a_webhook_from_its_creation_to_an_event_sent_again(staff: Client, receiver: Receiver) -> None:
    made = staff.post("/new-webhook/", {"url": receiver.url, "event_types": "runner.*, session.*"})
    found = re.search(r"whsec_[A-Za-z0-9+/=]+", made.content.decode())
    assert found is not None
    assert "no-store" in made["Cache-Control"]
    webhook = Webhook.objects.get()
    here = f"/webhooks/{webhook.pk}/"
    assert "whsec_" not in text(staff, here)
    receiver.answer = lambda request: (500, {"x-mood": "bad"}, b"<b>no</b>")
    staff.post(f"{here}ping/")
    deliver()
    delivery = WebhookDelivery.objects.get()
    assert "webhook.ping" in text(staff, f"{here}?status=pending")
    assert "failing" in text(staff, "/webhooks/")
    shown = text(staff, f"{here}deliveries/{delivery.pk}/")
    assert "It answered 500." in shown
    assert "x-mood" in shown
    assert "&lt;b&gt;no&lt;/b&gt;" in shown
    receiver.answer = lambda request: (200, {}, b"")
    staff.post(f"{here}deliveries/{delivery.pk}/again/")
    send_due()
    receiver.requests[-1].verified(found.group())
    assert "delivered" in text(staff, f"{here}deliveries/{delivery.pk}/")


def test_a_new_secret_is_shown_and_the_other_buttons_work(staff: Client, receiver: Receiver) -> None:
    webhook, secret = create_webhook(url=receiver.url, actor="user:ada")
    here = f"/webhooks/{webhook.pk}/"
    page = staff.post(f"{here}secret/").content.decode()
    assert "whsec_" in page
    assert secret not in page
    staff.post(f"{here}off/")
    assert "Switched off by user:staff." in text(staff, here)
    assert "switched off" in staff.post(f"{here}ping/", follow=True).content.decode()
    staff.post(f"{here}on/")
    assert Webhook.objects.get().active
    assert "0 are on the way again" in staff.post(f"{here}again/", follow=True).content.decode()
    staff.post(f"{here}delete/")
    assert not Webhook.objects.exists()
    assert staff.post(f"{here}explode/").status_code == 404


def test_a_refusal_stands_at_its_field(staff: Client) -> None:
    response = staff.post("/new-webhook/", {"url": "ftp://example.com/", "event_types": "*"})
    assert response.status_code == 422
    assert "must begin with https://" in response.content.decode()


def test_who_has_no_permission_sees_and_does_nothing(receiver: Receiver) -> None:
    webhook, _ = create_webhook(url=receiver.url, actor="user:ada")
    client = Client()
    client.force_login(make_user("reader"))
    assert client.get("/webhooks/").status_code == 403
    assert client.get(f"/webhooks/{webhook.pk}/").status_code == 403
    assert 'href="/webhooks/"' not in client.get("/").content.decode()
    client.force_login(make_user("looker", "outbox.view_webhook"))
    assert "Switch off" not in text(client, f"/webhooks/{webhook.pk}/")
    for verb in ("ping", "off", "delete", "secret"):
        assert client.post(f"/webhooks/{webhook.pk}/{verb}/").status_code == 403
    assert Webhook.objects.get().active


def test_staff_steer_webhooks_in_the_admin_and_never_see_a_secret(staff: Client, receiver: Receiver) -> None:
    webhook, _ = create_webhook(url=receiver.url, actor="user:ada")
    ping_webhook(webhook, actor="user:ada")
    deliver()
    delivery = WebhookDelivery.objects.get()
    for address in (
        "webhook/",
        f"webhook/{webhook.pk}/change/",
        "webhookdelivery/",
        f"webhookdelivery/{delivery.pk}/change/",
    ):
        page = text(staff, f"/admin/outbox/{address}")
        assert webhook.secret not in page
        assert "whsec_" not in page
    staff.post("/admin/outbox/webhookdelivery/", {"action": "send_selected_again", "_selected_action": delivery.pk})
    send_due()
    assert len(receiver.requests) == 2
    for action in ("ping_selected", "switch_off_selected", "switch_on_selected", "delete_webhooks"):
        staff.post("/admin/outbox/webhook/", {"action": action, "_selected_action": webhook.pk})
    assert not Webhook.objects.exists()
    assert Entry.objects.filter(type="webhook.ping").count() == 2
