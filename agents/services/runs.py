"""What becomes of an agent's runner becomes of its job."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from agents.models import Assignment, DispatchSettings
from agents.services.land import end_assignment
from agents.services.time import pause_clocks_of, resume_clocks_of
from agents.states import AgentStatus, Outcome
from agents.transitions import locked_agent, move
from runners.models import Runner
from runners.states import TERMINAL, RunnerStatus

ACTOR = "system:runs"
A, S = AgentStatus, RunnerStatus


def at_work(runner_ids: Iterable[UUID]) -> list[UUID]:
    """Return which of these runners do, or did until they ended, a job that is not landed yet."""
    found = Assignment.objects.open().filter(runner__in=list(runner_ids)).order_by("pk")
    return [runner_id for runner_id in found.values_list("runner_id", flat=True) if runner_id]


def runner_ended(runner_id: UUID) -> bool:
    """Land the job of a runner that has ended for good; return whether there was one to land.

    Looks at what is true now, not at what an event told: a runner that was or will be started again has not ended.
    """
    assignment = Assignment.objects.open().select_related("runner", "job").filter(runner=runner_id).first()
    if assignment is None or assignment.runner is None or not has_ended(assignment.runner):
        return False
    runner = assignment.runner
    outcome, note = verdict(runner)
    landed = end_assignment(
        assignment.pk, outcome, actor=ACTOR, note=note, at=runner.ended_at, may_fail=_may_fail(runner)
    )
    return landed is not None


def has_ended(runner: Runner) -> bool:
    """Return whether a runner has ended, and no restart is planned."""
    return runner.status in TERMINAL and runner.restart_at is None


def verdict(runner: Runner) -> tuple[Outcome, str]:
    """Return how an ended runner counts for its job, and why.

    Whatever its exit code: one that was asked to stop did not finish its job, and one that never ran did not either.
    """
    last = runner.moves.order_by("-pk").first()
    if runner.status == S.FAILED:
        return (Outcome.LOST if runner.reason.startswith("lost") else Outcome.FAILED), runner.reason or "failed"
    if last is not None and last.from_status == S.STOPPING:
        return Outcome.STOPPED, runner.reason or "stopped"
    if runner.exit_code == 0:
        return Outcome.COMPLETED, ""
    return Outcome.STOPPED, runner.reason or "it never ran"


def _may_fail(runner: Runner) -> int | None:
    dispatch = DispatchSettings.objects.filter(project=runner.project_id, enabled=True).first()
    return dispatch.max_failures if dispatch else None


def runner_steered(runner_id: UUID) -> None:
    """Let an agent be paused while its runner is, and work again when that goes on, whoever asked for it."""
    assignment = Assignment.objects.open().select_related("runner", "job").filter(runner=runner_id).first()
    if assignment is None or assignment.runner is None or assignment.agent_id is None:
        return
    agent = locked_agent(assignment.agent_id)
    told: dict[str, Any] = {"job_id": assignment.job_id, "runner_id": assignment.runner_id}
    if assignment.runner.status == S.PAUSED and agent.status == A.WORKING:
        move(agent.pk, A.PAUSED, actor=ACTOR, reason="its runner is paused", **told)
        pause_clocks_of([assignment], actor=ACTOR)
    elif assignment.runner.status == S.RUNNING and agent.status == A.PAUSED:
        move(agent.pk, A.WORKING, actor=ACTOR, **told)
        resume_clocks_of([assignment], actor=ACTOR)


def settle_ended() -> int:
    """Land the jobs of runners that have ended without an event that told so; return how many.

    A restart that is given up when it falls due is told by no event.
    """
    ended = Assignment.objects.open().filter(runner__status__in=TERMINAL, runner__restart_at__isnull=True)
    runners = [runner_id for runner_id in ended.values_list("runner_id", flat=True) if runner_id]
    return sum(runner_ended(runner_id) for runner_id in runners)
