"""Worktrees: a directory and branch of a runner's own, made at its start; kept, merged or removed at its end."""

from runners.services.worktrees.ask import end_worktree
from runners.services.worktrees.finish import finish_worktree
from runners.services.worktrees.prepare import check_repository, working_directory

__all__ = ["check_repository", "end_worktree", "finish_worktree", "working_directory"]
