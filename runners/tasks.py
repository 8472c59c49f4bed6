"""Celery tasks of runners: ids in, one service call. Those of a node run on its queue `node.<name>`."""

from uuid import UUID

import structlog
from celery import shared_task

from outbox.services.wake import wake
from runners.models import Runner
from runners.runtimes import get_runtime, run_directory
from runners.runtimes.shim_client import ShimGone, ShimRefused
from runners.services import approvals, embedding, enforcement, operations, prices, queue, worktrees
from runners.services import reconcile as reconciler
from runners.services.search_index import EMBED_TASK
from runners.services.start import refuse_stale, start_all_on_node, start_on_node
from runners.services.transcripts import retention

log = structlog.get_logger(__name__)


@shared_task
def start_runner(runner_id: str, generation: int) -> None:
    """Start the process of one attempt on this node."""
    start_on_node(UUID(runner_id), generation)


@shared_task
def start_runners(attempts: list[tuple[str, int, str]]) -> None:
    """Start the processes of several attempts on this node, each in the trace that asked for it."""
    start_all_on_node([(UUID(runner_id), generation, asked) for runner_id, generation, asked in attempts])


@shared_task
def stop_runner(runner_id: str, generation: int, grace_seconds: int) -> None:
    """Ask the shim of one attempt to end it; without a shim, see to it that none starts."""
    runner = Runner.objects.get(pk=runner_id)
    # Of an older attempt nothing is left to stop; what is there all the same, the reconciler fences.
    if refuse_stale(runner, generation, what="a stop"):
        return
    get_runtime(runner.runtime).stop(
        run_directory(runner.pk, generation), grace_seconds=grace_seconds, reason=runner.reason or "stopped"
    )


@shared_task
def pause_runner(runner_id: str, generation: int) -> None:
    """Suspend the processes of one attempt."""
    _steer(runner_id, generation, "pause")


@shared_task
def resume_runner(runner_id: str, generation: int) -> None:
    """Let the processes of one attempt go on."""
    _steer(runner_id, generation, "resume")


def _steer(runner_id: str, generation: int, verb: str) -> None:
    runner = Runner.objects.get(pk=runner_id)
    if refuse_stale(runner, generation, what=f"a {verb}"):
        return
    try:
        getattr(get_runtime(runner.runtime), verb)(run_directory(runner.pk, generation))
    except ShimGone:
        # It ended meanwhile, and that is reported by itself.
        log.info("nothing_to_steer", runner_id=runner_id, generation=generation, verb=verb)
    except ShimRefused as refusal:
        # It goes on as it was, and is shown so.
        log.warning("not_steered", runner_id=runner_id, generation=generation, verb=verb, reason=str(refusal))


@shared_task
def answer_approval(approval_id: str) -> None:
    """Give an answer to the program that asked, on this node."""
    approvals.give_answer(UUID(approval_id))


@shared_task
def expire_approvals() -> None:
    """Deny what nobody answered in time."""
    approvals.expire_approvals()


@shared_task
def finish_worktree(runner_id: str) -> None:
    """Keep the diff of an ended runner's worktree; keep, merge or remove the worktree."""
    worktrees.finish_worktree(UUID(runner_id))


@shared_task
def run_operation(operation_id: str) -> None:
    """Do what is still to be done of an operation."""
    operations.run_operation(UUID(operation_id))


@shared_task
def start_waiting() -> None:
    """Give free places to those that wait: ended runners whose restart is due, and the queue."""
    queue.start_waiting()


@shared_task
def enforce_budget(budget_id: int) -> None:
    """Have a spent budget pause or stop its runners."""
    enforcement.enforce_budget(budget_id)


@shared_task
def watch_budgets() -> None:
    """Make good what a message or a moment missed: periods that begin, raises that end."""
    enforcement.watch_budgets()


@shared_task
def reprice_unknown() -> None:
    """Price the usage that has a price now."""
    prices.reprice_unknown()


@shared_task
def embed_waiting() -> None:
    """Give vectors to what was said; with more to do, the next turn may be another worker's."""
    if embedding.embed_waiting():
        wake(EMBED_TASK)


@shared_task
def queue_the_rest() -> None:
    """Find what was said and waits for no vector."""
    embedding.queue_the_rest()


@shared_task
def reconcile() -> None:
    """Compare what is wanted with what is seen."""
    reconciler.reconcile()


@shared_task
def remove_transcripts() -> None:
    """Remove the recordings that their projects do not keep for longer."""
    retention.remove_due()
