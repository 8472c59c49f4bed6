"""Making, changing and archiving projects: races, and the events that tell of it."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection

from outbox.models import Entry
from runners.exceptions import InvalidRequest
from runners.models import Project
from runners.services.drain import drain_node, undrain_node
from runners.services.projects import archive_project, change_project, create_project
from tests.runners.factories import make_node, make_project


@pytest.mark.django_db(transaction=True)
def test_of_several_who_make_a_project_of_one_name_one_does_and_the_others_are_told(
    workspace: Callable[[str], Path],
) -> None:
    paths = [workspace(f"shop-{number}") for number in range(6)]
    begin = threading.Barrier(len(paths))
    told: list[str] = []

    def make(path: Path) -> None:
        begin.wait()
        try:
            told.append(create_project(name="shop", path=str(path), actor="user:ada").name)
        except InvalidRequest as refusal:
            told.append(f"{refusal.facts['field']}: {refusal.message}")
        finally:
            connection.close()

    threads = [threading.Thread(target=make, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == [*["name: Project with this Name already exists."] * 5, "shop"]
    assert Project.objects.count() == 1
    assert published() == ["project.created"]


def published() -> list[str]:
    """The types of the events about projects and nodes, in their order."""
    types = Entry.objects.order_by("pk").values_list("type", flat=True)
    return [name for name in types if name and name.startswith(("project.", "node."))]


@pytest.mark.django_db
def test_a_project_tells_what_becomes_of_it_once(workspace: Callable[[str], Path]) -> None:
    project = create_project(name="shop", path=str(workspace("shop")), actor="user:ada")
    change_project(project, actor="user:ada", description="new", limits={"memory_mb": 512})
    change_project(project, actor="user:ada", description="new")
    archive_project(project, actor="user:ada")
    archive_project(project, actor="user:ada")
    assert published() == ["project.created", "project.changed", "project.archived"]
    changed = Entry.objects.get(type="project.changed")
    assert changed.data["changed"] == ["description", "memory_mb"]


@pytest.mark.django_db
def test_a_node_tells_that_it_is_drained_and_that_it_is_not_any_more() -> None:
    make_project()
    node = make_node()
    for change in (drain_node, drain_node, undrain_node, undrain_node):
        change(node, actor="user:ada")
    assert published() == ["node.draining", "node.undrained"]
