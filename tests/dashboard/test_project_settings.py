"""A project is changed on its page: what was touched, and nothing that others set meanwhile."""

import re
from typing import Any

import pytest
from django.test import Client

from outbox.models import AuditEntry
from runners.models import ApprovalTerms, Project
from runners.services.approvals.rules import set_terms
from runners.services.limits import limits_of_project
from runners.services.projects import change_project
from tests.callers import make_user
from tests.dashboard.conftest import signed_in
from tests.runners.factories import make_project

pytestmark = pytest.mark.django_db


def filled(client: Client, project: Project) -> dict[str, Any]:
    """Return what a browser would send of the page as it is."""
    response = client.get(f"/projects/{project.name}/settings/")
    page, sent = response.content.decode(), dict[str, Any]()
    for field in response.context["form"]:
        value = field.value()
        held = "" if value is None else str(value)
        assert re.search(rf'name="{field.html_name}"', page), field.name
        assert re.search(rf'type="hidden" name="{field.html_initial_name}"', page), field.name
        sent |= {field.html_name: held, field.html_initial_name: held}
    return sent


def save(client: Client, project: Project, sent: dict[str, Any]) -> Any:
    return client.post(f"/projects/{project.name}/settings/", sent)


def acts() -> list[str]:
    """Return what was done to projects, in its order."""
    entries = AuditEntry.objects.filter(target_type="project").order_by("pk")
    return list(entries.values_list("action", flat=True))


def test_retention_terms_quota_and_limits_are_set_and_shown(client: Client) -> None:
    project = make_project(quota=3, tags=["web", "shop"])
    typed = {
        "description": "Pears.\r\nAnd plums.", "tags": "web, till, web", "max_concurrent_runners": "",
        "memory_mb": "512", "isolation": "worktree", "worktree_end": "keep", "transcript_days": "30",
        "expires_seconds": "5400", "message": "Nobody is here.",
    }  # fmt: skip
    answer = save(client, project, {**filled(client, project), **typed})
    assert answer["Location"] == f"/projects/{project.name}/"
    project.refresh_from_db()
    assert (project.description, project.tags) == ("Pears.\nAnd plums.", ["web", "till"])
    assert (project.isolation, project.transcript_days) == ("worktree", 30)
    assert project.quota.max_concurrent_runners == 5
    assert limits_of_project(project) == {"memory_mb": 512}
    terms = ApprovalTerms.objects.get(project=project)
    assert (terms.expires_seconds, terms.message) == (5400, "Nobody is here.")
    page = client.get(f"/projects/{project.name}/").content.decode()
    assert "30 days" in page
    assert "1 h 30 m" in page
    assert acts() == ["approval_terms.change", "project.change"]


def test_what_was_not_touched_stays_as_others_set_it_meanwhile(client: Client) -> None:
    project = make_project(description="Pears.", transcript_days=10)
    sent = filled(client, project)
    change_project(project, actor="user:bob", description="Plums.", limits={"memory_mb": 64})
    set_terms(project, {"message": "Bob's words."}, actor="user:bob")
    save(client, project, {**sent, "transcript_days": ""})
    project.refresh_from_db()
    assert (project.description, project.transcript_days) == ("Plums.", None)
    assert limits_of_project(project) == {"memory_mb": 64}
    assert ApprovalTerms.objects.get(project=project).message == "Bob's words."


def test_a_page_that_is_sent_as_it_was_changes_nothing(client: Client) -> None:
    project = make_project(tags=["web"], description="Pears.\nAnd plums.")
    assert save(client, project, filled(client, project)).status_code == 302
    assert acts() == []
    assert not ApprovalTerms.objects.exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("transcript_days", "0"), ("transcript_days", "99999"), ("expires_seconds", "0"), ("expires_seconds", ""),
        ("max_concurrent_runners", "-1"), ("memory_mb", "1"), ("isolation", "attic"), ("tags", "x" * 61),
        ("tags", ",".join(map(str, range(51)))), ("description", "a\0b"), ("message", "x" * 501),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_at_its_field(client: Client, field: str, value: str) -> None:
    project = make_project()
    answer = save(client, project, {**filled(client, project), "description": "Changed.", field: value})
    assert (answer.status_code, list(answer.context["form"].errors)) == (422, [field])
    project.refresh_from_db()
    assert project.description == ""
    assert acts() == []


def test_terms_take_a_permission_of_their_own(reader: Any) -> None:
    project = make_project()
    assert signed_in(reader).get(f"/projects/{project.name}/settings/").status_code == 403
    changer = signed_in(make_user("changer", "runners.change_project"))
    sent = filled(changer, project)
    assert "expires_seconds" not in sent
    save(changer, project, {**sent, "transcript_days": "7", "expires_seconds": "1", "message": "Sneaked in."})
    project.refresh_from_db()
    assert project.transcript_days == 7
    assert not ApprovalTerms.objects.exists()
