"""Notification targets over HTTP and in the admin."""

from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from outbox.encryption import decrypt
from outbox.models import AuditEntry, Notification, NotificationTarget
from tests.callers import client_of, make_user, reader

pytestmark = pytest.mark.django_db
TARGETS = "/api/v1/notification-targets/"
URL = "ntfy://someone:s3cret@ntfy.example.com/ops"
RULES = [{"event_types": ["runner.*"], "severity": "warning"}]


@pytest.fixture
def staff() -> APIClient:
    return client_of(make_user("ada", is_staff=True, is_superuser=True))


@pytest.fixture
def pages() -> Client:
    client = Client()
    client.force_login(make_user("eve", is_staff=True, is_superuser=True))
    return client


def test_a_target_is_created_changed_tried_and_deleted(staff: APIClient) -> None:
    body = {"name": "ops", "url": URL, "rules": RULES, "quiet_from": "22:00", "quiet_until": "07:00"}
    made = staff.post(TARGETS, body, format="json")
    assert made.status_code == 201, made.content
    assert "s3cret" not in made.content.decode()
    assert made.json()["shown"] == "ntfy at ntfy.example.com"
    assert made.json()["rules"] == [{"event_types": ["runner.*"], "severity": "warning", "projects": []}]
    changed = staff.patch(f"{TARGETS}ops/", {"window_seconds": 300, "rules": []}, format="json").json()
    assert (changed["window_seconds"], changed["rules"]) == (300, [])
    assert decrypt(NotificationTarget.objects.get().url) == URL
    test = staff.post(f"{TARGETS}ops/test/")
    assert test.status_code == 202
    assert staff.get(f"/api/v1/notifications/{test.json()['id']}/").json()["status"] == "pending"
    assert staff.get("/api/v1/notifications/", {"target": "ops", "status": "pending"}).json()["count"] == 1
    assert staff.delete(f"{TARGETS}ops/").status_code == 204
    assert not NotificationTarget.objects.exists()


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"url": "nonsense"}, 422, "url"),
        ({"time_zone": "Mars/Olympus"}, 422, "time_zone"),
        ({"rules": [{"event_types": ["runner.*"], "severity": "loud"}]}, 400, "rules"),
        ({"urll": URL}, 400, "urll"),
    ],
)
def test_what_makes_no_sense_is_told_by_field(
    staff: APIClient, change: dict[str, Any], status: int, field: str
) -> None:
    answer = staff.post(TARGETS, {"name": "ops", "url": URL, **change}, format="json")
    assert (answer.status_code, list(answer.json()["errors"])) == (status, [field])


def test_targets_are_for_staff(staff: APIClient) -> None:
    staff.post(TARGETS, {"name": "ops", "url": URL}, format="json")
    stranger = reader()
    assert stranger.get(TARGETS).status_code == 403
    assert stranger.get("/api/v1/notifications/").status_code == 403
    assert stranger.post(TARGETS, {"name": "mine", "url": URL}, format="json").status_code == 403
    assert stranger.post(f"{TARGETS}ops/test/").status_code == 403


def form(**wanted: str) -> dict[str, str]:
    return {
        "name": "ops",
        "active": "on",
        "new_url": URL,
        "settle_seconds": "5",
        "window_seconds": "60",
        "time_zone": "UTC",
        "critical_passes": "on",
        "rules-TOTAL_FORMS": "1",
        "rules-INITIAL_FORMS": "0",
        "rules-0-event_types": "runner.*, system.alert",
        "rules-0-severity": "warning",
        "rules-0-projects": "shop",
        **wanted,
    }


def test_staff_make_and_change_a_target_in_the_admin(pages: Client) -> None:
    address = "/admin/outbox/notificationtarget/"
    answer = pages.post(f"{address}add/", form())
    assert answer.status_code == 302, answer.content.decode()
    target = NotificationTarget.objects.get()
    rule = target.rules.get()
    assert (rule.event_types, rule.projects) == (["runner.*", "system.alert"], ["shop"])
    assert (decrypt(target.url), target.created_by) == (URL, "user:eve")
    page = pages.get(f"{address}{target.pk}/change/").content.decode()
    assert "s3cret" not in page
    kept = {"rules-INITIAL_FORMS": "1", "rules-0-id": str(rule.pk), "rules-0-target": str(target.pk)}
    assert pages.post(f"{address}{target.pk}/change/", form(new_url="", window_seconds="90", **kept)).status_code == 302
    target.refresh_from_db()
    assert (decrypt(target.url), target.window_seconds) == (URL, 90)
    pages.post(address, {"action": "try_selected", "_selected_action": [target.pk]})
    assert Notification.objects.count() == 1
    assert pages.get("/admin/outbox/notification/").status_code == 200
    assert pages.post(f"{address}{target.pk}/delete/", {"post": "yes"}).status_code == 302
    verbs = AuditEntry.objects.filter(target_type="notification_target").order_by("pk").values_list("action", flat=True)
    assert [verb.partition(".")[2] for verb in verbs] == ["create", "change_rules", "change", "test", "delete"]


@pytest.mark.parametrize(
    "wanted",
    [
        {"new_url": "nonsense"},
        {"new_url": ""},
        {"time_zone": "Mars/Olympus"},
        {"quiet_from": "22:00"},
        {"rules-0-event_types": "nothing.there"},
    ],
)
def test_what_makes_no_sense_is_told_in_the_admin(pages: Client, wanted: dict[str, str]) -> None:
    assert pages.post("/admin/outbox/notificationtarget/add/", form(**wanted)).status_code == 200
    assert not NotificationTarget.objects.exists()
