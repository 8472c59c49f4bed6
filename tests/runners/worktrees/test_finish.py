"""What becomes of a worktree when its runner has ended."""

import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from outbox.models import Entry
from runners.exceptions import WorktreeRefused
from runners.models import Changes, Project, Runner, Worktree
from runners.services import restart_runner
from runners.services.reconcile import unfinished_worktrees
from runners.services.worktrees import collect as collecting
from runners.services.worktrees import end_worktree, finish_worktree, working_directory
from runners.services.worktrees.finish import _take_away
from runners.states import RunnerStatus, WorktreeEnd, WorktreeState
from runners.transitions import move
from tests.runners.factories import make_node, make_runner
from tests.runners.worktrees.conftest import commit, git, write

Begin = Callable[..., tuple[Runner, Path]]


@pytest.fixture
def begin(project: Project) -> Begin:
    """Make a runner with its worktree; `worktree_end` and other fields as given."""

    def begin_(**fields: Any) -> tuple[Runner, Path]:
        runner = make_runner(**{"project": project, "isolation": "worktree", **fields})
        return runner, Path(working_directory(runner))

    return begin_


def end(runner: Runner) -> Worktree:
    """End the runner and do what its end sends to the node."""
    move(runner.pk, RunnerStatus.TERMINATED, generation=runner.generation, actor="system:node")
    task = Entry.objects.filter(type="runners.tasks.finish_worktree").last()
    assert task is not None
    assert task.data["args"] == [str(runner.pk)]
    assert runner.node is not None
    assert task.routing_key == runner.node.queue
    return finish(runner)


def finish(runner: Runner) -> Worktree:
    finish_worktree(runner.pk)
    return Worktree.objects.get(runner=runner)


def branches(project: Project) -> list[str]:
    return git(project.path, "branch", "--format=%(refname:short)").splitlines()


def test_the_diff_holds_commits_changes_and_untracked_files(begin: Begin) -> None:
    runner, place = begin()
    commit(place, done__py="a\nb\n")
    write(place, readme__md="one\n2\nthree\n", new__txt="x\n", __gitignore="*.log\n", noise__log="z\n")
    git(place, "mv", "done.py", "finished.py")
    (place / "bild.bin").write_bytes(b"\0\1\2")
    before = git(place, "status", "--porcelain")
    worktree = end(runner)
    assert (worktree.state, worktree.note) == (WorktreeState.KEPT, "")
    assert git(place, "status", "--porcelain") == before
    changes = Changes.objects.get()
    assert (changes.session, changes.base, changes.head) == (
        runner.session,
        worktree.base,
        git(place, "rev-parse", "HEAD"),
    )
    told = {file["path"]: (file["status"], file["insertions"], file["deletions"]) for file in changes.files}
    assert told == {
        ".gitignore": ("A", 1, 0),
        "bild.bin": ("A", None, None),
        "finished.py": ("A", 2, 0),
        "new.txt": ("A", 1, 0),
        "readme.md": ("M", 1, 1),
    }
    assert (changes.file_count, changes.insertions, changes.deletions, changes.truncated) == (5, 5, 1, False)
    assert "-two\n+2\n" in changes.patch


def test_a_renamed_file_is_told_as_one(begin: Begin) -> None:
    runner, place = begin()
    git(place, "mv", "readme.md", 'Lies mich "ä".md')
    end(runner)
    assert Changes.objects.get().files == [
        {"path": 'Lies mich "ä".md', "old_path": "readme.md", "status": "R", "insertions": 0, "deletions": 0}
    ]


def test_a_long_patch_is_cut_at_a_line_and_says_so(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "PATCH_BYTES", 300)
    runner, place = begin()
    write(place, long__txt="a line of text\n" * 500)
    end(runner)
    changes = Changes.objects.get()
    assert changes.truncated
    assert changes.insertions == 500
    assert changes.patch.endswith(f"+a line of text{collecting.MARK}")


def test_odd_bytes_and_a_repository_without_a_commit_do_not_keep_the_rest_from_being_told(begin: Begin) -> None:
    runner, place = begin()
    (place / "late-nul.txt").write_bytes(b"x" * 9000 + b"\n\0\xff\n")
    git(place, "init", "--quiet", "inner")
    write(place / "inner", a="a")
    write(place, good__txt="good\n")
    end(runner)
    changes = Changes.objects.get()
    assert {file["path"] for file in changes.files} == {"late-nul.txt", "good.txt"}
    assert changes.truncated


def test_remove_takes_directory_and_branch_and_leaves_the_diff(begin: Begin, project: Project) -> None:
    runner, place = begin(worktree_end="remove")
    commit(place, a__txt="a\n")
    write(place, b__txt="b\n")
    worktree = end(runner)
    assert worktree.state == WorktreeState.REMOVED
    assert not place.exists()
    assert branches(project) == ["main"]
    assert [file["path"] for file in Changes.objects.get().files] == ["a.txt", "b.txt"]
    event = Entry.objects.get(type="worktree.changed")
    assert (event.data["state"], event.data["files"], event.data["insertions"]) == ("removed", 2, 2)


