"""Bring work to its end: complete, fail, put back, cancel, try again.

A job ends together with the assignment that was open on it: clock, todo, worker, dependents, all in one transaction.
"""

from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from agents import acts
from agents.exceptions import InvalidJob, JobMoveRefused
from agents.locks import lock_graph
from agents.models import Assignment, Comment, Job
from agents.services.dependencies import decide, reconsider, reconsider_dependents
from agents.services.time import stop_clock_of
from agents.services.todos import settle_todo
from agents.states import FAILURES, AgentStatus, Decision, JobStatus, Outcome
from agents.transitions import locked_agent, locked_job, move, move_job
from runners.services import stop_runner
from runners.states import TERMINAL

J, A = JobStatus, AgentStatus
#: Where a job goes when an assignment ends so.
LANDINGS = {
    Outcome.COMPLETED: J.COMPLETED,
    Outcome.FAILED: J.FAILED,
    Outcome.LOST: J.PENDING,
    Outcome.STOPPED: J.PENDING,
    Outcome.RELEASED: J.PENDING,
    Outcome.CANCELLED: J.CANCELLED,
}

#: What the audit log calls it when people bring that about.
ACTS = {
    Outcome.COMPLETED: "complete",
    Outcome.FAILED: "fail",
    Outcome.RELEASED: "release",
    Outcome.CANCELLED: "cancel",
}


def complete_job(job_id: str, *, actor: str, note: str = "") -> Job:
    """Call a job done that is in progress, and return it. A runner still at it is stopped. Raises JobMoveRefused."""
    return _land_by_hand(job_id, Outcome.COMPLETED, actor=actor, note=note)


def fail_job(job_id: str, *, actor: str, note: str = "") -> Job:
    """Give up a job that is in progress, and return it. A runner still at it is stopped. Raises JobMoveRefused."""
    return _land_by_hand(job_id, Outcome.FAILED, actor=actor, note=note)


def release_job(job_id: str, *, actor: str, note: str = "") -> Job:
    """Put a job that is in progress back on the board, and return it. Raises JobMoveRefused."""
    return _land_by_hand(job_id, Outcome.RELEASED, actor=actor, note=note)


def cancel_job(job_id: str, *, actor: str, note: str = "") -> Job:
    """Cancel a job that has not ended well, and return it; those that wait for it ask what to do.

    Raises JobMoveRefused.
    """
    return _land_by_hand(job_id, Outcome.CANCELLED, actor=actor, note=note)


@transaction.atomic
def retry_job(job_id: str, *, actor: str) -> Job:
    """Let a failed job, or one that asks after failures, be tried again, and return it. Its failures no longer count.

    Raises JobMoveRefused.
    """
    lock_graph()
    job = locked_job(job_id)
    if job.status == J.FAILED:
        job = move_job(job_id, J.PENDING, actor=actor, reason="tried again")
    elif job.decision != Decision.FAILURES:
        raise JobMoveRefused(f"{job_id} is {job.status}: there is nothing to try again.", status=job.status)
    acts.on_job("retry", job, actor=actor)
    job.failures_since = timezone.now()
    job.save(update_fields=["failures_since"])
    return _back_on_the_board(job, actor=actor)


@transaction.atomic
def end_assignment(
    assignment_id: int,
    outcome: Outcome,
    *,
    actor: str,
    note: str = "",
    at: datetime | None = None,
    may_fail: int | None = None,
) -> Job | None:
    """End an open assignment and land its job; return the job, or None if it had ended already.

    `at` is when the work ended; `may_fail` how often the job may fail before it asks people: until then it is tried
    again. None: nobody tries it again by itself.
    """
    lock_graph()
    job = locked_job(Assignment.objects.values_list("job_id", flat=True).get(pk=assignment_id))
    assignment = _open_assignment(job)
    if assignment is None or assignment.pk != assignment_id:
        return None
    return _land(job, assignment, outcome, actor=actor, note=note, at=at, may_fail=may_fail)


@transaction.atomic
def _land_by_hand(job_id: str, outcome: Outcome, *, actor: str, note: str) -> Job:
    lock_graph()
    job = locked_job(job_id)
    assignment, before = _open_assignment(job), {"status": job.status}
    job = _land(job, assignment, outcome, actor=actor, note=note, at=None, may_fail=None)
    acts.on_job(ACTS[outcome], job, actor=actor, before=before, after={"status": job.status}, reason=note)
    if assignment is not None and assignment.runner is not None and assignment.runner.status not in TERMINAL:
        stop_runner(assignment.runner.pk, actor=actor)
    return job


