"""Ask for a worktree to be merged, removed or kept after its runner has ended; the node does it."""

from uuid import UUID

from django.db import transaction
from django.utils import timezone

from outbox.services import record_act
from runners.exceptions import WorktreeRefused
from runners.models import Runner, Worktree
from runners.states import TERMINAL, WorktreeEnd
from runners.transitions import finish_worktree_soon


@transaction.atomic
def end_worktree(runner_id: UUID, how: WorktreeEnd, *, actor: str) -> Worktree:
    """Ask for an ended runner's worktree to be merged or removed, and return it as it is now.

    Idempotent while the wish waits. Raises WorktreeRefused unless the runner has ended and the worktree is there.
    """
    runner = Runner.objects.select_for_update(of=("self",)).select_related("node").filter(pk=runner_id).first()
    worktree = Worktree.objects.filter(runner=runner_id).first()
    if runner is None or worktree is None:
        raise WorktreeRefused("This runner has no worktree.")
    if runner.status not in TERMINAL or runner.restart_at is not None:
        raise WorktreeRefused(f"{runner.name} has not ended: its worktree is in use.", status=runner.status)
    if not worktree.is_there:
        raise WorktreeRefused(f"The worktree of {runner.name} is {worktree.state} already.", state=worktree.state)
    record_act(
        f"worktree.{how.value}", actor=actor, target_type="runner", target_id=runner.pk, target_name=runner.name,
        after={"branch": worktree.branch, "path": worktree.path},
    )  # fmt: skip
    worktree.wanted, worktree.wanted_by, worktree.changed_at = how, actor, timezone.now()
    worktree.save(update_fields=["wanted", "wanted_by", "changed_at"])
    finish_worktree_soon(runner)
    return worktree