def test_merge_moves_the_project_forward_with_everything(begin: Begin, project: Project) -> None:
    runner, place = begin(worktree_end="merge")
    commit(place, a__txt="a\n")
    write(place, b__txt="b\n")
    worktree = end(runner)
    assert worktree.state == WorktreeState.MERGED
    assert worktree.note.startswith("merged into main as ")
    assert (Path(project.path) / "b.txt").read_text() == "b\n"
    assert git(project.path, "status", "--porcelain") == ""
    assert git(project.path, "log", "--format=%an", "-2").splitlines() == ["Stratavore", "Ada"]
    assert branches(project) == ["main"]
    assert not place.exists()


def test_merge_joins_what_came_meanwhile_and_leaves_other_changes_alone(begin: Begin, project: Project) -> None:
    runner, place = begin(worktree_end="merge")
    write(place, a__txt="a\n")
    theirs = commit(project.path, c__txt="c\n")
    write(project.path, readme__md="in the middle of it\n")
    assert end(runner).state == WorktreeState.MERGED
    assert git(project.path, "rev-parse", "HEAD^1") == theirs
    assert (Path(project.path) / "a.txt").read_text() == "a\n"
    assert git(project.path, "status", "--porcelain") == " M readme.md"


def test_a_conflict_is_told_and_nothing_is_half_merged(begin: Begin, project: Project) -> None:
    runner, place = begin(worktree_end="merge")
    write(place, readme__md="one\nmine\nthree\n", b__txt="b\n")
    head = commit(project.path, readme__md="one\ntheirs\nthree\n")
    worktree = end(runner)
    assert (worktree.state, worktree.note) == (
        WorktreeState.KEPT,
        "not merged: it conflicts with what the project has since, in readme.md",
    )
    assert git(project.path, "rev-parse", "HEAD") == head
    assert git(project.path, "status", "--porcelain") == ""
    # Resolved by hand in the worktree, it merges when asked.
    git(place, "merge", "--strategy-option=ours", "--quiet", "main")
    end_worktree(runner.pk, WorktreeEnd.MERGE, actor="user:ada")
    assert finish(runner).state == WorktreeState.MERGED
    assert (Path(project.path) / "readme.md").read_text() == "one\nmine\nthree\n"


def test_a_file_that_the_project_has_changed_is_not_overwritten(begin: Begin, project: Project) -> None:
    runner, place = begin(worktree_end="merge")
    write(place, readme__md="mine\n", b__txt="b\n")
    write(project.path, readme__md="unsaved\n")
    worktree = end(runner)
    assert worktree.state == WorktreeState.KEPT
    assert worktree.note.startswith("not merged: main could not be moved")
    assert (Path(project.path) / "readme.md").read_text() == "unsaved\n"
    assert not (Path(project.path) / "b.txt").exists()


@pytest.mark.parametrize("where", ["project", "worktree"])
def test_a_detached_head_is_not_merged(begin: Begin, project: Project, where: str) -> None:
    runner, place = begin(worktree_end="merge")
    write(place, a__txt="a\n")
    git(project.path if where == "project" else place, "checkout", "--quiet", "--detach")
    assert "no branch" in end(runner).note
    assert place.exists()


def test_no_hook_runs_and_the_callers_variables_count_for_nothing(
    begin: Begin, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pre-commit", "commit-msg", "post-commit", "pre-merge-commit", "post-merge", "reference-transaction"):
        hook = Path(project.path) / ".git" / "hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\nexit 1\n")
        hook.chmod(0o755)
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Mallory")
    runner, place = begin(worktree_end="merge")
    write(place, a__txt="a\n")
    write(project.path, c__txt="c\n")
    monkeypatch.delenv("GIT_DIR")
    state = end(runner).state
    assert state == WorktreeState.MERGED
    assert not (tmp_path / "ran").exists()
    assert git(project.path, "log", "--format=%an %ae", "-1") == "Stratavore stratavore@localhost"


def test_a_git_file_that_the_agent_rewrote_leads_nowhere(begin: Begin, project: Project, tmp_path: Path) -> None:
    """It could name a configuration of the agent's, with programs that git would run for us."""
    runner, place = begin()
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "config", "filter.evil.clean", f"touch {tmp_path}/ran; cat")
    write(place, __gitattributes="* filter=evil\n", a__txt="a\n")
    (place / ".git").write_text(f"gitdir: {tmp_path}/.git\n")
    end(runner)
    assert not (tmp_path / "ran").exists()
    assert {file["path"] for file in Changes.objects.get().files} == {".gitattributes", "a.txt"}


def test_an_end_that_comes_twice_is_done_once(begin: Begin) -> None:
    runner, _ = begin()
    end(runner)
    finish(runner)
    assert Entry.objects.filter(type="worktree.changed").count() == 1


