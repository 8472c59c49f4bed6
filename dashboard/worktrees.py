"""What the pages show of a runner's worktree."""

from typing import Any

from dashboard.diffs import read_patch
from runners.models import Changes, Runner, Session, Worktree
from runners.states import TERMINAL, Isolation


def worktree_context(runner: Runner) -> dict[str, Any]:
    """Return the runner's worktree and its last changes, and whether it may be merged or removed."""
    if runner.isolation != Isolation.WORKTREE:
        return {}
    worktree = Worktree.objects.select_related("node").filter(runner=runner).first()
    changes = Changes.objects.filter(runner=runner).order_by("-generation").first()
    ended = runner.status in TERMINAL and runner.restart_at is None
    return {
        "is_isolated": True,
        "worktree": worktree,
        "changes": changes,
        "patch": read_patch(changes.patch) if changes else None,
        "may_end_worktree": worktree is not None and worktree.is_there and not worktree.wanted and ended,
    }


def changes_of(session: Session) -> list[dict[str, Any]]:
    """Return what the session's runners changed: of each the last attempt's."""
    last = (
        Changes.objects.filter(session=session)
        .select_related("runner__worktree")
        .order_by("runner_id", "-generation")
        .distinct("runner_id")
    )
    shown = sorted(last, key=lambda changes: changes.taken_at)
    return [{"changes": changes, "runner": changes.runner, "patch": read_patch(changes.patch)} for changes in shown]
