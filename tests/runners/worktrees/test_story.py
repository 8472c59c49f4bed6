"""A runner in a worktree, with real processes: launched, working, ended, merged."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from runners.backends.base import LaunchRequest
from runners.models import Changes, Project, Runner, Worktree
from runners.services import launch_runner, restart_runner, stop_runner
from runners.services.worktrees import end_worktree
from runners.states import WorktreeEnd, WorktreeState
from tests.runners.worktrees.conftest import git
from tests.stack import Stack, wait_until

ISOLATED = LaunchRequest(backend="command", isolation="worktree", argv=["bash", "-c", "true"])


def launch(project: Project, script: str, end: str) -> Runner:
    request = replace(ISOLATED, argv=["bash", "-c", script], worktree_end=end)
    return launch_runner(project.name, request, actor="user:ada")


def wait_for_state(runner: Runner, state: str) -> Worktree:
    return wait_until(
        lambda: Worktree.objects.filter(runner=runner, state=state, wanted="").first(), f"the worktree is {state}"
    )


def wait_for_lines(log: Path, count: int) -> None:
    wait_until(lambda: log.exists() and log.read_text().count("\n") == count, f"there are {count} lines")


@pytest.mark.django_db(transaction=True)
def test_two_runners_change_one_file_beside_each_other_and_the_second_merge_tells_its_conflict(
    stack: Stack, make_repository: Callable[..., Project]
) -> None:
    project = make_repository()
    readme = Path(project.path) / "readme.md"
    first = launch(project, "echo first > readme.md; echo new > new.txt", "merge")
    second = launch(project, "echo second > readme.md", "keep")
    for runner in (first, second):
        assert stack.wait_for(runner, "terminated", "failed").status == "terminated"
    wait_for_state(first, WorktreeState.MERGED)
    place = wait_for_state(second, WorktreeState.KEPT)
    assert readme.read_text() == "first\n"
    assert git(project.path, "status", "--porcelain") == ""
    assert {file["path"] for file in Changes.objects.get(runner=first).files} == {"readme.md", "new.txt"}
    end_worktree(second.pk, WorktreeEnd.MERGE, actor="user:ada")
    told = wait_until(lambda: Worktree.objects.exclude(note="").filter(runner=second).first(), "the conflict is told")
    assert told.note.endswith("in readme.md")
    assert readme.read_text() == "first\n"
    assert (Path(place.path) / "readme.md").read_text() == "second\n"
    end_worktree(second.pk, WorktreeEnd.REMOVE, actor="user:ada")
    wait_for_state(second, WorktreeState.REMOVED)
    wait_until(lambda: not Path(place.path).exists(), "the directory is gone")
    wait_until(lambda: git(project.path, "branch", "--list", "stratavore/*") == "", "the branches are gone")
    assert "+second" in Changes.objects.get(runner=second).patch


@pytest.mark.django_db(transaction=True)
def test_a_restart_goes_on_in_the_same_worktree_and_a_stop_keeps_what_it_did(
    stack: Stack, make_repository: Callable[..., Project]
) -> None:
    project = make_repository()
    runner = launch(project, "echo $PWD >> log.txt; sleep 300", "keep")
    for attempt in (1, 2):
        stack.wait_for(runner, "running")
        log = Path(Worktree.objects.get().path) / "log.txt"
        wait_for_lines(log, attempt)
        stop_runner(runner.pk, actor="user:ada", grace_seconds=0)
        stack.wait_for(runner, "terminated")
        wait_for_state(runner, WorktreeState.KEPT)
        if attempt == 1:
            restart_runner(runner.pk, actor="user:ada")
    assert set(log.read_text().split()) == {str(log.parent)}
    assert list(Changes.objects.order_by("generation").values_list("insertions", flat=True)) == [1, 2]
