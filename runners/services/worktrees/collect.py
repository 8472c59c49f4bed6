"""What was changed in a worktree: commits, uncommitted changes and untracked files, against where it began."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile
from typing import Any

from runners.git import Git, GitFailed
from runners.models import Worktree

#: People read a few thousand lines; a generated megabyte more helps nobody, and weighs on every page.
PATCH_BYTES = 1_000_000
MAX_FILES = 2_000
#: What `git add --ignore-errors` ends with when it passed over something.
NOT_ALL = 1
MARK = "\n[The patch is longer: the rest is left out here.]\n"


@dataclass(frozen=True)
class Found:
    """The fields of Changes that are read from the worktree."""

    head: str
    files: list[dict[str, Any]]
    file_count: int
    insertions: int
    deletions: int
    patch: str
    truncated: bool


def collect(worktree: Worktree) -> Found:
    """Return what stands in the worktree now. The worktree's own index is left alone. Raises GitFailed."""
    git = Git(worktree.path, worktree.git_dir)
    with tempfile.TemporaryDirectory() as directory:
        index = Path(directory) / "index"
        if (Path(worktree.git_dir) / "index").exists():
            # With it git knows what is unchanged, without hashing everything.
            copyfile(Path(worktree.git_dir) / "index", index)
        all_read = _add_all(git, index)
        diff = ["diff", "--cached", "--no-color", "--no-ext-diff", "--no-textconv", "--find-renames"]
        files = list(
            _files(git.run(*diff, "--raw", "--numstat", "--abbrev=40", "-z", worktree.base, "--", index=index))
        )
        patch, whole = git.read(*diff, "--patch", worktree.base, "--", index=index, limit=PATCH_BYTES)
    return Found(
        head=git.commit("HEAD"),
        files=files[:MAX_FILES],
        file_count=len(files),
        insertions=sum(file["insertions"] or 0 for file in files),
        deletions=sum(file["deletions"] or 0 for file in files),
        patch=_storable(patch) if whole else _storable(patch.rpartition("\n")[0]) + MARK,
        truncated=not (whole and all_read) or len(files) > MAX_FILES,
    )


def _add_all(git: Git, index: Path) -> bool:
    """Add everything that can be read; say whether that was all. A repository without a commit, say, cannot be."""
    try:
        git.run("add", "--all", "--ignore-errors", "--", ".", index=index)
    except GitFailed as failure:
        if failure.code != NOT_ALL:
            raise
        return False
    return True


def _files(listing: str) -> Iterator[dict[str, Any]]:
    """Read `git diff --raw --numstat -z`: first a record of each file with its status, then one with its numbers."""
    words = iter(_storable(listing, nul="\0").split("\0"))
    statuses: dict[str, str] = {}
    for word in words:
        if word.startswith(":"):
            status = word.rpartition(" ")[2][:1]
            path = next(words)
            statuses[next(words) if status in "RC" else path] = status
        elif word:
            insertions, deletions, path = word.split("\t", 2)
            old = next(words) if not path else ""
            path = path or next(words)
            yield {
                "path": path,
                "old_path": old,
                "status": statuses.get(path, "M"),
                "insertions": None if insertions == "-" else int(insertions),
                "deletions": None if deletions == "-" else int(deletions),
            }


def _storable(text: str, nul: str = "\N{REPLACEMENT CHARACTER}") -> str:
    """Return `text` without NUL, which PostgreSQL's text cannot hold."""
    return text.replace("\0", nul)
