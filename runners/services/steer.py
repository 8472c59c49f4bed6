"""Stop, pause and resume: the wish is written and sent to the node; what comes of it, the node reports.

Each verb is written for several runners, in one transaction and few statements; for one it is called with one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from uuid import UUID

from django.db import transaction

from outbox.services import bunched, enqueue
from runners import acts
from runners.exceptions import MoveRefused, RunnerError
from runners.models import Runner
from runners.services.allowance import check_budgets
from runners.several import Several
from runners.states import TERMINAL, RunnerStatus
from runners.transitions import locked_runners, move_many

STOP_TASK = "runners.tasks.stop_runner"
TASKS = {"pause": "runners.tasks.pause_runner", "resume": "runners.tasks.resume_runner"}
#: Longer than this nobody waits, and the node's worker would be held.
MAX_GRACE_SECONDS = 3600

S = RunnerStatus
Runners = Several[UUID, Runner]


def stop_runner(runner_id: UUID, *, actor: str, grace_seconds: int | None = None, reason: str = "") -> Runner:
    """Ask a runner to end: SIGINT, later SIGTERM, and SIGKILL to its whole group after the grace period.

    Idempotent: a runner that has ended is returned as it is, one that is stopping is asked again: a shorter grace
    hurries it. A queued runner just ends.
    """
    return stop_runners([runner_id], actor=actor, grace_seconds=grace_seconds, reason=reason).only()


@transaction.atomic
def stop_runners(ids: Iterable[UUID], *, actor: str, grace_seconds: int | None = None, reason: str = "") -> Runners:
    """Do stop_runner() to several; only one that is not there is refused."""
    asked = _sorted_out(ids, lambda runner: None)
    runners = list(asked.done.values())
    _call_off([runner for runner in runners if runner.status in TERMINAL and runner.restart_at], actor=actor)
    going = [runner for runner in runners if runner.status not in TERMINAL]
    with bunched():
        for runner in going:
            grace = runner.grace_seconds if grace_seconds is None else grace_seconds
            acts.on_runner(
                "kill" if grace == 0 else "stop",
                runner,
                actor=actor,
                before={"status": runner.status},
                after={"status": _asked_to_stop(runner), "grace_seconds": grace},
                reason=reason,
            )
    queued = [runner for runner in going if runner.status == S.QUEUED]
    placed = [runner for runner in going if runner.status != S.QUEUED]
    move_many(queued, S.TERMINATED, actor=actor, reason="cancelled")
    move_many(
        [runner for runner in placed if runner.status != S.STOPPING],
        S.STOPPING,
        actor=actor,
        reason=reason or f"stopped by {actor}",
    )
    with bunched():
        for runner in placed:
            send_stop(runner, grace_seconds=runner.grace_seconds if grace_seconds is None else grace_seconds)
    return asked


def _call_off(runners: Sequence[Runner], *, actor: str) -> None:
    """Asked to stop, a runner that has ended is not started again either."""
    Runner.objects.filter(pk__in=[runner.pk for runner in runners]).update(restart_at=None)
    with bunched():
        for runner in runners:
            acts.on_runner("stop", runner, actor=actor, before={"restart_at": runner.restart_at}, after={})
            runner.restart_at = None


def _asked_to_stop(runner: Runner) -> RunnerStatus:
    return S.TERMINATED if runner.status == S.QUEUED else S.STOPPING


def send_stop(runner: Runner, *, grace_seconds: int) -> None:
    """Send the stop task of this attempt to its node."""
    grace = min(max(grace_seconds, 0), MAX_GRACE_SECONDS)
    _send(STOP_TASK, runner, grace)


def pause_runner(runner_id: UUID, *, actor: str) -> Runner:
    """Ask the node to suspend the runner's processes (SIGSTOP); it becomes `paused` when the node reports so.

    Idempotent on a paused runner. Raises MoveRefused unless it is running.
    """
    return pause_runners([runner_id], actor=actor).only()


@transaction.atomic
def pause_runners(ids: Iterable[UUID], *, actor: str) -> Runners:
    """Do pause_runner() to several."""
    asked = _sorted_out(ids, why_not_pause)
    _ask(asked.done, "pause", start=S.RUNNING, already=S.PAUSED, actor=actor)
    return asked


def why_not_pause(runner: Runner) -> RunnerError | None:
    """Return why a locked runner cannot be asked to pause."""
    return _unless(runner, S.RUNNING, S.PAUSED)


def resume_runner(runner_id: UUID, *, actor: str) -> Runner:
    """Ask the node to let a paused runner go on. Idempotent on a running one; raises MoveRefused otherwise.

    Raises BudgetSpent while a budget holds it.
    """
    return resume_runners([runner_id], actor=actor).only()


@transaction.atomic
def resume_runners(ids: Iterable[UUID], *, actor: str) -> Runners:
    """Do resume_runner() to several."""
    asked = _sorted_out(ids, why_not_resume)
    _ask(asked.done, "resume", start=S.PAUSED, already=S.RUNNING, actor=actor)
    return asked


def why_not_resume(runner: Runner) -> RunnerError | None:
    """Return why a locked runner cannot be asked to go on; whoever acts on a budget waits from here on."""
    try:
        if runner.status == S.PAUSED:
            check_budgets(runner.project, runner)
    except RunnerError as refusal:
        return refusal
    return _unless(runner, S.PAUSED, S.RUNNING)


def _unless(runner: Runner, start: RunnerStatus, already: RunnerStatus) -> MoveRefused | None:
    if runner.status in {start, already}:
        return None
    return MoveRefused(f"{runner.name} is {runner.status}, not {start.value}.", status=runner.status)


def _sorted_out(ids: Iterable[UUID], why_not: Callable[[Runner], RunnerError | None]) -> Runners:
    """Lock runners, and sort out those that are refused, or not there."""
    given = list(ids)
    found, several = locked_runners(given), Runners()
    for runner_id in given:
        runner = found.get(runner_id)
        refusal = why_not(runner) if runner else MoveRefused(f"There is no runner {runner_id}.")
        if refusal is not None:
            several.refused[runner_id] = refusal
        elif runner is not None:
            several.done[runner_id] = runner
    return several


def _ask(runners: Mapping[UUID, Runner], verb: str, *, start: RunnerStatus, already: RunnerStatus, actor: str) -> None:
    asked = [runner for runner in runners.values() if runner.status == start]
    with bunched():
        for runner in asked:
            acts.on_runner(verb, runner, actor=actor, before={"status": start}, after={"status": already})
            _send(TASKS[verb], runner)


def send_pause(runner: Runner) -> None:
    """Send the pause task of this attempt to its node."""
    _send(TASKS["pause"], runner)


def send_resume(runner: Runner) -> None:
    """Send the resume task of this attempt to its node."""
    _send(TASKS["resume"], runner)


def _send(task: str, runner: Runner, *args: int) -> None:
    assert runner.node is not None  # noqa: S101 - a CHECK: only a queued runner has none
    enqueue(task, args=[str(runner.pk), runner.generation, *args], queue=runner.node.queue, aggregate=runner.aggregate)
