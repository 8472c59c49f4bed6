"""Look after a worktree whose runner has ended: keep its diff, then keep, merge or remove it. Runs on its node.

Every step may be repeated: a task that is killed in between, or comes twice, finds what is done and does the rest.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from uuid import UUID

import structlog
from django.db import transaction
from django.utils import timezone

from runners import events
from runners.git import Git, GitFailed
from runners.models import Changes, Runner, Worktree
from runners.services.worktrees.collect import Found, collect
from runners.services.worktrees.merge import NotMerged, commit_all, merge
from runners.services.worktrees.prepare import clear_away
from runners.services.worktrees.repository import repository_lock
from runners.states import TERMINAL, WorktreeEnd, WorktreeState

log = structlog.get_logger(__name__)

#: What becomes of the worktree, and a sentence about it.
Outcome = tuple[WorktreeState, str]


def finish_worktree(runner_id: UUID) -> None:
    """Keep what was changed in an ended runner's worktree, and do with the worktree what was asked for.

    Does nothing for a runner that runs (again), nor twice. Where git fails, the worktree stays and says why.
    """
    worktree = Worktree.objects.filter(runner=runner_id).first()
    if worktree is None:
        return
    with repository_lock(worktree.repository):
        worktree.refresh_from_db()
        runner = Runner.objects.select_related("project", "session").get(pk=runner_id)
        wanted = _wanted(runner, worktree)
        if wanted is not None:
            _record(runner, worktree, *_outcome(runner, worktree, wanted))
        # Only once that is on record: of a directory that is half removed nobody must ever take the diff.
        if not worktree.is_there:
            _take_away(worktree)


def _wanted(runner: Runner, worktree: Worktree) -> WorktreeEnd | None:
    """Return what should be done now; None: nothing."""
    if runner.status not in TERMINAL or not worktree.is_there:
        return None
    if worktree.wanted:
        return WorktreeEnd(worktree.wanted)
    return None if worktree.state == WorktreeState.KEPT else WorktreeEnd(runner.worktree_end)


def _outcome(runner: Runner, worktree: Worktree, wanted: WorktreeEnd) -> tuple[Outcome, Found | None]:
    """Keep the diff, do what is wanted up to the removal, and return what becomes of the worktree."""
    if not Path(worktree.path).is_dir():
        return (WorktreeState.KEPT, f"{worktree.path} is gone; what was committed is on {worktree.branch}"), None
    try:
        found = collect(worktree)
        _write_changes(runner, worktree, found)
        if runner.restart_at is not None:
            return (WorktreeState.OPEN, ""), found
        return ENDS[wanted](runner, worktree), found
    except (GitFailed, OSError) as failure:
        log.warning("worktree_not_finished", runner_id=str(runner.pk), error=str(failure))
        return (WorktreeState.KEPT, f"kept, because git failed: {failure}"), None


def _keep(runner: Runner, worktree: Worktree) -> Outcome:
    return WorktreeState.KEPT, ""


def _remove(runner: Runner, worktree: Worktree) -> Outcome:
    return WorktreeState.REMOVED, ""


def _merge(runner: Runner, worktree: Worktree) -> Outcome:
    title = f"{runner.name}: {runner.session or runner.backend}".splitlines()[0][:200]
    try:
        commit_all(worktree, title)
        return WorktreeState.MERGED, merge(worktree, f"Merge {worktree.branch}\n\n{title}")
    except NotMerged as reason:
        return WorktreeState.KEPT, f"not merged: {reason}"


ENDS: dict[WorktreeEnd, Callable[[Runner, Worktree], Outcome]] = {
    WorktreeEnd.KEEP: _keep,
    WorktreeEnd.MERGE: _merge,
    WorktreeEnd.REMOVE: _remove,
}


def _take_away(worktree: Worktree) -> None:
    """Remove directory and branch, as far as they are still there."""
    repository = Git(worktree.repository)
    try:
        if Path(worktree.path).exists():
            clear_away(repository, Path(worktree.path))
        if repository.commit(f"refs/heads/{worktree.branch}"):
            repository.run("branch", "--quiet", "-D", worktree.branch)
    except (GitFailed, OSError) as failure:
        # It stays a leftover, which `manage.py worktrees` lists.
        log.warning("worktree_not_removed", path=worktree.path, error=str(failure))
        note = f"{worktree.note} (could not be removed: {failure})".strip()
        Worktree.objects.filter(pk=worktree.pk).update(note=note)


def _write_changes(runner: Runner, worktree: Worktree, found: Found) -> Changes:
    changes, _ = Changes.objects.update_or_create(
        runner=runner,
        generation=runner.generation,
        defaults={
            "session": runner.session,
            "branch": worktree.branch,
            "base": worktree.base,
            "taken_at": timezone.now(),
            **asdict(found),
        },
    )
    return changes


@transaction.atomic
def _record(runner: Runner, worktree: Worktree, outcome: Outcome, found: Found | None) -> None:
    """Write what becomes of the worktree, with its event."""
    worktree.state, worktree.note = outcome
    worktree.wanted, worktree.changed_at = "", timezone.now()
    worktree.save(update_fields=["state", "note", "wanted", "changed_at"])
    events.worktree_changed(runner, worktree, found)
