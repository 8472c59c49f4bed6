"""Bring work to its end: complete, fail, put back, cancel, try again.

A job ends together with the assignment that was open on it: clock, todo, worker, dependents, all in one transaction.
Each verb is written for several jobs, in few statements; for one it is called with one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from agents import acts
from agents.exceptions import AgentError, InvalidJob, JobMoveRefused
from agents.locks import lock_graph
from agents.models import Assignment, Comment, Job
from agents.services.dependencies import decide, in_turns, reconsider_dependents, reconsider_jobs
from agents.services.time import stop_clocks_of
from agents.services.todos import settle_todos
from agents.states import FAILURES, AgentStatus, Decision, JobStatus, Outcome
from agents.transitions import (
    NOBODY,
    Work,
    Worker,
    locked_agents,
    locked_job,
    locked_jobs,
    move_jobs,
    move_many,
    no_such_job,
    why_not_move_job,
)
from outbox.services import bunched
from runners.services.steer import stop_runners
from runners.several import Several
from runners.sql_rows import update_together
from runners.states import TERMINAL

J, A = JobStatus, AgentStatus
Jobs = Several[str, Job]
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


@dataclass(frozen=True)
class At:
    """A locked job, and the assignment that is open on it, locked too."""

    job: Job
    assignment: Assignment | None

    @property
    def worker(self) -> Worker:
        return Worker(self.assignment.worker, self.assignment.runner_id) if self.assignment else NOBODY


def complete_job(job_id: str, *, actor: str, note: str = "") -> Job:
    """Call a job done that is in progress, and return it. A runner still at it is stopped. Raises JobMoveRefused."""
    return land_jobs([job_id], Outcome.COMPLETED, actor=actor, note=note).only()


def fail_job(job_id: str, *, actor: str, note: str = "") -> Job:
    """Give up a job that is in progress, and return it. A runner still at it is stopped. Raises JobMoveRefused."""
    return land_jobs([job_id], Outcome.FAILED, actor=actor, note=note).only()


def release_job(job_id: str, *, actor: str, note: str = "") -> Job:
    """Put a job that is in progress back on the board, and return it. Raises JobMoveRefused."""
    return land_jobs([job_id], Outcome.RELEASED, actor=actor, note=note).only()


def cancel_job(job_id: str, *, actor: str, note: str = "") -> Job:
    """Cancel a job that has not ended well, and return it; those that wait for it ask what to do.

    Raises JobMoveRefused.
    """
    return land_jobs([job_id], Outcome.CANCELLED, actor=actor, note=note).only()


@transaction.atomic
def land_jobs(ids: Iterable[str], outcome: Outcome, *, actor: str, note: str = "") -> Jobs:
    """Do complete_job(), fail_job(), release_job() or cancel_job() to several, as `outcome` says."""
    lock_graph()
    several, stopped = Jobs(), []
    for found in _in_turns(ids, several, lambda job: why_not_move_job(job, LANDINGS[outcome])):
        before = {at.job.pk: at.job.status for at in found}
        _land(found, outcome, actor=actor, note=note)
        with bunched():
            for at in found:
                acts.on_job(
                    ACTS[outcome],
                    at.job,
                    actor=actor,
                    before={"status": before[at.job.pk]},
                    after={"status": at.job.status},
                    reason=note,
                )
        stopped += [at.assignment.runner for at in found if at.assignment and at.assignment.runner]
    # Last: runners are locked after everything of ours.
    stop_runners([runner.pk for runner in stopped if runner.status not in TERMINAL], actor=actor)
    return several


def _in_turns(ids: Iterable[str], several: Jobs, why_not: Callable[[Job], AgentError | None]) -> Iterable[list[At]]:
    """Yield locked jobs in groups that may be done at once; those that are refused when it is their turn are left out.

    A job's turn is after that of those before it that it waits for, or that wait for it: as if they were done singly.
    """
    given = list(ids)
    jobs = locked_jobs(given)
    for turn, group in enumerate(in_turns(given)):
        if turn:
            # What came of the turns before was written to other copies of these.
            jobs = locked_jobs(group)
        found = []
        for job_id in group:
            refusal = why_not(jobs[job_id]) if job_id in jobs else no_such_job(job_id)
            if refusal is not None:
                several.refused[job_id] = refusal
            else:
                several.done[job_id] = jobs[job_id]
                found.append(jobs[job_id])
        assignments = _open_assignments(found)
        yield [At(job, assignments.get(job.pk)) for job in found]


def _open_assignments(jobs: Iterable[Job]) -> dict[str, Assignment]:
    found = Assignment.objects.open().filter(job__in=list(jobs)).order_by("pk")
    found = found.select_related("agent", "person", "runner").select_for_update(of=("self",))
    return {each.job_id: each for each in found}


def retry_job(job_id: str, *, actor: str) -> Job:
    """Let a failed job, or one that asks after failures, be tried again, and return it. Its failures no longer count.

    Raises JobMoveRefused.
    """
    return retry_jobs([job_id], actor=actor).only()


@transaction.atomic
def retry_jobs(ids: Iterable[str], *, actor: str) -> Jobs:
    """Do retry_job() to several."""
    lock_graph()
    several = Jobs()
    for found in _in_turns(ids, several, _why_not_retry):
        jobs = [at.job for at in found]
        move_jobs([job for job in jobs if job.status == J.FAILED], J.PENDING, actor=actor, reason="tried again")
        with bunched():
            for job in jobs:
                acts.on_job("retry", job, actor=actor)
        now = timezone.now()
        Job.objects.filter(pk__in=[job.pk for job in jobs]).update(failures_since=now)
        for job in jobs:
            job.failures_since = now
            decide(job, Decision.NONE, actor=actor)
        reconsider_dependents(jobs, actor=actor)
        reconsider_jobs(jobs, actor=actor)
    return several


def _why_not_retry(job: Job) -> JobMoveRefused | None:
    if job.status == J.FAILED or job.decision == Decision.FAILURES:
        return None
    return JobMoveRefused(f"{job.pk} is {job.status}: there is nothing to try again.", status=job.status)


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
    assignment = _open_assignments([job]).get(job.pk)
    if assignment is None or assignment.pk != assignment_id:
        return None
    _land([At(job, assignment)], outcome, actor=actor, note=note, ended_at=at, may_fail=may_fail)
    return job


def _land(
    found: Sequence[At],
    outcome: Outcome,
    *,
    actor: str,
    note: str,
    ended_at: datetime | None = None,
    may_fail: int | None = None,
) -> None:
    """Land jobs of which none waits for another, with the assignments that are open on them."""
    # Before the jobs: an agent is locked after the job's row, and what it is told names where the job went.
    _close([at.assignment for at in found if at.assignment], outcome, actor=actor, note=note, at=ended_at)
    jobs, workers = [at.job for at in found], {at.job.pk: at.worker for at in found}
    move_jobs(jobs, LANDINGS[outcome], actor=actor, reason=note, workers=workers)
    if note and outcome != Outcome.COMPLETED:
        Comment.objects.bulk_create(
            Comment(job=at.job, actor=actor, text=_remark(outcome, at.worker, note)) for at in found
        )
    for job in jobs:
        if outcome in FAILURES and may_fail is not None:
            _after_failure(job, actor=actor, may_fail=may_fail)
        else:
            decide(job, Decision.NONE, actor=actor)
    reconsider_dependents(jobs, actor=actor)
    reconsider_jobs(jobs, actor=actor)


def _remark(outcome: Outcome, worker: Worker, note: str) -> str:
    return f"{outcome.label}{f' by {worker.name}' if worker.name else ''}: {note}"


def _close(assignments: Sequence[Assignment], outcome: Outcome, *, actor: str, note: str, at: datetime | None) -> None:
    ended_at = at or timezone.now()
    for assignment in assignments:
        assignment.ended_at = max(ended_at, assignment.started_at)
        assignment.outcome, assignment.note = outcome, note[:300]
    update_together(assignments, ("ended_at", "outcome", "note"))
    stop_clocks_of(assignments, actor=actor)
    settle_todos(assignments, done=outcome == Outcome.COMPLETED, actor=actor)
    _free(assignments, outcome, actor=actor)


def _free(assignments: Sequence[Assignment], outcome: Outcome, *, actor: str) -> None:
    """Free agents for other work; those that were paused or killed stay so."""
    work: Mapping[int, Work] = {
        each.agent_id: Work(each.job_id, each.runner_id) for each in assignments if each.agent_id
    }
    free = [agent for agent in locked_agents(work).values() if agent.status == A.WORKING]
    if outcome == Outcome.COMPLETED:
        move_many(free, A.COMPLETED, actor=actor, work=work)
    move_many(free, A.IDLE, actor=actor, work=work)


def _after_failure(job: Job, *, actor: str, may_fail: int) -> None:
    """Let the job be tried again, or ask people once it failed too often."""
    failures = failures_of(job)
    if failures >= may_fail:
        decide(job, Decision.FAILURES, actor=actor)
    elif job.status == J.FAILED:
        move_jobs([job], J.PENDING, actor=actor, reason=f"failed {failures} of {may_fail} times: tried again")


def failures_of(job: Job) -> int:
    """Return how many runs of a job failed or were lost since people last decided about it."""
    return job.assignments.filter(outcome__in=sorted(FAILURES), ended_at__gte=job.failures_since).count()


_OUTCOMES = {J.COMPLETED: Outcome.COMPLETED, J.FAILED: Outcome.FAILED, J.CANCELLED: Outcome.CANCELLED}


def why_not_set(job: Job, to: JobStatus) -> AgentError | None:
    """Return why a job's status cannot be set to `to` now."""
    return _not_by_hand(to) or why_not_move_job(job, to)


