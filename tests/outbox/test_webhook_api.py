"""Webhooks over the API."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from pytest_django import Settings

from outbox.models import Webhook
from outbox.services.relay import relay_all
from outbox.services.send import send_due
from tests.callers import client_of, make_user, operator, reader
from tests.outbox.receiver import Receiver, receiving
from tests.outbox.stream import happen

pytestmark = pytest.mark.django_db(transaction=True)
WEBHOOKS = "/api/v1/webhooks/"


@pytest.fixture(autouse=True)
def _webhooks_on_loopback(settings: Settings) -> None:
    settings.OUTBOX_BATCH_HANDLERS = ["outbox.services.fan_out.fan_out"]
    settings.WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    settings.WEBHOOK_ALLOW_HTTP = True


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def create(client: Any, receiver: Receiver, **more: Any) -> dict[str, Any]:
    answer = client.post(WEBHOOKS, {"url": receiver.url, "event_types": ["test.*"], **more}, format="json")
    assert answer.status_code == 201, answer.content
    made: dict[str, Any] = answer.json()
    return made


def test_from_creation_over_a_failure_to_the_event_sent_again(receiver: Receiver) -> None:
    client = operator()
    made = create(client, receiver, description="billing")
    here = f"{WEBHOOKS}{made['id']}/"
    assert made["secret"].startswith("whsec_")
    assert made["created_by"] == "user:operator"
    assert "secret" not in client.get(here).json()
    happen("a:1", 1)
    relay_all()
    receiver.answer = lambda request: (410, {}, b"gone")
    send_due()
    shown = client.get(here).json()
    assert (shown["active"], shown["disabled_reason"]) == (False, "The receiver answered 410: it is gone.")
    [failed] = client.get(f"{here}deliveries/", {"status": "failed"}).json()["results"]
    assert client.post(f"{here}deliveries/{failed['id']}/redeliver/").status_code == 409
    assert client.patch(here, {"active": True}, format="json").json()["active"] is True
    receiver.answer = lambda request: (200, {}, b"ok")
    again = client.post(f"{here}redeliver/", {"since": failed["created_at"]}, format="json")
    assert (again.status_code, again.json()) == (202, {"count": 1})
    send_due()
    detail = client.get(f"{here}deliveries/{failed['id']}/").json()
    assert detail["status"] == "delivered"
    assert [attempt["answer_status"] for attempt in detail["attempt_list"]] == [410, 200]
    assert detail["request_body"].encode() == receiver.requests[-1].body
    receiver.requests[-1].verified(made["secret"])


def test_a_ping_is_told_its_event_and_arrives(receiver: Receiver) -> None:
    client = operator()
    made = create(client, receiver)
    answer = client.post(f"{WEBHOOKS}{made['id']}/ping/")
    assert answer.status_code == 202
    relay_all()
    send_due()
    assert receiver.events() == [answer.json()["event_id"]]


def test_a_new_secret_is_shown_once_and_the_old_one_still_verifies(receiver: Receiver) -> None:
    client = operator()
    made = create(client, receiver)
    rotated = client.post(f"{WEBHOOKS}{made['id']}/rotate-secret/").json()
    assert rotated["secret"] != made["secret"]
    assert client.get(f"{WEBHOOKS}{made['id']}/").json()["two_secrets_until"] == rotated["two_secrets_until"]
    happen("a:1")
    relay_all()
    send_due()
    receiver.requests[0].verified(made["secret"])
    receiver.requests[0].verified(rotated["secret"])


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"url": "https://127.0.0.1/"}, "url"),
        ({"url": "gopher://example.com/"}, "url"),
        ({"url": "https://example.com/", "event_types": ["no.such.type"]}, "event_types"),
        ({"url": "https://example.com/", "event_types": []}, "event_types"),
    ],
)
def test_a_webhook_that_makes_no_sense_is_refused_by_field(
    wanted: dict[str, Any], field: str, settings: Settings
) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = []
    answer = operator().post(WEBHOOKS, wanted, format="json")
    assert answer.status_code == 422
    assert list(answer.json()["errors"]) == [field]
    assert not Webhook.objects.exists()


def test_a_change_that_is_refused_changes_nothing(receiver: Receiver) -> None:
    client = operator()
    made = create(client, receiver)
    answer = client.patch(
        f"{WEBHOOKS}{made['id']}/", {"description": "new", "url": "ftp://example.com/"}, format="json"
    )
    assert answer.status_code == 422
    assert client.get(f"{WEBHOOKS}{made['id']}/").json()["description"] == ""


def test_a_deleted_webhook_is_gone_with_its_log(receiver: Receiver) -> None:
    client = operator()
    made = create(client, receiver)
    happen("a:1")
    relay_all()
    assert client.delete(f"{WEBHOOKS}{made['id']}/").status_code == 204
    assert client.get(f"{WEBHOOKS}{made['id']}/deliveries/").status_code == 404
    assert send_due() == 0


def test_who_may_do_what(receiver: Receiver) -> None:
    made = create(operator(), receiver)
    here = f"{WEBHOOKS}{made['id']}/"
    nobody, looker = reader(), client_of(make_user("looker", "outbox.view_webhook"))
    for address in (WEBHOOKS, here, f"{here}deliveries/"):
        assert nobody.get(address).status_code == 403
        assert looker.get(address).status_code == 200
    for address in (WEBHOOKS, f"{here}ping/", f"{here}rotate-secret/", f"{here}redeliver/"):
        assert looker.post(address, {}, format="json").status_code == 403
    assert looker.delete(here).status_code == 403
    assert looker.patch(here, {"active": False}, format="json").status_code == 403
    assert client_of().get(WEBHOOKS).status_code == 401


def test_what_is_not_there_is_not_found(receiver: Receiver) -> None:
    client = operator()
    made = create(client, receiver)
    assert client.get(f"{WEBHOOKS}{uuid4()}/").status_code == 404
    assert client.post(f"{WEBHOOKS}{made['id']}/deliveries/1/redeliver/").status_code == 404
    assert client.post(f"{WEBHOOKS}{made['id']}/redeliver/", {"since": "yesterday"}, format="json").status_code == 400
    assert client.post(WEBHOOKS, {"url": receiver.url, "evnt_types": ["*"]}, format="json").status_code == 400