def test_a_merge_that_was_killed_after_it_was_made_is_found_made(
    begin: Begin, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, place = begin(worktree_end="merge")
    write(place, a__txt="a\n")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr("runners.services.worktrees.finish._record", die)
        with pytest.raises(KeyboardInterrupt):
            end(runner)
    head = git(project.path, "rev-parse", "HEAD")
    assert finish(runner).state == WorktreeState.MERGED
    assert git(project.path, "rev-parse", "HEAD") == head
    assert [file["path"] for file in Changes.objects.get().files] == ["a.txt"]


def test_a_removal_that_was_killed_halfway_is_finished_and_never_taken_for_a_change(
    begin: Begin, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, place = begin(worktree_end="merge")
    write(place, a__txt="a\n")

    def die(worktree: Worktree) -> None:
        (place / "readme.md").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr("runners.services.worktrees.finish._take_away", die)
        with pytest.raises(KeyboardInterrupt):
            end(runner)
    assert finish(runner).state == WorktreeState.MERGED
    assert not place.exists()
    assert (Path(project.path) / "readme.md").exists()
    assert [file["path"] for file in Changes.objects.get().files] == ["a.txt"]


def test_a_runner_that_starts_again_keeps_its_worktree_until_it_has_ended(begin: Begin) -> None:
    runner, place = begin(worktree_end="remove")
    write(place, a__txt="a\n")
    soon = timezone.now() + timedelta(hours=1)
    move(runner.pk, RunnerStatus.FAILED, generation=1, actor="system:node", restart_at=soon)
    assert finish(runner).state == WorktreeState.OPEN
    assert place.exists()
    assert Changes.objects.get().generation == 1
    restart_runner(runner.pk, actor="system:restart")
    assert finish(runner).state == WorktreeState.OPEN
    runner.refresh_from_db()
    assert working_directory(runner) == str(place)
    write(place, b__txt="b\n")
    move(runner.pk, RunnerStatus.FAILED, generation=2, actor="system:node")
    assert finish(runner).state == WorktreeState.REMOVED
    assert [len(changes.files) for changes in Changes.objects.order_by("generation")] == [1, 2]


def test_a_restart_after_the_merge_begins_a_new_worktree(begin: Begin, project: Project) -> None:
    runner, place = begin(worktree_end="merge")
    write(place, a__txt="a\n")
    end(runner)
    restart_runner(runner.pk, actor="user:ada")
    runner.refresh_from_db()
    assert working_directory(runner) == str(place)
    assert Worktree.objects.get().base == git(project.path, "rev-parse", "HEAD")
    assert (place / "a.txt").exists()


def test_only_an_ended_runners_worktree_is_merged_or_removed(begin: Begin) -> None:
    runner, _ = begin()
    with pytest.raises(WorktreeRefused, match="has not ended"):
        end_worktree(runner.pk, WorktreeEnd.REMOVE, actor="user:ada")
    end(runner)
    end_worktree(runner.pk, WorktreeEnd.REMOVE, actor="user:ada")
    assert finish(runner).state == WorktreeState.REMOVED
    with pytest.raises(WorktreeRefused, match="is removed already"):
        end_worktree(runner.pk, WorktreeEnd.REMOVE, actor="user:ada")
    with pytest.raises(WorktreeRefused, match="no worktree"):
        end_worktree(make_runner().pk, WorktreeEnd.REMOVE, actor="user:ada")


def test_a_directory_that_somebody_removed_is_told(begin: Begin) -> None:
    runner, place = begin(worktree_end="merge")
    shutil.rmtree(place)
    worktree = end(runner)
    assert worktree.state == WorktreeState.KEPT
    assert worktree.note.endswith(f"is gone; what was committed is on {worktree.branch}")


def test_a_removal_that_fails_is_told_and_left_over(begin: Begin, project: Project) -> None:
    runner, _ = begin(worktree_end="remove")
    end(runner)
    worktree = Worktree.objects.get()
    git(project.path, "branch", worktree.branch)
    git(
        project.path,
        "worktree",
        "add",
        "--quiet",
        str(Path(project.path).parent / os.urandom(4).hex()),
        worktree.branch,
    )
    _take_away(worktree)
    worktree.refresh_from_db()
    assert "could not be removed" in worktree.note


@pytest.mark.django_db
def test_what_nobody_looked_after_is_sent_again_and_not_at_every_round(begin: Begin) -> None:
    runner, _ = begin(node=make_node())
    long_ago = timezone.now() - timedelta(hours=1)
    move(runner.pk, RunnerStatus.TERMINATED, generation=1, actor="system:node", ended_at=long_ago)
    Worktree.objects.update(changed_at=long_ago)
    Entry.objects.all().delete()
    assert (unfinished_worktrees(), unfinished_worktrees()) == (1, 0)
    assert Entry.objects.get().type == "runners.tasks.finish_worktree"
    finish(runner)
    Worktree.objects.update(changed_at=long_ago)
    assert unfinished_worktrees() == 0
