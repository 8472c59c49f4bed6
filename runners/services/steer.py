"""Stop, pause and resume: the wish is written and sent to the node; what comes of it, the node reports."""

from uuid import UUID

from django.db import transaction

from outbox.services import enqueue
from runners import acts
from runners.exceptions import MoveRefused
from runners.models import Runner
from runners.services.allowance import check_budgets
from runners.states import TERMINAL, RunnerStatus
from runners.transitions import move

STOP_TASK = "runners.tasks.stop_runner"
TASKS = {"pause": "runners.tasks.pause_runner", "resume": "runners.tasks.resume_runner"}
#: Longer than this nobody waits, and the node's worker would be held.
MAX_GRACE_SECONDS = 3600


@transaction.atomic
def stop_runner(runner_id: UUID, *, actor: str, grace_seconds: int | None = None, reason: str = "") -> Runner:
    """Ask a runner to end: SIGINT, later SIGTERM, and SIGKILL to its whole group after the grace period.

    Idempotent: a runner that has ended is returned as it is, one that is stopping is asked again: a shorter grace
    hurries it. A queued runner just ends.
    """
    runner = _locked(runner_id)
    if runner.status in TERMINAL:
        # Asked to stop, it is not started again either.
        if Runner.objects.filter(pk=runner.pk, restart_at__isnull=False).update(restart_at=None):
            acts.on_runner("stop", runner, actor=actor, before={"restart_at": runner.restart_at}, after={})
            runner.restart_at = None
        return runner
    grace = runner.grace_seconds if grace_seconds is None else grace_seconds
    acts.on_runner(
        "kill" if grace == 0 else "stop",
        runner,
        actor=actor,
        before={"status": runner.status},
        after={"status": _asked_to_stop(runner), "grace_seconds": grace},
        reason=reason,
    )
    if runner.status == RunnerStatus.QUEUED:
        return move(runner_id, RunnerStatus.TERMINATED, generation=runner.generation, actor=actor, reason="cancelled")
    if runner.status != RunnerStatus.STOPPING:
        runner = move(
            runner_id,
            RunnerStatus.STOPPING,
            generation=runner.generation,
            actor=actor,
            reason=reason or f"stopped by {actor}",
        )
    send_stop(runner, grace_seconds=grace)
    return runner


def _asked_to_stop(runner: Runner) -> RunnerStatus:
    return RunnerStatus.TERMINATED if runner.status == RunnerStatus.QUEUED else RunnerStatus.STOPPING


def send_stop(runner: Runner, *, grace_seconds: int) -> None:
    """Send the stop task of this attempt to its node."""
    grace = min(max(grace_seconds, 0), MAX_GRACE_SECONDS)
    _send(STOP_TASK, runner, grace)


@transaction.atomic
def pause_runner(runner_id: UUID, *, actor: str) -> Runner:
    """Ask the node to suspend the runner's processes (SIGSTOP); it becomes `paused` when the node reports so.

    Idempotent on a paused runner. Raises MoveRefused unless it is running.
    """
    return _ask(runner_id, "pause", actor=actor, start=RunnerStatus.RUNNING, already=RunnerStatus.PAUSED)


@transaction.atomic
def resume_runner(runner_id: UUID, *, actor: str) -> Runner:
    """Ask the node to let a paused runner go on. Idempotent on a running one; raises MoveRefused otherwise.

    Raises BudgetSpent while a budget holds it.
    """
    runner = _locked(runner_id)
    if runner.status == RunnerStatus.PAUSED:
        check_budgets(runner.project, runner)
    return _ask(runner_id, "resume", actor=actor, start=RunnerStatus.PAUSED, already=RunnerStatus.RUNNING)


def _ask(runner_id: UUID, verb: str, *, actor: str, start: RunnerStatus, already: RunnerStatus) -> Runner:
    runner = _locked(runner_id)
    if runner.status == already:
        return runner
    if runner.status != start:
        raise MoveRefused(f"{runner.name} is {runner.status}, not {start.value}.", status=runner.status)
    acts.on_runner(verb, runner, actor=actor, before={"status": start}, after={"status": already})
    _send(TASKS[verb], runner)
    return runner


def send_pause(runner: Runner) -> None:
    """Send the pause task of this attempt to its node."""
    _send(TASKS["pause"], runner)


def send_resume(runner: Runner) -> None:
    """Send the resume task of this attempt to its node."""
    _send(TASKS["resume"], runner)


def _send(task: str, runner: Runner, *args: int) -> None:
    assert runner.node is not None  # noqa: S101 - a CHECK: only a queued runner has none
    enqueue(task, args=[str(runner.pk), runner.generation, *args], queue=runner.node.queue, aggregate=runner.aggregate)


def _locked(runner_id: UUID) -> Runner:
    runner = (
        Runner.objects.select_for_update(of=("self",)).select_related("project", "node").filter(pk=runner_id).first()
    )
    if runner is None:
        raise MoveRefused(f"There is no runner {runner_id}.")
    return runner
