"""What operations may do to agents and jobs in numbers, and what these are narrowed by."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from agents.exceptions import AgentError
from agents.models import Agent, Assignment, Job, TimeEntry
from agents.services.assign import assign_next_job, assign_next_jobs
from agents.services.jobs import delete_job, delete_jobs
from agents.services.land import (
    cancel_job,
    complete_job,
    fail_job,
    land_jobs,
    release_job,
    retry_job,
    retry_jobs,
    set_job_status,
    set_job_statuses,
    why_not_set,
)
from agents.services.steer import (
    delete_agent,
    delete_agents,
    kill_agent,
    kill_agents,
    pause_agent,
    pause_agents,
    resume_agent,
    resume_agents,
    retire_agent,
    retire_agents,
    revive_agent,
    revive_agents,
)
from agents.states import AVAILABLE, AgentStatus, Decision, JobStatus, Outcome, Priority
from runners.exceptions import InvalidRequest, RunnerError
from runners.services.operations.filters import exactly, moment, narrow, texts
from runners.services.operations.verbs import Verb
from runners.several import Several

A, J = AgentStatus, JobStatus
REFUSALS = (AgentError, RunnerError)


def matching_agents(wanted: Mapping[str, Any]) -> QuerySet[Agent]:
    """Return the agents that a filter leaves, by name. Raises InvalidRequest."""
    turns = Assignment.objects.filter(agent=OuterRef("pk"))
    agents = Agent.objects.annotate(
        at_work=Exists(turns.open()),
        has_runner=Exists(turns.open().filter(runner__isnull=False)),
        has_worked=Exists(turns) | Exists(TimeEntry.objects.filter(agent=OuterRef("pk"))),
    )
    return narrow(agents.order_by("name"), wanted, OF_AGENTS, items="Agents")


def matching_jobs(wanted: Mapping[str, Any]) -> QuerySet[Job]:
    """Return the jobs that a filter leaves, newest first. Raises InvalidRequest."""
    worked_on = (Assignment, TimeEntry)
    once = [Exists(model._default_manager.filter(job=OuterRef("pk"))) for model in worked_on]
    jobs = Job.objects.annotate(was_worked_on=once[0] | once[1])
    return narrow(jobs.order_by("-created_at", "-pk"), wanted, OF_JOBS, items="Jobs")


def _one_of(column: str, kind: type[AgentStatus | JobStatus | Priority], value: Any) -> Q:
    return Q(**{f"{column}__in": [kind(text).value for text in texts(value)]})


def meant_for(agent: str) -> Q:
    """Return the condition on jobs that an agent of that name works on, or alone is to be given."""
    at_work = Assignment.objects.open().filter(agent__name=agent).values("job_id")
    return Q(wanted_agent__name=agent) | Q(pk__in=at_work)


OF_AGENTS: dict[str, Callable[[Any], Q]] = {
    # Numbers or names: people know the names.
    "ids": lambda value: Q(pk__in=[int(text) for text in texts(value)]),
    "names": lambda value: Q(name__in=texts(value)),
    "status": partial(_one_of, "status", AgentStatus),
    "personality": partial(exactly, "personality__name"),
    "project": partial(exactly, "project__name"),
    "search": lambda value: Q(name__icontains=str(value)),
    "created_before": partial(moment, "created_at__lt"),
}
OF_JOBS: dict[str, Callable[[Any], Q]] = {
    "ids": lambda value: Q(pk__in=texts(value)),
    "status": partial(_one_of, "status", JobStatus),
    "priority": partial(_one_of, "priority", Priority),
    "project": partial(exactly, "project__name"),
    "label": lambda value: Q(labels__contains=texts(value)),
    "agent": lambda value: meant_for(str(value)),
    "decision": lambda value: Q(decision__in=[Decision(text) for text in texts(value)]),
    "search": lambda value: Q(title__icontains=str(value)) | Q(pk__icontains=str(value)),
    "created_before": partial(moment, "created_at__lt"),
}


def _unless(*statuses: str) -> Callable[[Any], str]:
    """Return what says why a record cannot be meant: it is in none of these states."""
    return lambda record: "" if record.status in statuses else f"It is {record.status.replace('_', ' ')}."


def _why_not_retire(agent: Any) -> str:
    if agent.status == A.RETIRED:
        return "It is retired."
    return "It has a job." if agent.at_work else ""


def _why_not_kill(agent: Any) -> str:
    return "" if agent.has_runner else "It has nothing running."


def _why_not_revive(agent: Any) -> str:
    return _unless(A.ERROR)(agent) or ("Its last runner has not ended yet." if agent.at_work else "")


def _why_not_delete_agent(agent: Any) -> str:
    return "It has worked: retire it instead." if agent.has_worked else ""


def _why_not_delete_job(job: Any) -> str:
    # Not what waits for it: that may be deleted before it.
    return "It has been worked on: cancel it instead." if job.was_worked_on else ""


def _why_not_set_status(job: Job, status: str) -> str:
    refusal = why_not_set(job, JobStatus(status))
    return refusal.message if refusal else ""


def _job_status(value: Any) -> JobStatus:
    try:
        return JobStatus(value)
    except ValueError:
        raise InvalidRequest(f"status is one of {', '.join(JobStatus.values)}.", field="parameters") from None


def _set_status(job_id: str, *, actor: str, status: str) -> Job:
    return set_job_status(job_id, JobStatus(status), actor=actor)


def _set_statuses(ids: Sequence[str], *, actor: str, status: str) -> Several[str, Job]:
    return set_job_statuses(ids, JobStatus(status), actor=actor)


def _verb(
    name: str,
    label: str,
    why_not: Callable[..., str],
    act: Callable[..., object],
    act_many: Callable[..., Several[Any, Any]] | None = None,
    **more: Any,
) -> Verb:
    """Return a verb over agents or jobs, as its name says."""
    of_agents = name.startswith("agent.")
    more.setdefault("permission", "agents.change_agent" if of_agents else "agents.change_job")
    return Verb(
        name=name, label=label, items="agents" if of_agents else "jobs", why_not=why_not, act=act, act_many=act_many,
        matching=matching_agents if of_agents else matching_jobs, refusals=REFUSALS, **more,
    )  # fmt: skip


def _land(outcome: Outcome) -> Callable[..., Several[str, Job]]:
    return partial(land_jobs, outcome=outcome)


MAY_CANCEL = _unless(J.PENDING, J.BLOCKED, J.IN_PROGRESS, J.FAILED)
MAY_DELETE_AGENT, MAY_DELETE_JOB = {"permission": "agents.delete_agent"}, {"permission": "agents.delete_job"}
VERBS = (
    _verb("agent.assign", "Give a job", _unless(*AVAILABLE), assign_next_job, assign_next_jobs),
    _verb("agent.pause", "Pause", _unless(A.IDLE, A.WORKING), pause_agent, pause_agents),
    _verb("agent.resume", "Resume", _unless(A.PAUSED), resume_agent, resume_agents),
    _verb("agent.revive", "Revive", _why_not_revive, revive_agent, revive_agents),
    _verb("agent.kill", "Kill", _why_not_kill, kill_agent, kill_agents, grave=True),
    _verb("agent.retire", "Retire", _why_not_retire, retire_agent, retire_agents, grave=True),
    _verb("agent.delete", "Delete", _why_not_delete_agent, delete_agent, delete_agents, grave=True, **MAY_DELETE_AGENT),
    _verb(
        "job.set_status",
        "Set status",
        _why_not_set_status,
        _set_status,
        _set_statuses,
        parameters={"status": _job_status},
        needs=frozenset({"status"}),
    ),
    _verb("job.release", "Put back", _unless(J.IN_PROGRESS), release_job, _land(Outcome.RELEASED)),
    _verb("job.retry", "Try again", _unless(J.FAILED), retry_job, retry_jobs),
    _verb("job.complete", "Complete", _unless(J.IN_PROGRESS), complete_job, _land(Outcome.COMPLETED)),
    _verb("job.fail", "Fail", _unless(J.IN_PROGRESS), fail_job, _land(Outcome.FAILED)),
    _verb("job.cancel", "Cancel", MAY_CANCEL, cancel_job, _land(Outcome.CANCELLED), grave=True),
    _verb("job.delete", "Delete", _why_not_delete_job, delete_job, delete_jobs, grave=True, **MAY_DELETE_JOB),
)
