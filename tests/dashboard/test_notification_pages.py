"""The pages of notifications, as a browser without JavaScript sees them."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from outbox.models import AuditEntry, Notification, NotificationTarget
from outbox.services.targets import save_target
from outbox.services.tell import tell_due
from tests.callers import make_user
from tests.outbox.receiver import Receiver, receiving

pytestmark = pytest.mark.django_db(transaction=True)
RULES = {"rules-TOTAL_FORMS": "3", "rules-INITIAL_FORMS": "0", "rules-0-event_types": "runner.*, system.alert"}
TYPED = {
    "name": "ops",
    "settle_seconds": "5",
    "window_seconds": "60",
    "quiet_from": "22:00",
    "quiet_until": "07:00",
    "time_zone": "Europe/Berlin",
    "critical_passes": "on",
    **RULES,
    "rules-0-severity": "warning",
    "rules-0-projects": "shop, web",
    "rules-1-event_types": "",
    "rules-1-severity": "warning",
    "rules-2-event_types": "job.failed",
    "rules-2-severity": "critical",
}


@pytest.fixture(autouse=True)
def _loopback(settings: Settings) -> None:
    settings.OUTBOX_LISTENERS = []
    settings.WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.0/8"]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(User.objects.create_user("staff", is_superuser=True, is_staff=True))
    return client


def url_of(receiver: Receiver) -> str:
    return f"{receiver.url.replace('http://', 'json://')}?token=s3cr3t"


def text(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200
    return response.content.decode()


def made(receiver: Receiver, **more: Any) -> NotificationTarget:
    return save_target(NotificationTarget(name="ops"), url=url_of(receiver), rules=[], actor="user:ada", **more)


def test_a_target_from_its_creation_to_a_test_that_arrives(staff: Client, receiver: Receiver) -> None:
    assert "Nobody is told yet" in text(staff, "/notifications/")
    answer = staff.post("/new-notification-target/", {**TYPED, "url": url_of(receiver)}, follow=True)
    assert answer.redirect_chain == [("/notifications/ops/", 302)]
    target = NotificationTarget.objects.get()
    assert [(rule.event_types, rule.severity, rule.projects) for rule in target.rules.all()] == [
        (["runner.*", "system.alert"], "warning", ["shop", "web"]),
        (["job.failed"], "critical", []),
    ]
    assert str(target.quiet_from) == "22:00:00"
    staff.post("/notifications/ops/test/")
    assert "waiting" in text(staff, "/notifications/ops/?status=pending")
    tell_due()
    assert len(receiver.requests) == 1
    page = text(staff, "/notifications/")
    assert "A test from Stratavore" in page
    assert "Asked for by user:staff." in page
    assert "sent" in page


def test_its_url_is_never_shown_again(staff: Client, receiver: Receiver) -> None:
    made(receiver)
    for address in ("/notifications/", "/notifications/ops/", "/notifications/ops/edit/"):
        assert "s3cr3t" not in text(staff, address)
    refused = staff.post("/new-notification-target/", {**TYPED, "url": url_of(receiver), "time_zone": "Nowhere"})
    assert refused.status_code == 422
    assert "There is no time zone" in refused.content.decode()
    assert "s3cr3t" not in refused.content.decode()
    assert not AuditEntry.objects.filter(after__icontains="s3cr3t").exists()


def test_an_edit_changes_what_is_given_and_keeps_the_url(staff: Client, receiver: Receiver) -> None:
    target = made(receiver, window_seconds=60)
    assert "Empty: it stays as it is" in text(staff, "/notifications/ops/edit/")
    typed = {**TYPED, "name": "another", "url": "", "window_seconds": "300", "critical_passes": ""}
    staff.post("/notifications/ops/edit/", typed)
    changed = NotificationTarget.objects.get()
    assert (changed.name, changed.url, changed.window_seconds, changed.critical_passes) == (
        "ops",
        target.url,
        300,
        False,
    )
    assert "job.failed" in text(staff, "/notifications/ops/")
    act = AuditEntry.objects.filter(action="notification_target.change").latest("id")
    assert (act.actor, act.source, act.after and act.after["window_seconds"]) == ("user:staff", "page", 300)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("url", "", "This field is required"),
        ("url", "nonsense://x", "no URL that Apprise understands"),
        ("url", "json://10.0.0.1/", ""),
        ("name", "two words", "valid “slug”"),
        ("settle_seconds", "-1", "greater than or equal to 0"),
        ("quiet_until", "22:00", "two different times"),
        ("quiet_until", "late", "valid time"),
        ("rules-0-event_types", "Runner Started!", "Started!"),
        ("rules-0-severity", "huge", "Select a valid choice"),
        ("rules-1-projects", "shop", "Of which events?"),
        ("rules-TOTAL_FORMS", "none", "management"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(
    staff: Client, receiver: Receiver, field: str, value: str, words: str
) -> None:
    answer = staff.post("/new-notification-target/", {**TYPED, "url": url_of(receiver), field: value})
    if words:
        assert answer.status_code == 422
        assert words.lower() in answer.content.decode().lower()
        assert not NotificationTarget.objects.exists()


def test_a_second_of_the_same_name_is_refused(staff: Client, receiver: Receiver) -> None:
    made(receiver)
    answer = staff.post("/new-notification-target/", {**TYPED, "url": url_of(receiver)})
    assert answer.status_code == 422
    assert "already exists" in answer.content.decode()


def test_the_buttons(staff: Client, receiver: Receiver) -> None:
    target = made(receiver)
    staff.post("/notifications/ops/off/")
    assert "off" in text(staff, "/notifications/ops/")
    assert not NotificationTarget.objects.get().active
    staff.post("/notifications/ops/on/")
    assert NotificationTarget.objects.get().active
    lost = Notification.objects.create(
        target=target,
        title="<b>lost</b>",
        body="</pre><script>1</script>",
        severity="warning",
        event_count=3,
        status="failed",
        error="It answered 500.",
        next_attempt_at=None,
        settled_at=target.created_at,
    )
    page = text(staff, "/notifications/ops/?status=failed")
    assert "&lt;b&gt;lost&lt;/b&gt;" in page
    assert "<script>1" not in page
    assert "It answered 500." in page
    staff.post(f"/notifications/messages/{lost.pk}/again/")
    assert (
        "Only a message that was given up"
        in staff.post(f"/notifications/messages/{lost.pk}/again/", follow=True).content.decode()
    )
    tell_due()
    lost.refresh_from_db()
    assert lost.status == "sent"
    assert staff.post("/notifications/ops/explode/").status_code == 404
    staff.post("/notifications/ops/delete/")
    assert not NotificationTarget.objects.exists()


def test_who_has_no_permission_sees_and_does_nothing(receiver: Receiver) -> None:
    made(receiver)
    client = Client()
    client.force_login(make_user("reader"))
    for address in ("/notifications/", "/notifications/ops/", "/notifications/ops/edit/", "/new-notification-target/"):
        assert client.get(address).status_code == 403
    assert 'href="/notifications/"' not in client.get("/").content.decode()
    client.force_login(make_user("looker", "outbox.view_notificationtarget"))
    page = text(client, "/notifications/ops/")
    assert "Send a test" not in page
    assert "Edit" not in page
    for verb in ("test", "off", "delete", "edit"):
        assert client.post(f"/notifications/ops/{verb}/").status_code == 403
    assert client.post("/notifications/messages/1/again/").status_code == 403
    client.force_login(make_user("changer", "outbox.view_notificationtarget", "outbox.change_notificationtarget"))
    assert client.post("/notifications/ops/delete/").status_code == 403
    assert client.post("/new-notification-target/", TYPED).status_code == 403
    assert NotificationTarget.objects.get().active


def test_the_list_asks_as_much_for_many_targets_as_for_one(
    staff: Client, receiver: Receiver, django_assert_max_num_queries: Any
) -> None:
    for n in range(12):
        target = save_target(
            NotificationTarget(name=f"t-{n}"),
            url=url_of(receiver),
            rules=[{"event_types": ["*"], "severity": "info", "projects": []}],
            actor="user:ada",
        )
        Notification.objects.create(target=target, title="t", severity="info", event_count=1)
    with django_assert_max_num_queries(16):
        text(staff, "/notifications/")
