"""A runner's worktree over the API and on its pages."""

import pytest
from django.test import Client

from runners.models import Changes, Runner, Worktree
from runners.services.worktrees import finish_worktree, working_directory
from runners.states import RunnerStatus
from runners.transitions import move
from tests.callers import make_user, operator, reader
from tests.runners.factories import make_node, make_runner
from tests.runners.worktrees.conftest import make_repository, project, write

__all__ = ["make_repository", "project"]
RUNNERS = "/api/v1/runners/"


@pytest.fixture
def ended(project: object) -> Runner:
    """A runner that ended with a changed file in a worktree that is kept."""
    runner = make_runner(project=project, isolation="worktree")
    write(working_directory(runner), readme__md="one\n<b>two</b>\nthree\n")
    move(runner.pk, RunnerStatus.TERMINATED, generation=1, actor="system:node")
    finish_worktree(runner.pk)
    return runner


def test_the_changes_are_told_with_files_and_patch(ended: Runner) -> None:
    body = reader().get(f"{RUNNERS}{ended.pk}/changes/").json()
    assert (body["state"], body["wanted"], body["branch"]) == ("kept", "", Worktree.objects.get().branch)
    changes = body["changes"]
    assert (changes["file_count"], changes["insertions"], changes["deletions"]) == (1, 1, 1)
    assert changes["files"] == [{"path": "readme.md", "old_path": "", "status": "M", "insertions": 1, "deletions": 1}]
    assert "+<b>two</b>\n" in changes["patch"]


@pytest.mark.django_db
def test_a_runner_without_a_worktree_has_no_changes() -> None:
    assert reader().get(f"{RUNNERS}{make_runner().pk}/changes/").status_code == 404


def test_a_worktree_is_merged_when_asked(ended: Runner) -> None:
    address = f"{RUNNERS}{ended.pk}/worktree/"
    assert reader().post(address, {"how": "merge"}, format="json").status_code == 403
    client = operator()
    assert client.post(address, {"how": "burn"}, format="json").status_code == 400
    answer = client.post(address, {"how": "merge"}, format="json")
    assert (answer.status_code, answer.json()["wanted"]) == (202, "merge")
    finish_worktree(ended.pk)
    assert client.get(f"{RUNNERS}{ended.pk}/changes/").json()["state"] == "merged"
    refused = client.post(address, {"how": "remove"}, format="json")
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/worktree_refused")


def test_a_launch_takes_isolation_and_its_end(project: object) -> None:
    make_node()
    body = {
        "project": str(project),
        "backend": "command",
        "argv": ["true"],
        "isolation": "worktree",
        "worktree_end": "merge",
    }
    answer = operator().post(RUNNERS, body, format="json")
    assert answer.status_code == 201, answer.content
    assert (answer.json()["isolation"], answer.json()["worktree_end"]) == ("worktree", "merge")


def test_the_pages_show_the_diff_coloured_and_escaped_with_its_buttons(ended: Runner) -> None:
    client = Client()
    client.force_login(make_user("ada", is_superuser=True))
    page = client.get(f"/runners/{ended.pk}/?tab=changes").content.decode()
    assert '<span class="add">+&lt;b&gt;two&lt;/b&gt;' in page
    assert "Merge into the project" in page
    assert "+&lt;b&gt;two" in client.get(f"/sessions/{ended.session_id}/").content.decode()
    answer = client.post(f"/runners/{ended.pk}/worktree/", {"how": "remove"})
    assert answer["Location"].endswith("?tab=changes")
    finish_worktree(ended.pk)
    page = client.get(f"/runners/{ended.pk}/?tab=changes").content.decode()
    assert "Merge into the project" not in page
    assert "Removed" in page
    assert Changes.objects.count() == 1


def test_a_project_is_made_with_a_choice_of_its_own(project: object) -> None:
    client = operator()
    address = f"/api/v1/projects/{project}/"
    answer = client.patch(address, {"isolation": "worktree", "worktree_end": "remove"}, format="json")
    assert (answer.json()["isolation"], answer.json()["worktree_end"]) == ("worktree", "remove")
    page = client.get(f"/launch/?project={project}").content.decode()
    assert "As the project says" in page
