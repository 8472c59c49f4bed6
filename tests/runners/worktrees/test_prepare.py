"""A runner's worktree is made once, and is found again."""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connections

from runners.backends.base import LaunchRequest
from runners.exceptions import NotIsolated
from runners.models import Project, Runner, Worktree
from runners.services import launch_runner
from runners.services.start import specification, start_on_node
from runners.services.worktrees import working_directory
from runners.services.worktrees.prepare import branch_of
from runners.states import RunnerStatus, WorktreeState
from tests.runners.factories import make_node, make_project, make_runner
from tests.runners.worktrees.conftest import commit, git, write


def isolated(project: Project, **fields: object) -> Runner:
    return make_runner(**{"project": project, "isolation": "worktree", "status": RunnerStatus.STARTING, **fields})


def test_a_runner_works_on_a_branch_of_its_own_beside_a_clean_project(project: Project) -> None:
    runner = isolated(project, name="Fix: the login!")
    place = Path(specification(runner)["cwd"])
    assert place.is_relative_to(Path(settings.WORKTREES_DIR).resolve())
    assert (place / "readme.md").read_text() == "one\ntwo\nthree\n"
    assert git(place, "branch", "--show-current") == f"stratavore/fix-the-login-{runner.pk.hex[:6]}"
    assert git(project.path, "status", "--porcelain") == ""
    worktree = Worktree.objects.get(runner=runner)
    assert (worktree.base, worktree.state) == (git(project.path, "rev-parse", "HEAD"), WorktreeState.OPEN)


def test_uncommitted_changes_of_the_project_stay_out_of_it(project: Project) -> None:
    write(project.path, readme__md="half\n", new__txt="x")
    place = Path(working_directory(isolated(project)))
    assert sorted(path.name for path in place.iterdir()) == [".git", "readme.md"]
    assert (place / "readme.md").read_text() == "one\ntwo\nthree\n"


def test_the_sub_directory_is_the_same_within_it(project: Project) -> None:
    for name in ("lib", "empty"):
        (Path(project.path) / name).mkdir()
    commit(Path(project.path) / "lib", code__py="1\n")
    below = isolated(project, workspace=f"{project.path}/lib")
    assert working_directory(below).endswith(f"{below.pk.hex}/lib")
    # What no commit holds is made, so that the runner can start.
    assert Path(working_directory(isolated(project, workspace=f"{project.path}/empty"))).is_dir()


def test_a_link_that_leads_out_of_the_worktree_is_refused(project: Project) -> None:
    path = Path(project.path)
    (path / "lib").symlink_to("/etc")
    commit(path)
    (path / "lib").unlink()
    (path / "lib").mkdir()
    with pytest.raises(NotIsolated, match="leads out of the worktree"):
        working_directory(isolated(project, workspace=f"{path}/lib"))


def test_a_repeated_start_finds_the_same_worktree_with_what_is_in_it(project: Project) -> None:
    runner = isolated(project)
    place = Path(working_directory(runner))
    write(place, notes__txt="mine")
    commit(project.path, "the project goes on", later__txt="x")
    assert working_directory(runner) == str(place)
    assert (place / "notes.txt").read_text() == "mine"
    assert not (place / "later.txt").exists()


@pytest.mark.parametrize("left", ["directory", "branch", "locked", "record"])
def test_what_a_killed_start_left_is_made_anew(project: Project, left: str) -> None:
    runner = isolated(project)
    place = Path(working_directory(runner))
    Worktree.objects.all().delete()
    if left == "directory":
        git(project.path, "worktree", "remove", str(place))
        git(project.path, "branch", "-D", branch_of(runner))
        place.mkdir()
        write(place, junk="x")
    elif left == "branch":
        git(project.path, "worktree", "remove", str(place))
    elif left == "locked":
        git(project.path, "worktree", "lock", "--reason", "initializing", str(place))
        (place / "readme.md").unlink()
    else:
        shutil.rmtree(place)
    assert working_directory(runner) == str(place)
    assert git(place, "status", "--porcelain") == ""
    assert git(place, "branch", "--show-current") == branch_of(runner)
    assert Worktree.objects.get().state == WorktreeState.OPEN


def test_a_worktree_whose_directory_is_gone_is_made_again_from_its_branch(project: Project) -> None:
    runner = isolated(project)
    place = Path(working_directory(runner))
    base = Worktree.objects.get().base
    commit(place, work__txt="done")
    shutil.rmtree(place)
    working_directory(runner)
    assert (place / "work.txt").read_text() == "done"
    assert Worktree.objects.get().base == base


@pytest.mark.django_db(transaction=True)
def test_two_starts_at_once_make_one_worktree_each_for_many_runners(make_repository: Callable[..., Project]) -> None:
    project, node = make_repository(), make_node()
    runners = [isolated(project, node=node) for _ in range(4)]
    places: list[str] = []

    def start(runner: Runner) -> None:
        try:
            places.append(working_directory(runner))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=start, args=[runner]) for runner in runners for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(places) == sorted(2 * [w.path for w in Worktree.objects.all()])
    assert len(set(places)) == 4
    assert all(git(place, "status", "--porcelain") == "" for place in places)


@pytest.mark.django_db
def test_no_repository_and_no_commit_are_refused_at_the_launch_and_at_the_start(
    make_repository: Callable[..., Project],
) -> None:
    make_node()
    plain, empty = make_project(), make_project()
    git(empty.path, "init", "--quiet")
    request = LaunchRequest(backend="command", argv=["true"], isolation="worktree")
    for where, sentence in ((plain, "is in no git repository"), (empty, "has no commit yet")):
        with pytest.raises(NotIsolated, match=sentence):
            launch_runner(where.name, request, actor="user:ada")
        runner = isolated(where)
        assert start_on_node(runner.pk, 1) is False
        runner.refresh_from_db()
        assert runner.status == RunnerStatus.FAILED
        assert sentence in runner.reason


@pytest.mark.django_db
def test_a_repository_around_the_workspace_roots_is_not_the_projects(tmp_path: Path, settings: object) -> None:
    git(tmp_path, "init", "--quiet")
    commit(tmp_path, all__txt="x")
    (tmp_path / "roots").mkdir()
    settings.WORKSPACE_ROOTS = [tmp_path / "roots"]  # type: ignore[attr-defined]
    with pytest.raises(NotIsolated, match="is in no git repository"):
        working_directory(isolated(make_project(path=str(tmp_path / "roots" / "p"))))


def test_the_repositorys_hooks_do_not_run(project: Project, tmp_path: Path) -> None:
    hook = Path(project.path) / ".git" / "hooks" / "post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    working_directory(isolated(project))
    assert not (tmp_path / "ran").exists()


def test_a_launch_takes_the_projects_choice_unless_it_has_its_own(project: Project) -> None:
    make_node()
    Project.objects.filter(pk=project.pk).update(isolation="worktree", worktree_end="merge")
    request = LaunchRequest(backend="command", argv=["true"])
    chosen = launch_runner(project.name, request, actor="user:ada")
    assert (chosen.isolation, chosen.worktree_end) == ("worktree", "merge")
    own = LaunchRequest(backend="command", argv=["true"], isolation="none", worktree_end="keep")
    runner = launch_runner(project.name, own, actor="user:ada")
    assert (runner.isolation, runner.worktree_end) == ("none", "keep")
