"""The audit log over HTTP and in the admin."""

import pytest
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from outbox.models import AuditCheck, AuditSeal
from outbox.services.check_audit import check_audit
from outbox.services.seal import seal_committed
from tests.callers import client_of, make_user, reader
from tests.outbox.tamper import act, tamper

pytestmark = pytest.mark.django_db
LIST = "/api/v1/audit/"


@pytest.fixture
def auditor() -> APIClient:
    for n in range(3):
        act(n, actor=f"token:ada/{n}", action="runner.stop" if n else "node.drain")
    seal_committed()
    return client_of(make_user("auditor", "outbox.view_auditentry"))


def test_acts_are_listed_newest_first_with_their_place(auditor: APIClient) -> None:
    answer = auditor.get(LIST, {"target_type": "runner", "page_size": "2"}).json()
    assert [row["target_id"] for row in answer["results"]] == ["2", "1"]
    assert (answer["count"], answer["results"][0]["position"]) == (3, 3)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"action": "runner.*"}, ["2", "1"]),
        ({"action": "node.drain"}, ["0"]),
        ({"actor": "token:ada/1"}, ["1"]),
        ({"actor": "user:*"}, []),
        ({"source": "system"}, ["2", "1", "0"]),
        ({"source": "api"}, []),
        ({"search": "demo-2"}, ["2"]),
        ({"at_before": "2020-01-01T00:00:00Z"}, []),
    ],
)
def test_acts_are_narrowed(auditor: APIClient, query: dict[str, str], found: list[str]) -> None:
    acts = [row for row in auditor.get(LIST, query).json()["results"] if row["target_type"] == "runner"]
    assert [row["target_id"] for row in acts] == found


@pytest.mark.parametrize("address", ["", "verify/", "checkpoint/"])
def test_who_may_not_read_the_log_is_refused(address: str) -> None:
    assert reader().get(LIST + address).status_code == 403


def test_nobody_writes_over_http(auditor: APIClient) -> None:
    assert auditor.post(LIST, {}).status_code == 405
    assert auditor.delete(f"{LIST}1/").status_code == 405


def test_the_first_broken_row_is_told(auditor: APIClient) -> None:
    checkpoint = auditor.get(f"{LIST}checkpoint/").json()["checkpoint"]
    verdict = auditor.get(f"{LIST}verify/", {"checkpoint": checkpoint}).json()
    assert (verdict["whole"], verdict["complete"], verdict["broken"]) == (True, True, None)
    entry = AuditSeal.objects.get(position=2).entry_id
    tamper("UPDATE outbox_auditentry SET actor = 'user:eve' WHERE id = %s", entry)
    verdict = auditor.get(f"{LIST}verify/").json()
    assert (verdict["whole"], verdict["broken"]["position"], verdict["broken"]["entry_id"]) == (False, 2, entry)


def test_a_checkpoint_that_is_none_is_a_field_error(auditor: APIClient) -> None:
    answer = auditor.get(f"{LIST}verify/", {"after": "nonsense"})
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["after"])


def test_checks_go_on_where_the_last_one_ended(auditor: APIClient) -> None:
    assert check_audit().position == AuditSeal.objects.count()
    act(7)
    seal_committed()
    check = check_audit()
    assert (check.whole, check.everything, check.position) == (True, False, AuditSeal.objects.count())
    assert check_audit(everything=True).everything


def test_a_check_finds_that_the_chain_was_cut_off_since_the_last(auditor: APIClient) -> None:
    check_audit()
    tamper("DELETE FROM outbox_auditentry WHERE id IN (SELECT entry_id FROM outbox_auditseal WHERE position > 1)")
    tamper("DELETE FROM outbox_auditseal WHERE position > 1")
    check = check_audit()
    assert not check.whole
    assert "cut off" in check.finding
    assert AuditCheck.objects.count() == 2


def test_staff_look_at_acts_and_change_nothing(admin_client: Client) -> None:
    entry = act(1, before={"quota": 5}, after={"quota": 9}, reason="more work")
    page = admin_client.get(reverse("admin:outbox_auditentry_changelist"), {"action": "runner.stop"})
    assert "more work" in page.content.decode()
    address = reverse("admin:outbox_auditentry_change", args=[entry.pk])
    assert "quota" in admin_client.get(address).content.decode()
    admin_client.post(address, {"actor": "user:eve"})
    entry.refresh_from_db()
    assert entry.actor == "user:ada"
    assert admin_client.post(reverse("admin:outbox_auditentry_delete", args=[entry.pk])).status_code == 403
    assert admin_client.get(reverse("admin:outbox_auditentry_add")).status_code == 403