def _not_by_hand(to: JobStatus) -> InvalidJob | None:
    if to in _OUTCOMES or to == J.PENDING:
        return None
    how = "assigned" if to == J.IN_PROGRESS else "made to wait"
    return InvalidJob(f"A job becomes {to.label.lower()} by being {how}.", field="status")


def set_job_status(job_id: str, to: JobStatus, *, actor: str, note: str = "") -> Job:
    """Bring a job to a status by the verb that leads there, and return it. Raises JobMoveRefused, InvalidJob.

    Nobody but its dependencies can block a job, and to be in progress it must be assigned.
    """
    return set_job_statuses([job_id], to, actor=actor, note=note).only()


@transaction.atomic
def set_job_statuses(ids: Iterable[str], to: JobStatus, *, actor: str, note: str = "") -> Jobs:
    """Do set_job_status() to several."""
    given = list(ids)
    if to in _OUTCOMES:
        return land_jobs(given, _OUTCOMES[to], actor=actor, note=note)
    if refusal := _not_by_hand(to):
        return Jobs(refused=dict.fromkeys(given, refusal))
    lock_graph()
    failed = set(Job.objects.filter(pk__in=given, status=J.FAILED).values_list("pk", flat=True))
    released = land_jobs([pk for pk in given if pk not in failed], Outcome.RELEASED, actor=actor, note=note)
    retried = retry_jobs([pk for pk in given if pk in failed], actor=actor)
    return Jobs(released.done | retried.done, released.refused | retried.refused)
