"""Bring a worktree's work into the project's current branch: wholly, or not at all."""

from runners.git import Git, GitFailed
from runners.models import Worktree

#: What merge-tree ends with when the two conflict; it then prints a tree, and the names of the files.
CONFLICT = 1
NAMES_TOLD = 10


class NotMerged(Exception):
    """It cannot be merged now; the message says why. Nothing of the project was touched."""


def commit_all(worktree: Worktree, title: str) -> None:
    """Commit what is not committed in the worktree. Raises NotMerged."""
    git = Git(worktree.path, worktree.git_dir)
    branch = _branch(git)
    if branch != worktree.branch:
        raise NotMerged(f"the worktree is on {branch or 'no branch'}, not on {worktree.branch}")
    if git.run("ls-files", "--unmerged"):
        raise NotMerged("the worktree holds conflicts that nobody has resolved")
    try:
        git.run("add", "--all", "--", ".")
        if not git.succeeds("diff", "--cached", "--quiet", "--no-ext-diff", "HEAD"):
            git.run("commit", "--quiet", "--no-verify", "--message", title)
    except GitFailed as failure:
        raise NotMerged(f"what is uncommitted could not be committed: {failure}") from None


def merge(worktree: Worktree, title: str) -> str:
    """Merge the worktree's branch into the branch that the project is on, and say what was done. Raises NotMerged.

    The merge commit is made beside the project's files; they are then moved to it in one step that git refuses, before
    it touches any, when they hold changes of their own that it would overwrite. So there is never half of a merge.
    """
    git = Git(worktree.repository)
    ours, theirs = git.commit("HEAD"), git.commit(f"refs/heads/{worktree.branch}")
    branch = _branch(git)
    if not branch:
        raise NotMerged(f"{worktree.repository} is on no branch")
    if git.succeeds("merge-base", "--is-ancestor", theirs, ours):
        return f"{branch} already has all of it"
    result = theirs if git.succeeds("merge-base", "--is-ancestor", ours, theirs) else _joined(git, ours, theirs, title)
    try:
        git.run("merge", "--ff-only", "--quiet", "--no-verify-signatures", result)
    except GitFailed as failure:
        raise NotMerged(f"{branch} could not be moved: {failure}") from None
    return f"merged into {branch} as {result[:10]}"


def _joined(git: Git, ours: str, theirs: str, title: str) -> str:
    """Return a new merge commit of the two that no branch holds yet. Raises NotMerged on conflict."""
    try:
        tree = git.run("merge-tree", "--write-tree", "--name-only", "--no-messages", ours, theirs).strip()
        return git.run("commit-tree", tree, "-p", ours, "-p", theirs, "-m", title).strip()
    except GitFailed as failure:
        if failure.code != CONFLICT:
            raise NotMerged(f"the merge could not be made: {failure}") from None
        names = failure.output.splitlines()[1:]
        more = f" and {len(names) - NAMES_TOLD} more" if len(names) > NAMES_TOLD else ""
        raise NotMerged(
            f"it conflicts with what the project has since, in {', '.join(names[:NAMES_TOLD])}{more}"
        ) from None


def _branch(git: Git) -> str:
    """Return the branch that is checked out, or "" where HEAD is detached."""
    try:
        return git.run("symbolic-ref", "--quiet", "--short", "HEAD").strip()
    except GitFailed:
        return ""
