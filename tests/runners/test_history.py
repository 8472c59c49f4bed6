"""Versions of records are kept whichever way they are changed, with who changed them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import ProgrammingError, connection, transaction
from django.test import Client

from outbox.models import AuditEntry
from runners.models import BudgetVersion, Project, ProjectVersion, QuotaVersion, ResourceQuota
from runners.services import archive_project, create_project, set_quota
from runners.services.history import history_of
from runners.services.projects import change_project
from tests.callers import operator
from tests.runners.factories import make_project

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_projects_history_tells_what_changed_and_by_whom(workspace: Callable[[str], Path]) -> None:
    project = create_project(name="shop", path=str(workspace("shop")), actor="user:ada")
    change_project(project, actor="user:bob", description="Sells.")
    set_quota(project, max_concurrent_runners=9, actor="token:ada/ci")
    archive_project(project, actor="user:ada")
    told = [
        (version.record, version.change, version.act and (version.act.actor, version.act.action))
        for version in history_of(project)
    ]
    assert told == [
        ("project", "update", ("user:ada", "project.archive")),
        ("quota", "update", ("token:ada/ci", "project.change")),
        ("project", "update", ("user:bob", "project.change")),
        ("project", "insert", ("user:ada", "project.create")),
        ("quota", "insert", ("user:ada", "project.create")),
    ]
    assert history_of(project)[2].values["description"] == "Sells."


def test_what_goes_past_the_services_is_kept_without_an_act() -> None:
    project = make_project(quota=3)
    project.description = "by save()"
    project.save()
    Project.objects.filter(pk=project.pk).update(description="by update()")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE runners_project SET description = 'by SQL' WHERE id = %s", [project.pk])
    ResourceQuota.objects.filter(pk=project.pk).delete()
    versions = history_of(project)
    assert versions[0].change == "delete"
    descriptions = [version.values["description"] for version in versions if version.record == "project"]
    assert descriptions == ["by SQL", "by update()", "by save()", ""]
    assert all(version.act is None for version in versions)


def test_rows_made_in_bulk_are_kept() -> None:
    Project.objects.bulk_create(Project(name=f"p{n}", path=f"/nowhere/{n}") for n in range(3))
    assert ProjectVersion.objects.filter(pgh_label="insert").count() == 3


def test_a_launch_makes_no_version() -> None:
    project = make_project()
    Project.objects.filter(pk=project.pk).update(last_launch_at="2026-01-01T00:00Z")
    assert ProjectVersion.objects.filter(pgh_obj_id=project.pk).count() == 1


def test_history_cannot_be_changed() -> None:
    make_project(quota=3)
    for change in (QuotaVersion.objects.all().delete, lambda: ProjectVersion.objects.update(name="x")):
        with pytest.raises(ProgrammingError, match="Cannot update or delete"), transaction.atomic():
            change()


def test_history_is_shown_in_the_api_and_the_admin(workspace: Callable[[str], Path], admin_client: Client) -> None:
    api = operator()
    api.post("/api/v1/projects/", {"name": "shop", "path": str(workspace("shop"))}, format="json")
    api.patch("/api/v1/projects/shop/", {"description": "Sells."}, format="json")
    newest = api.get("/api/v1/projects/shop/history/").json()[0]
    assert (newest["record"], newest["change"], newest["actor"]) == ("project", "update", "user:operator")
    assert newest["values"]["description"] == "Sells."
    page = admin_client.get("/admin/runners/projectversion/").content.decode()
    assert "user:operator project.change" in page
    for name in ("quotaversion", "budgetversion"):
        assert admin_client.get(f"/admin/runners/{name}/").status_code == 200
    assert not BudgetVersion.objects.exists()
    assert AuditEntry.objects.filter(action="project.change").count() == 1
