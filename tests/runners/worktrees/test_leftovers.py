"""What is left over is told before anything is removed."""

import uuid
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.utils import timezone

from runners.models import Changes, Project, Runner, Worktree
from runners.services.worktrees import finish_worktree, working_directory
from runners.services.worktrees.prepare import branch_of
from runners.states import RunnerStatus, WorktreeState
from runners.transitions import move
from tests.runners.factories import make_node, make_runner
from tests.runners.worktrees.conftest import commit, git, write


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, settings: Any) -> None:
    """Worktrees of one test alone."""
    settings.WORKTREES_DIR = tmp_path / "worktrees"


def listed(*words: str) -> str:
    out = StringIO()
    call_command("worktrees", *words, stdout=out)
    return out.getvalue()


def branches(project: Project) -> list[str]:
    return git(project.path, "branch", "--format=%(refname:short)").splitlines()


@pytest.fixture
def ended(project: Project) -> Runner:
    """A runner that ended 20 days ago and whose worktree was kept."""
    runner = make_runner(project=project, isolation="worktree", node=make_node(name=settings.NODE_NAME))
    write(working_directory(runner), a__txt="a\n")
    long_ago = timezone.now() - timedelta(days=20)
    move(runner.pk, RunnerStatus.TERMINATED, generation=1, actor="system:node", ended_at=long_ago)
    finish_worktree(runner.pk)
    return runner


def test_a_worktree_kept_too_long_is_told_and_removed_only_when_asked(ended: Runner, project: Project) -> None:
    place = Path(Worktree.objects.get().path)
    told = listed()
    assert f"would be removed: directory {place} and branch {branch_of(ended)}" in told
    assert "ended 20 days ago" in told
    assert place.exists()
    assert "Nothing is left over" in listed("--days", "30")
    assert "removed: directory" in listed("--remove")
    assert not place.exists()
    assert branches(project) == ["main"]
    assert Worktree.objects.get().state == WorktreeState.REMOVED
    assert Changes.objects.get().file_count == 1
    assert "Nothing is left over" in listed("--remove")


@pytest.mark.usefixtures("ended")
def test_what_is_kept_nowhere_else_stays_unless_that_is_asked_for_too() -> None:
    place = Path(Worktree.objects.get().path)
    Changes.objects.all().delete()
    commit(place, "more", b__txt="b\n")
    write(place, c__txt="c\n")
    assert "(kept nowhere else: 1 uncommitted file and 1 commit)" in listed("--remove")
    assert place.exists()
    listed("--remove", "--unsaved")
    assert not place.exists()


def test_a_directory_of_an_unknown_runner_and_a_branch_without_a_worktree_are_left_over(project: Project) -> None:
    name = uuid.uuid4().hex
    place = Path(settings.WORKTREES_DIR) / name
    place.parent.mkdir(exist_ok=True)
    git(project.path, "worktree", "add", "--quiet", "-b", "stratavore/unknown", str(place))
    git(project.path, "branch", "stratavore/old")
    git(project.path, "branch", "own-work")
    told = listed("--remove")
    assert "branch stratavore/unknown" in told
    assert "its runner is unknown" in told
    assert "branch stratavore/old" in told
    assert not place.exists()
    assert branches(project) == ["main", "own-work"]


def test_what_runs_is_not_left_over(project: Project) -> None:
    runner = make_runner(project=project, isolation="worktree", node=make_node(name=settings.NODE_NAME))
    working_directory(runner)
    assert "Nothing is left over" in listed("--remove", "--days", "0", "--unsaved")
    assert branch_of(runner) in branches(project)


@pytest.mark.django_db
def test_days_are_not_negative() -> None:
    with pytest.raises(CommandError, match="from 0"):
        listed("--days", "-1")
