"""The repository that a directory belongs to, and the lock under which its worktrees are changed."""

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from runners.exceptions import NotIsolated, PathNotAllowed
from runners.git import Git, GitFailed
from runners.services.paths import allowed_directory


def repository_of(workspace: str) -> Git:
    """Return git in the checkout that holds `workspace`. Raises NotIsolated, and names why."""
    try:
        top = Git(workspace).run("rev-parse", "--show-toplevel").rstrip("\n")
    except GitFailed as failure:
        raise NotIsolated(_why_none(workspace, str(failure)), field="isolation") from None
    try:
        # A workspace root may itself lie within somebody's repository, which is none of the project's.
        return Git(allowed_directory(top))
    except PathNotAllowed:
        raise NotIsolated(_why_none(workspace, ""), field="isolation") from None


def _why_none(workspace: str, complaint: str) -> str:
    if not complaint or complaint.startswith("not a git repository"):
        return f"{workspace} is in no git repository: it cannot be given a worktree."
    return f"{workspace} cannot be given a worktree: {complaint}."


def head_of(repository: Git) -> str:
    """Return the commit that a new worktree begins at. Raises NotIsolated where there is none."""
    head = repository.commit("HEAD")
    if not head:
        raise NotIsolated(
            f"{repository.directory} has no commit yet: there is nothing for a worktree to begin at.",
            field="isolation",
        )
    return head


@contextmanager
def repository_lock(repository: str) -> Iterator[None]:
    """Hold the repository's worktrees against the other tasks of this node; a killed process lets go by itself."""
    locks = worktrees_directory() / "locks"
    locks.mkdir(exist_ok=True)
    name = hashlib.sha256(repository.encode()).hexdigest()[:24]
    with (locks / name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def worktrees_directory() -> Path:
    """Return the directory of this node's worktrees, made if need be; nobody else may look into it."""
    directory = Path(settings.WORKTREES_DIR)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory.resolve()
