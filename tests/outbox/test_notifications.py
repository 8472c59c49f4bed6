"""Notifications from the event to the receiver: real requests by Apprise over real sockets."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet
from django.db import connection, transaction
from django.utils import timezone
from pytest_django import Settings

from outbox.encryption import decrypt
from outbox.exceptions import NotificationRefused
from outbox.models import AuditEntry, Entry, Notification, NotificationItem, NotificationTarget
from outbox.notifications.quiet import is_quiet
from outbox.notifications.words import message_of
from outbox.services import alert
from outbox.services import collect as collecting
from outbox.services.collect import collect_due
from outbox.services.relay import relay_all
from outbox.services.retention import purge_notifications
from outbox.services.targets import delete_target, save_target, send_again, try_target
from outbox.services.tell import GIVE_UP_AFTER, tell_due
from outbox.states import NotificationStatus, Severity
from tests.outbox.receiver import Receiver, receiving
from tests.outbox.stream import HAPPENED, happen

pytestmark = pytest.mark.django_db(transaction=True)
ADA = "user:ada"
ALL = [{"event_types": ["*"], "severity": "info"}]


@pytest.fixture(autouse=True)
def _tell_and_reach_loopback(settings: Settings) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    settings.OUTBOX_BATCH_HANDLERS = ["outbox.services.notify.note_events"]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


def url_of(receiver: Receiver) -> str:
    return f"json://someone:s3cret@127.0.0.1:{receiver.port}/hook"


def make_target(receiver: Receiver, **wanted: Any) -> NotificationTarget:
    defaults: dict[str, Any] = {"name": "ops", "url": url_of(receiver), "rules": ALL, "settle_seconds": 0}
    return save_target(NotificationTarget(), actor=ADA, **{**defaults, **wanted})


def raise_alert(severity: Severity = Severity.WARNING, title: str = "Disk is full", **more: Any) -> Entry:
    with transaction.atomic():
        return alert(severity, title, **more)


def tell(now: datetime | None = None) -> None:
    """Relay, collect and send."""
    relay_all()
    collect_due(now)
    tell_due()


def texts(receiver: Receiver) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in receiver.requests]


def test_an_alert_arrives_at_a_real_receiver_through_apprise(receiver: Receiver) -> None:
    make_target(receiver)
    raise_alert(Severity.CRITICAL, detail="3 bytes are left.")
    tell()
    [message] = texts(receiver)
    assert message["title"] == "Disk is full: 3 bytes are left."
    assert message["type"] == "failure"
    notification = Notification.objects.get()
    assert (notification.status, notification.attempts, notification.error) == (NotificationStatus.SENT, 1, "")


def test_an_alert_goes_to_the_alerts_by_its_severity() -> None:
    entry = raise_alert(Severity.CRITICAL, about="runner:1")
    assert (entry.routing_key, entry.aggregate, entry.subject) == ("system.alert.critical", "runner:1", "1")


def test_five_hundred_failures_are_one_message(receiver: Receiver) -> None:
    make_target(receiver)
    with transaction.atomic():
        for n in range(500):
            alert(Severity.WARNING, f"Runner {n} failed", about=f"runner:{n}")
    tell()
    [message] = texts(receiver)
    assert message["title"] == "500 events: 500 system.alert"
    lines = message["message"].splitlines()
    assert len(lines) == 11
    assert "Runner 0 failed" in lines[0]
    assert lines[-1] == "and 490 more"
    assert NotificationItem.objects.exclude(notification=None).count() == 500


def test_after_a_message_the_next_is_collected_for_the_window(receiver: Receiver) -> None:
    make_target(receiver, window_seconds=60)
    raise_alert(title="first")
    tell()
    for n in range(3):
        raise_alert(title=f"later {n}")
    tell()
    assert len(receiver.requests) == 1
    tell(timezone.now() + timedelta(seconds=61))
    assert [message["title"] for message in texts(receiver)] == ["first", "3 events: 3 system.alert"]


def test_the_first_message_waits_for_others_of_the_same_trouble(receiver: Receiver) -> None:
    make_target(receiver, settle_seconds=30)
    raise_alert(title="one")
    tell()
    assert receiver.requests == []
    raise_alert(title="two")
    tell(timezone.now() + timedelta(seconds=31))
    assert [message["title"] for message in texts(receiver)] == ["2 events: 2 system.alert"]


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"event_types": ["system.*"], "severity": "info"}, ["low", "high"]),
        ({"event_types": ["system.*"], "severity": "critical"}, ["high"]),
        ({"event_types": ["test.*"], "severity": "info"}, ["test.happened: test in shop"]),
        ({"event_types": ["*"], "severity": "info", "projects": ["other"]}, ["low", "high"]),
    ],
)
def test_a_rule_chooses_by_type_severity_and_project(receiver: Receiver, rule: dict[str, Any], told: list[str]) -> None:
    make_target(receiver, rules=[rule])
    raise_alert(Severity.WARNING, "low")
    raise_alert(Severity.CRITICAL, "high")
    happen("a:1", project="shop")
    relay_all()
    assert sorted(NotificationItem.objects.values_list("text", flat=True)) == sorted(told)


def test_an_event_that_two_rules_want_is_told_once(receiver: Receiver) -> None:
    make_target(receiver, rules=[*ALL, *ALL])
    raise_alert()
    tell()
    assert NotificationItem.objects.count() == 1


def test_an_event_that_is_relayed_again_is_told_once(receiver: Receiver) -> None:
    make_target(receiver)
    raise_alert()
    tell()
    Entry.objects.update(status="pending", delivered_at=None)
    tell(timezone.now() + timedelta(hours=1))
    assert len(receiver.requests) == 1


def test_who_is_switched_off_is_told_nothing(receiver: Receiver) -> None:
    target = make_target(receiver)
    save_target(target, actor=ADA, active=False)
    raise_alert()
    tell()
    assert not NotificationItem.objects.exists()


BERLIN = {"quiet_from": time(22), "quiet_until": time(7), "time_zone": "Europe/Berlin"}


@pytest.mark.parametrize(
    ("at", "quiet"),
    [
        (datetime(2026, 7, 1, 19, 59, tzinfo=UTC), False),
        (datetime(2026, 7, 1, 20, 0, tzinfo=UTC), True),
        (datetime(2026, 7, 2, 4, 59, tzinfo=UTC), True),
        (datetime(2026, 7, 2, 5, 0, tzinfo=UTC), False),
        # In winter Berlin is an hour nearer to UTC.
        (datetime(2026, 1, 1, 20, 30, tzinfo=UTC), False),
    ],
)
def test_quiet_hours_span_midnight_in_their_own_time_zone(receiver: Receiver, at: datetime, quiet: bool) -> None:
    assert is_quiet(make_target(receiver, **BERLIN), at) is quiet


def test_in_quiet_hours_only_what_is_critical_comes_and_the_rest_in_the_morning(receiver: Receiver) -> None:
    make_target(receiver, **BERLIN)
    NotificationTarget.objects.update(window_seconds=0)
    raise_alert(Severity.WARNING, "can wait")
    raise_alert(Severity.CRITICAL, "cannot wait")
    tomorrow = (timezone.now() + timedelta(days=1)).date()
    night = datetime.combine(tomorrow, time(1), tzinfo=UTC)
    tell(night)
    assert [message["title"] for message in texts(receiver)] == ["cannot wait"]
    tell(night.replace(hour=12))
    assert [message["title"] for message in texts(receiver)] == ["cannot wait", "can wait"]


def test_quiet_hours_can_hold_for_everything(receiver: Receiver) -> None:
    make_target(receiver, **BERLIN, critical_passes=False)
    raise_alert(Severity.CRITICAL)
    relay_all()
    assert collect_due(datetime.combine(timezone.now() + timedelta(days=1), time(1), tzinfo=UTC)) == 0


def test_a_receiver_that_fails_is_tried_again_later(receiver: Receiver) -> None:
    make_target(receiver)
    receiver.answer = lambda request: (500, {}, b"")
    raise_alert()
    tell()
    notification = Notification.objects.get()
    assert (notification.status, notification.attempts) == (NotificationStatus.PENDING, 1)
    assert "500" in notification.error
    assert notification.next_attempt_at is not None
    assert notification.next_attempt_at > timezone.now() + timedelta(seconds=10)
    receiver.answer = lambda request: (200, {}, b"")
    Notification.objects.update(next_attempt_at=timezone.now())
    tell_due()
    notification.refresh_from_db()
    assert (notification.status, notification.attempts, notification.error) == (NotificationStatus.SENT, 2, "")


def test_after_a_day_a_message_is_given_up_and_can_be_sent_again(receiver: Receiver) -> None:
    make_target(receiver)
    receiver.answer = lambda request: (500, {}, b"")
    raise_alert()
    relay_all()
    collect_due()
    Notification.objects.update(created_at=timezone.now() - GIVE_UP_AFTER - timedelta(seconds=1))
    tell_due()
    notification = Notification.objects.get()
    assert notification.status == NotificationStatus.FAILED
    assert notification.error
    receiver.answer = lambda request: (200, {}, b"")
    send_again(notification, actor=ADA)
    tell_due()
    notification.refresh_from_db()
    assert notification.status == NotificationStatus.SENT
    with pytest.raises(NotificationRefused):
        send_again(notification, actor=ADA)


def test_a_worker_that_died_over_a_message_leaves_it_to_another(receiver: Receiver) -> None:
    from outbox.services.tell import LEASE, _lease

    make_target(receiver)
    raise_alert()
    relay_all()
    collect_due()
    assert len(_lease()) == 1
    assert tell_due() == 0
    Notification.objects.update(next_attempt_at=timezone.now() + LEASE - LEASE)
    assert tell_due() == 1
    assert len(receiver.requests) == 1


def test_a_test_message_is_sent_at_once_also_in_quiet_hours(receiver: Receiver) -> None:
    target = make_target(receiver, settle_seconds=600, quiet_from=time(0), quiet_until=time(23, 59, 59))
    try_target(target, actor=ADA)
    tell_due()
    assert [message["title"] for message in texts(receiver)] == ["A test from Stratavore"]


def test_private_addresses_are_refused_unless_allowed(settings: Settings, receiver: Receiver) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = []
    try_target(make_target(receiver), actor=ADA)
    tell_due()
    assert receiver.requests == []
    assert "not a public address" in Notification.objects.get().error


def test_a_redirect_leads_to_no_private_address(settings: Settings, receiver: Receiver) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.1/32"]
    receiver.answer = lambda request: (307, {"location": f"http://127.0.0.2:{receiver.port}/inside"}, b"")
    try_target(make_target(receiver), actor=ADA)
    tell_due()
    assert len(receiver.requests) == 1
    assert "127.0.0.2 is not a public address" in Notification.objects.get().error


def test_a_name_that_turns_private_after_the_check_is_not_connected_to(
    receiver: Receiver, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = make_target(receiver, url=f"json://rebinding.example:{receiver.port}/hook")
    settings.WEBHOOK_ALLOWED_NETWORKS = []
    answers = iter(["93.184.215.14"])

    def look_up(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers, "127.0.0.1"), port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    try_target(target, actor=ADA)
    tell_due()
    assert receiver.requests == []
    assert "127.0.0.1 is not a public address" in Notification.objects.get().error


def test_what_commits_late_while_a_message_is_made_is_for_the_next_and_not_forgotten(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = make_target(receiver, window_seconds=0)

    def item(id: int) -> None:
        facts = {"event_type": HAPPENED, "severity": "info", "text": f"event {id}", "at": timezone.now()}
        NotificationItem.objects.create(id=id, target=target, event_id=uuid4(), **facts)

    def commit_elsewhere(id: int) -> None:
        try:
            item(id)
        finally:
            connection.close()

    def word_it(first: Any, kinds: Any) -> tuple[str, str]:
        if not NotificationItem.objects.filter(id=1).exists():
            with ThreadPoolExecutor(1) as pool:
                # Its id was taken before that of the one that is told.
                pool.submit(commit_elsewhere, 1).result()
        return message_of(first, kinds)

    monkeypatch.setattr(collecting, "message_of", word_it)
    item(2)
    assert collect_due() == 1
    assert collect_due() == 1
    told = target.notifications.order_by("id").values_list("title", "event_count")
    assert list(told) == [("event 2", 1), ("event 1", 1)]


def test_the_url_is_encrypted_and_stays_readable_while_keys_rotate(settings: Settings, receiver: Receiver) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    settings.ENCRYPTION_KEYS = [old]
    target = make_target(receiver)
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(t)::text FROM outbox_notificationtarget AS t")
        assert "s3cret" not in str(cursor.fetchall())
    assert target.shown == "JSON at 127.0.0.1"
    settings.ENCRYPTION_KEYS = [new, old]
    target.refresh_from_db()
    assert decrypt(target.url) == url_of(receiver)
    settings.ENCRYPTION_KEYS = [new]
    try_target(target, actor=ADA)
    tell_due()
    assert "Enter the URL again" in Notification.objects.get().error


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"url": "nonsense"}, "url"),
        ({"url": "syslog://"}, "url"),
        ({"url": ""}, "url"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"quiet_from": time(1)}, "quiet_until"),
        ({"rules": [{"event_types": ["nothing.there"]}]}, "event_types"),
        ({"rules": [{"event_types": []}]}, "event_types"),
        ({"rules": [{"event_types": ["*"], "severity": "loud"}]}, "severity"),
        ({"name": "no name"}, "name"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(receiver: Receiver, wanted: dict[str, Any], field: str) -> None:
    with pytest.raises(NotificationRefused) as refusal:
        make_target(receiver, **wanted)
    assert refusal.value.facts == {"field": field}
    assert not NotificationTarget.objects.exists()


def test_what_is_done_to_a_target_is_on_record_without_its_url(receiver: Receiver) -> None:
    target = make_target(receiver)
    save_target(target, actor=ADA, url=url_of(receiver), rules=[], active=False)
    try_target(target, actor=ADA)
    delete_target(target, actor=ADA)
    acts = AuditEntry.objects.filter(target_type="notification_target").order_by("pk")
    assert [act.action.partition(".")[2] for act in acts] == ["create", "change", "change_url", "test", "delete"]
    assert acts[1].before == {"active": True, "rules": [{"event_types": ["*"], "severity": "info", "projects": []}]}
    assert "s3cret" not in str(list(acts.values()))


def test_old_messages_are_forgotten(receiver: Receiver) -> None:
    make_target(receiver)
    raise_alert()
    tell()
    assert purge_notifications() == 0
    Notification.objects.update(settled_at=timezone.now() - timedelta(days=31))
    assert purge_notifications() == 1
    assert not NotificationItem.objects.exists()