def _open_assignment(job: Job) -> Assignment | None:
    return job.assignments.open().select_related("agent", "person", "runner").select_for_update(of=("self",)).first()


def _land(
    job: Job,
    assignment: Assignment | None,
    outcome: Outcome,
    *,
    actor: str,
    note: str,
    at: datetime | None,
    may_fail: int | None,
) -> Job:
    if assignment is not None:
        # Before the job: the agent is locked after the job's row, and what it is told names where the job went.
        _close(assignment, outcome, actor=actor, note=note, at=at)
    told: dict[str, Any] = {"worker": assignment.worker, "runner_id": assignment.runner_id} if assignment else {}
    job = move_job(job.pk, LANDINGS[outcome], actor=actor, reason=note, **told)
    if note and outcome != Outcome.COMPLETED:
        Comment.objects.create(job=job, actor=actor, text=_remark(outcome, assignment, note))
    if outcome in FAILURES and may_fail is not None:
        job = _after_failure(job, actor=actor, may_fail=may_fail)
    elif job.decision:
        job = decide(job, Decision.NONE, actor=actor)
    reconsider_dependents(job, actor=actor)
    return reconsider(job, actor=actor)


def _remark(outcome: Outcome, assignment: Assignment | None, note: str) -> str:
    worker = f" by {assignment.worker}" if assignment else ""
    return f"{outcome.label}{worker}: {note}"


def _close(assignment: Assignment, outcome: Outcome, *, actor: str, note: str, at: datetime | None) -> None:
    ended_at = max(at or timezone.now(), assignment.started_at)
    assignment.ended_at, assignment.outcome, assignment.note = ended_at, outcome, note[:300]
    assignment.save(update_fields=["ended_at", "outcome", "note"])
    stop_clock_of(assignment, at=ended_at, actor=actor)
    settle_todo(assignment, done=outcome == Outcome.COMPLETED, actor=actor)
    if assignment.agent_id is not None:
        _free(assignment, outcome, actor=actor)


def _free(assignment: Assignment, outcome: Outcome, *, actor: str) -> None:
    """Free the agent for other work; one that was paused or killed stays so."""
    assert assignment.agent_id is not None  # noqa: S101 - the caller asked
    agent = locked_agent(assignment.agent_id)
    if agent.status != A.WORKING:
        return
    told: dict[str, Any] = {"job_id": assignment.job_id, "runner_id": assignment.runner_id}
    if outcome == Outcome.COMPLETED:
        move(agent.pk, A.COMPLETED, actor=actor, **told)
    move(agent.pk, A.IDLE, actor=actor, **told)


def _after_failure(job: Job, *, actor: str, may_fail: int) -> Job:
    """Let the job be tried again, or ask people once it failed too often."""
    failures = failures_of(job)
    if failures >= may_fail:
        return decide(job, Decision.FAILURES, actor=actor)
    if job.status == J.FAILED:
        job = move_job(job.pk, J.PENDING, actor=actor, reason=f"failed {failures} of {may_fail} times: tried again")
    return job


def failures_of(job: Job) -> int:
    """Return how many runs of a job failed or were lost since people last decided about it."""
    return job.assignments.filter(outcome__in=sorted(FAILURES), ended_at__gte=job.failures_since).count()


def _back_on_the_board(job: Job, *, actor: str) -> Job:
    job = decide(job, Decision.NONE, actor=actor)
    reconsider_dependents(job, actor=actor)
    return reconsider(job, actor=actor)


_VERBS = {J.COMPLETED: complete_job, J.FAILED: fail_job, J.CANCELLED: cancel_job}


def set_job_status(job_id: str, to: JobStatus, *, actor: str, note: str = "") -> Job:
    """Bring a job to a status by the verb that leads there, and return it. Raises JobMoveRefused, InvalidJob.

    Nobody but its dependencies can block a job, and to be in progress it must be assigned.
    """
    if to in _VERBS:
        return _VERBS[to](job_id, actor=actor, note=note)
    if to != J.PENDING:
        raise InvalidJob(
            f"A job becomes {to.label.lower()} by being {'assigned' if to == J.IN_PROGRESS else 'made to wait'}.",
            field="status",
        )
    status = Job.objects.filter(pk=job_id).values_list("status", flat=True).first()
    return retry_job(job_id, actor=actor) if status == J.FAILED else release_job(job_id, actor=actor, note=note)
