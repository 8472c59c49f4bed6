"""What is left over of worktrees on this node: directories and branches whose runner ended long ago or is unknown."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from runners.exceptions import LaunchRefused
from runners.git import Git, GitFailed
from runners.models import Changes, Project, Runner, Worktree
from runners.services.worktrees.prepare import BRANCHES, branch_of, clear_away
from runners.services.worktrees.repository import repository_lock, repository_of, worktrees_directory
from runners.states import TERMINAL, WorktreeState

#: Leaves of commits those that are on no branch but ours.
ELSEWHERE = ("--not", f"--exclude={BRANCHES}*", "--branches", "--tags", "--remotes")


@dataclass(frozen=True)
class Leftover:
    """A directory, a branch, or both, and why nobody needs them any more."""

    why: str
    path: Path | None = None
    repository: Git | None = None
    branch: str = ""
    #: What would be lost with it, as it is kept nowhere else; "": nothing.
    unsaved: str = ""
    worktree: Worktree | None = None

    def __str__(self) -> str:
        things = [f"directory {self.path}"] if self.path else []
        things += [f"branch {self.branch} of {self.repository.directory}"] if self.repository and self.branch else []
        lost = f" (kept nowhere else: {self.unsaved})" if self.unsaved else ""
        return f"{' and '.join(things)}: {self.why}{lost}"


def find_leftovers(older_than: timedelta) -> Iterator[Leftover]:
    """Yield what is left over; of kept worktrees those whose runner ended longer ago than `older_than`."""
    seen = set()
    for path in sorted(worktrees_directory().iterdir()):
        leftover = _of_directory(path, older_than)
        if leftover is not None:
            seen.add(leftover.branch)
            yield leftover
    for project in Project.objects.order_by("name"):
        yield from (leftover for leftover in _of_branches(project) if leftover.branch not in seen)


def _of_directory(path: Path, older_than: timedelta) -> Leftover | None:
    try:
        runner = Runner.objects.filter(pk=UUID(hex=path.name)).first()
    except ValueError:
        return None  # none of ours
    worktree = Worktree.objects.select_related("node").filter(runner=runner).first() if runner else None
    if runner is not None and worktree is None:
        return None  # it is being made, or is made anew by the next start
    if runner is None or worktree is None:
        return Leftover("its runner is unknown", path, *_repository_of(path), unsaved=_unsaved(Git(path)))
    if worktree.node.name != settings.NODE_NAME:
        why = f"{runner.name} went on, on {worktree.node}"
        return Leftover(why, path, _repository_of(path)[0], unsaved=_unsaved(Git(path)))
    why = _why_over(runner, worktree, older_than)
    if not why:
        return None
    saved = worktree.state == WorktreeState.MERGED or Changes.objects.filter(runner=runner).exists()
    unsaved = "" if saved else _unsaved(Git(path, worktree.git_dir))
    return Leftover(why, path, Git(worktree.repository), worktree.branch, unsaved, worktree)


def _why_over(runner: Runner, worktree: Worktree, older_than: timedelta) -> str:
    if not worktree.is_there:
        return f"the worktree of {runner.name} is {worktree.state}"
    now = timezone.now()
    if worktree.state == WorktreeState.KEPT and runner.ended_at and runner.ended_at < now - older_than:
        return f"{runner.name} ended {(now - runner.ended_at).days} days ago"
    return ""


def _repository_of(path: Path) -> tuple[Git | None, str]:
    """Return the repository that a worktree belongs to and its branch, as far as the directory itself tells."""
    try:
        git = Git(path)
        common = Path(git.run("rev-parse", "--path-format=absolute", "--git-common-dir").strip())
        branch = git.run("branch", "--show-current").strip()
    except GitFailed:
        return None, ""
    if not (common / "worktrees").is_dir():
        return None, ""  # the repository that happens to lie around it
    return Git(common.parent), branch if branch.startswith(BRANCHES) else ""


def _unsaved(git: Git) -> str:
    """Return what only this worktree holds."""
    try:
        files = len(git.run("status", "--porcelain").splitlines())
        commits = int(git.run("rev-list", "--count", "HEAD", *ELSEWHERE))
    except GitFailed:
        return "files that git cannot tell of" if any(Path(git.directory).iterdir()) else ""
    return _in_words(files, commits)


def _in_words(files: int, commits: int) -> str:
    told = [f"{files} uncommitted file{'s' * (files != 1)}"] if files else []
    told += [f"{commits} commit{'s' * (commits != 1)}"] if commits else []
    return " and ".join(told)


def _of_branches(project: Project) -> Iterator[Leftover]:
    """Yield the branches of ours in a project's repository that no worktree has and no runner needs."""
    try:
        repository = repository_of(project.path)
        names = repository.run("for-each-ref", "--format=%(refname:short) %(worktreepath)", f"refs/heads/{BRANCHES}")
    except (LaunchRefused, GitFailed):
        return  # no repository, or not on this machine
    needed = {branch_of(runner) for runner in Runner.objects.filter(project=project).exclude(status__in=TERMINAL)}
    there = Worktree.objects.filter(state__in=[WorktreeState.OPEN, WorktreeState.KEPT])
    needed |= set(there.values_list("branch", flat=True))
    for line in names.splitlines():
        branch, _, place = line.partition(" ")
        if not place and branch not in needed:
            commits = int(repository.run("rev-list", "--count", f"refs/heads/{branch}", *ELSEWHERE))
            yield Leftover("no worktree has it", None, repository, branch, _in_words(0, commits))


def remove_leftover(leftover: Leftover) -> None:
    """Remove directory and branch. Raises GitFailed, OSError."""
    repository = leftover.repository
    if repository is None:
        if leftover.path is not None:
            shutil.rmtree(leftover.path)
        return
    with repository_lock(str(repository.directory)):
        if leftover.worktree is not None:
            Worktree.objects.filter(pk=leftover.worktree.pk, state=WorktreeState.KEPT).update(
                state=WorktreeState.REMOVED, note="removed as a leftover", changed_at=timezone.now()
            )
        if leftover.path is not None:
            clear_away(repository, leftover.path)
        if leftover.branch and repository.commit(f"refs/heads/{leftover.branch}"):
            repository.run("branch", "--quiet", "-D", leftover.branch)
