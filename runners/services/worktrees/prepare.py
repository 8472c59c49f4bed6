"""Make a runner's worktree, or find it again. Runs on the node, before the process starts."""

import re
import shutil
from pathlib import Path

from django.utils import timezone

from runners.exceptions import NotIsolated
from runners.git import Git, GitFailed
from runners.models import Runner, Worktree
from runners.services.paths import allowed_directory
from runners.services.worktrees.repository import head_of, repository_lock, repository_of, worktrees_directory
from runners.states import Isolation, WorktreeState

BRANCHES = "stratavore/"


def check_repository(workspace: str) -> None:
    """Raise NotIsolated if it can be seen from here that `workspace` cannot be given a worktree."""
    if shutil.which("git"):
        head_of(repository_of(workspace))


def working_directory(runner: Runner) -> str:
    """Return where the runner's process works: its workspace, or that place in its own worktree.

    Safe to repeat: a worktree that is there is used again, half of one is made anew. Raises LaunchRefused.
    """
    workspace = allowed_directory(runner.workspace)
    if runner.isolation != Isolation.WORKTREE:
        return workspace
    repository = repository_of(workspace)
    with repository_lock(str(repository.directory)):
        try:
            worktree = _found(runner) or _make(runner, repository)
        except GitFailed as failure:
            raise NotIsolated(f"No worktree could be made of {repository.directory}: {failure}.") from None
    return _same_place(Path(worktree.path), Path(workspace).relative_to(repository.directory))


def _found(runner: Runner) -> Worktree | None:
    """Return the worktree of an earlier attempt, in use again, if it is whole."""
    worktree = Worktree.objects.filter(runner=runner).first()
    if worktree is None or not worktree.is_there or not Path(worktree.path).is_dir():
        return None
    if not Git(worktree.path, worktree.git_dir).commit("HEAD"):
        return None
    Worktree.objects.filter(pk=worktree.pk).update(
        state=WorktreeState.OPEN, wanted="", note="", changed_at=timezone.now()
    )
    return worktree


def _make(runner: Runner, repository: Git) -> Worktree:
    """Make worktree and branch, and then the row: without it, whatever is there is half of one and nobody's work."""
    assert runner.node_id is not None  # noqa: S101 - it is starting on this node
    path, branch = worktrees_directory() / runner.pk.hex, branch_of(runner)
    known = repository.commit(f"refs/heads/{branch}")
    base = known or head_of(repository)
    clear_away(repository, path)
    words = [str(path), branch] if known else ["-b", branch, str(path), base]
    repository.run("worktree", "add", "--quiet", "--force", *words)
    git_dir = Git(path).run("rev-parse", "--absolute-git-dir").rstrip("\n")
    earlier = Worktree.objects.filter(runner=runner, branch=branch).values_list("base", flat=True).first()
    worktree, _ = Worktree.objects.update_or_create(
        runner=runner,
        defaults={
            "node_id": runner.node_id,
            "repository": str(repository.directory),
            "path": str(path),
            "git_dir": git_dir,
            "branch": branch,
            # A branch that outlived its directory holds the work of earlier attempts: it still counts from there.
            "base": earlier if known and earlier else base,
            "state": WorktreeState.OPEN,
            "wanted": "",
            "note": "",
            "changed_at": timezone.now(),
        },
    )
    return worktree


def clear_away(repository: Git, path: Path) -> None:
    """Remove a worktree's directory and git's own record of it, whichever of the two there is."""
    # Twice --force: git locks a worktree that it is still making, and a killed git leaves it so.
    if not repository.succeeds("worktree", "remove", "--force", "--force", str(path)) and path.exists():
        shutil.rmtree(path)
    repository.run("worktree", "prune")


def branch_of(runner: Runner) -> str:
    """Return the name of the runner's branch: its own name, and its id, which no other runner has."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", runner.name).strip("-").lower()
    short = runner.pk.hex[:6]
    return f"{BRANCHES}{name}" if name.endswith(f"-{short}") else f"{BRANCHES}{name or 'runner'}-{short}"


def _same_place(worktree: Path, below: Path) -> str:
    """Return the directory `below` the worktree, made if the commit does not hold it."""
    place = (worktree / below).resolve()
    if not place.is_relative_to(worktree):
        raise NotIsolated(f"{below} leads out of the worktree by a symbolic link.", field="workspace")
    try:
        place.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotIsolated(f"{below} is no directory in the worktree.", field="workspace") from None
    return str(place)
