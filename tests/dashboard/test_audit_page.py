"""The page of the audit log."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from outbox.models import AuditEntry
from outbox.services.check_audit import check_audit
from outbox.services.seal import seal_committed
from tests.callers import make_user
from tests.outbox.tamper import act, tamper

pytestmark = pytest.mark.django_db


@pytest.fixture
def auditor() -> Client:
    client = Client()
    client.force_login(make_user("auditor", "outbox.view_auditentry"))
    return client


def test_acts_stand_newest_first_with_what_changed(auditor: Client) -> None:
    act(1, before={"quota": 5}, after={"quota": 9}, reason="more work")
    act(2)
    page = auditor.get("/audit/").content.decode()
    assert page.index("demo-2") < page.index("demo-1")
    assert "more work" in page
    assert "&quot;quota&quot;: 9" in page


def test_acts_are_found_by_who_what_and_on_what(auditor: Client) -> None:
    act(1, actor="token:bob/ci", action="node.drain", target_type="node")
    act(2)
    for query in ({"actor": "bob"}, {"action": "node.*"}, {"target": "demo-1"}, {"target": "node"}):
        page = auditor.get("/audit/", query).content.decode()
        assert "demo-1" in page
        assert "demo-2" not in page


def test_older_acts_are_a_page_away(auditor: Client) -> None:
    for n in range(55):
        act(n, actor="user:bob")
    page = auditor.get("/audit/", {"actor": "user:bob"}).content.decode()
    assert "demo-54<" in page
    assert "demo-4<" not in page
    oldest_shown = AuditEntry.objects.get(actor="user:bob", target_id="5").pk
    assert f"actor=user%3Abob&amp;before={oldest_shown}" in page
    assert "demo-4<" in auditor.get("/audit/", {"actor": "user:bob", "before": str(oldest_shown)}).content.decode()


def test_it_says_how_far_the_chain_is_verified_and_when_it_is_broken(auditor: Client) -> None:
    act(1)
    seal_committed()
    head = check_audit().position
    assert f"Chain verified up to {head} of {head}" in auditor.get("/audit/").content.decode()
    entry = AuditEntry.objects.latest("pk")
    tamper("UPDATE outbox_auditentry SET actor = 'user:eve' WHERE id = %s", entry.pk)
    check_audit(everything=True)
    page = auditor.get("/audit/").content.decode()
    assert f"entry {entry.pk}: the entry was changed" in page


def test_it_is_for_those_who_may_read_it(client: Client, operator: User) -> None:
    stranger = Client()
    stranger.force_login(make_user("stranger"))
    assert stranger.get("/audit/").status_code == 403
    assert 'href="/audit/"' not in stranger.get("/").content.decode()
