"""The only writers of the status of agents and of jobs."""

from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.utils import timezone

from agents import events
from agents.exceptions import AgentMoveRefused, JobMoveRefused
from agents.models import Agent, AgentMove, Job, JobMove
from agents.states import JOB_ENDED, AgentStatus, JobStatus, job_sources, sources
from agents.wakes import dispatch_soon

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
    start = AgentStatus(agent.status)
    if start not in (sources(to) if allowed is None else sources(to) & allowed):
        raise AgentMoveRefused(f"{agent.name} is {start.value}: it cannot become {to.value}.", status=start.value)
    agent.status, agent.status_changed_at, agent.reason = to, timezone.now(), reason[:MAX_REASON]
    agent.save(update_fields=["status", "status_changed_at", "reason"])
    record_arrival(agent, start.value, actor=actor, job_id=job_id, runner_id=runner_id)
    return agent


def locked_agent(agent_id: int) -> Agent:
    """Return an agent with its row locked until the transaction ends. Raises AgentMoveRefused if there is none."""
    agent = (
        Agent.objects.select_for_update(of=("self",))
        .select_related("personality", "project")
        .filter(pk=agent_id)
        .first()
    )
    if agent is None:
        raise AgentMoveRefused(f"There is no agent {agent_id}.", agent_id=agent_id)
    return agent


def record_arrival(agent: Agent, start: str, *, actor: str, job_id: str | None = None, runner_id: Any = None) -> None:
    """Write the history row and the event of a status that was just written. A new agent comes from ""."""
    AgentMove.objects.create(
        agent=agent,
        from_status=start,
        to_status=agent.status,
        actor=actor,
        reason=agent.reason,
        at=agent.status_changed_at,
    )
    events.agent_moved(agent, start, actor=actor, job_id=job_id, runner_id=runner_id)
    if agent.status == AgentStatus.IDLE:
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
    start = JobStatus(job.status)
    if start not in (job_sources(to) if allowed is None else job_sources(to) & allowed):
        raise JobMoveRefused(
            f"{job.pk} is {start.label.lower()}: it cannot become {to.label.lower()}.", status=start.value
        )
    now = timezone.now()
    changes |= {"status": to, "status_changed_at": now, "updated_at": now, "reason": reason[:MAX_REASON]}
    changes["ended_at"] = now if to in JOB_ENDED else None
    for name, value in changes.items():
        setattr(job, name, value)
    job.save(update_fields=list(changes))
    record_job_arrival(job, start.value, actor=actor, worker=worker, runner_id=runner_id)
    return job


def locked_job(job_id: str) -> Job:
    """Return a job with its row locked until the transaction ends. Raises JobMoveRefused if there is none."""
    job = Job.objects.select_for_update(of=("self",)).select_related("project").filter(pk=job_id).first()
    if job is None:
        raise JobMoveRefused(f"There is no job {job_id}.", job_id=job_id)
    return job


def record_job_arrival(job: Job, start: str, *, actor: str, worker: str | None = None, runner_id: Any = None) -> None:
    """Write the history row and the event of a status that was just written. A new job comes from ""."""
    JobMove.objects.create(
        job=job, from_status=start, to_status=job.status, actor=actor, reason=job.reason, at=job.status_changed_at
    )
    events.job_moved(job, start, actor=actor, worker=worker, runner_id=runner_id)
    if job.status == JobStatus.PENDING:
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
