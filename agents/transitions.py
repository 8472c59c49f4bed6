"""The only writers of the status of agents and of jobs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from agents import events
from agents.exceptions import AgentMoveRefused, JobMoveRefused
from agents.models import Agent, AgentMove, Job, JobMove
from agents.states import JOB_ENDED, AgentStatus, JobStatus, job_sources, sources
from agents.wakes import dispatch_soon
from outbox.services import bunched

#: Length of the columns that say why.
MAX_REASON = 200


@transaction.atomic
def move(
    agent_id: int,
    to: AgentStatus,
    *,
    actor: str,
    reason: str = "",
    allowed: frozenset[AgentStatus] | None = None,
    job_id: str | None = None,
    runner_id: Any = None,
) -> Agent:
    """Move an agent to `to` and return it; raise AgentMoveRefused if that is not legal now.

    Status, history row and event commit together or not at all. `allowed` narrows the states to come from; `job_id` and
    `runner_id` are told in the event. The agent's row is locked until the transaction ends.
    """
    agent = locked_agent(agent_id)
    work = Work(job_id, runner_id)
    move_many([agent], to, actor=actor, reason=reason, allowed=allowed, work={agent_id: work})
    return agent


@dataclass(frozen=True)
class Work:
    """What a moved agent worked at, as its event tells."""

    job_id: str | None = None
    runner_id: Any = None


NO_WORK = Work()


@transaction.atomic
def move_many(
    agents: Sequence[Agent],
    to: AgentStatus,
    *,
    actor: str,
    reason: str = "",
    allowed: frozenset[AgentStatus] | None = None,
    work: Mapping[int, Work] | None = None,
) -> None:
    """Move agents to `to` that the caller has locked; `work` is told in their events.

    Raises AgentMoveRefused if one of them may not, and then none was moved: who moves several sorts those out before.
    """
    starts = [agent.status for agent in agents]
    for agent in agents:
        if refusal := why_not_move(agent, to, allowed):
            raise refusal
    changes = {"status": to, "status_changed_at": timezone.now(), "reason": reason[:MAX_REASON]}
    for agent in agents:
        for name, value in changes.items():
            setattr(agent, name, value)
    Agent.objects.filter(pk__in=[agent.pk for agent in agents]).update(**changes)
    _record_arrivals(list(zip(agents, starts, strict=True)), actor=actor, work=work or {})


def why_not_move(
    agent: Agent, to: AgentStatus, allowed: frozenset[AgentStatus] | None = None
) -> AgentMoveRefused | None:
    """Return why an agent cannot become `to` now, from the states that are `allowed`."""
    start = AgentStatus(agent.status)
    if start in (sources(to) if allowed is None else sources(to) & allowed):
        return None
    return AgentMoveRefused(f"{agent.name} is {start.value}: it cannot become {to.value}.", status=start.value)


def locked_agent(agent_id: int) -> Agent:
    """Return an agent with its row locked until the transaction ends. Raises AgentMoveRefused if there is none."""
    agent = locked_agents([agent_id]).get(agent_id)
    if agent is None:
        raise no_such_agent(agent_id)
    return agent


def no_such_agent(agent_id: int) -> AgentMoveRefused:
    return AgentMoveRefused(f"There is no agent {agent_id}.", agent_id=agent_id)


def locked_agents(ids: Iterable[int]) -> dict[int, Agent]:
    """Return the agents that there are of `ids`, their rows locked until the transaction ends, in the order of ids."""
    agents = Agent.objects.select_for_update(of=("self",)).select_related("personality", "project")
    return {agent.pk: agent for agent in agents.filter(pk__in=list(ids)).order_by("pk")}


def record_arrivals(agents: Sequence[Agent], *, actor: str) -> None:
    """Write the history rows and the events of agents that were just inserted."""
    _record_arrivals([(agent, "") for agent in agents], actor=actor, work={})


def _record_arrivals(arrivals: Sequence[tuple[Agent, str]], *, actor: str, work: Mapping[int, Work]) -> None:
    AgentMove.objects.bulk_create(
        AgentMove(
            agent=agent,
            from_status=start,
            to_status=agent.status,
            actor=actor,
            reason=agent.reason,
            at=agent.status_changed_at,
        )
        for agent, start in arrivals
    )
    with bunched():
        for agent, start in arrivals:
            told = work.get(agent.pk, NO_WORK)
            events.agent_moved(agent, start, actor=actor, job_id=told.job_id, runner_id=told.runner_id)
    if any(agent.status == AgentStatus.IDLE for agent, _ in arrivals):
        dispatch_soon()


@transaction.atomic
def move_job(
    job_id: str,
    to: JobStatus,
    *,
    actor: str,
    reason: str = "",
    allowed: frozenset[JobStatus] | None = None,
    worker: str | None = None,
    runner_id: Any = None,
    **changes: Any,
) -> Job:
    """Move a job to `to` and return it; raise JobMoveRefused if that is not legal now.

    Status, history row and event commit together or not at all. `changes` are other columns written with the status;
    `worker` and `runner_id` are told in the event. The job's row is locked until the transaction ends.
    """
    job = locked_job(job_id)
    workers = {job_id: Worker(worker, runner_id)}
    move_jobs([job], to, actor=actor, reason=reason, allowed=allowed, workers=workers, **changes)
    return job


@dataclass(frozen=True)
class Worker:
    """Who works or worked on a moved job, as its event tells."""

    name: str | None = None
    runner_id: Any = None


NOBODY = Worker()


@transaction.atomic
def move_jobs(
    jobs: Sequence[Job],
    to: JobStatus,
    *,
    actor: str,
    reason: str = "",
    allowed: frozenset[JobStatus] | None = None,
    workers: Mapping[str, Worker] | None = None,
    **changes: Any,
) -> None:
    """Move jobs to `to` that the caller has locked; `changes` as for move_job(), `workers` are told in their events.

    Raises JobMoveRefused if one of them may not, and then none was moved: who moves several sorts those out before.
    """
    starts = [job.status for job in jobs]
    for job in jobs:
        if refusal := why_not_move_job(job, to, allowed):
            raise refusal
    now = timezone.now()
    changes |= {"status": to, "status_changed_at": now, "updated_at": now, "reason": reason[:MAX_REASON]}
    changes["ended_at"] = now if to in JOB_ENDED else None
    for job in jobs:
        for name, value in changes.items():
            setattr(job, name, value)
    Job.objects.filter(pk__in=[job.pk for job in jobs]).update(**changes)
    _record_job_arrivals(list(zip(jobs, starts, strict=True)), actor=actor, workers=workers or {})


def why_not_move_job(job: Job, to: JobStatus, allowed: frozenset[JobStatus] | None = None) -> JobMoveRefused | None:
    """Return why a job cannot become `to` now, from the states that are `allowed`."""
    start = JobStatus(job.status)
    if start in (job_sources(to) if allowed is None else job_sources(to) & allowed):
        return None
    return JobMoveRefused(
        f"{job.pk} is {start.label.lower()}: it cannot become {to.label.lower()}.", status=start.value
    )


def locked_job(job_id: str) -> Job:
    """Return a job with its row locked until the transaction ends. Raises JobMoveRefused if there is none."""
    job = locked_jobs([job_id]).get(job_id)
    if job is None:
        raise no_such_job(job_id)
    return job


def no_such_job(job_id: str) -> JobMoveRefused:
    return JobMoveRefused(f"There is no job {job_id}.", job_id=job_id)


def locked_jobs(ids: Iterable[str]) -> dict[str, Job]:
    """Return the jobs that there are of `ids`, their rows locked until the transaction ends, in the order of ids."""
    jobs = Job.objects.select_for_update(of=("self",)).select_related("project", "wanted_agent", "wanted_person")
    return {job.pk: job for job in jobs.filter(pk__in=list(ids)).order_by("pk")}


def record_job_arrival(job: Job, start: str, *, actor: str) -> None:
    """Write the history row and the event of a status that was just written. A new job comes from ""."""
    _record_job_arrivals([(job, start)], actor=actor, workers={})


def _record_job_arrivals(arrivals: Sequence[tuple[Job, str]], *, actor: str, workers: Mapping[str, Worker]) -> None:
    JobMove.objects.bulk_create(
        JobMove(
            job=job, from_status=start, to_status=job.status, actor=actor, reason=job.reason, at=job.status_changed_at
        )
        for job, start in arrivals
    )
    with bunched():
        for job, start in arrivals:
            told = workers.get(job.pk, NOBODY)
            events.job_moved(job, start, actor=actor, worker=told.name, runner_id=told.runner_id)
    if any(job.status == JobStatus.PENDING for job, _ in arrivals):
        dispatch_soon()


def record_imported_agents(arrivals: Sequence[tuple[Agent, str]], *, actor: str) -> None:
    """Write the history of statuses that an import wrote in numbers. It publishes one event of its own."""
    AgentMove.objects.bulk_create(
        AgentMove(agent=agent, from_status=start, to_status=agent.status, actor=actor, reason=agent.reason)
        for agent, start in arrivals
    )


def record_imported_jobs(arrivals: Sequence[tuple[Job, str]], *, actor: str) -> None:
    """Write the history of statuses that an import wrote in numbers. It publishes one event of its own."""
    JobMove.objects.bulk_create(
        JobMove(job=job, from_status=start, to_status=job.status, actor=actor, reason=job.reason)
        for job, start in arrivals
    )
