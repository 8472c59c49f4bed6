"""What operations may do to agents and jobs in numbers, and what these are narrowed by."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from django.db.models import Q, QuerySet

from agents.exceptions import AgentError, AgentMoveRefused
from agents.models import Agent, Assignment, Job
from agents.services.assign import assign_job
from agents.services.jobs import delete_job
from agents.services.land import cancel_job, complete_job, fail_job, release_job, retry_job, set_job_status
from agents.services.steer import delete_agent, kill_agent, pause_agent, resume_agent, retire_agent, revive_agent
from agents.services.suggest import suggest_jobs
from agents.states import AVAILABLE, AgentStatus, JobStatus, Priority
from runners.exceptions import InvalidRequest, RunnerError
from runners.services.operations.filters import exactly, moment, narrow, texts
from runners.services.operations.verbs import Verb
from runners.states import OnLimit

A, J = AgentStatus, JobStatus
REFUSALS = (AgentError, RunnerError)


def matching_agents(wanted: Mapping[str, Any]) -> QuerySet[Agent]:
    """Return the agents that a filter leaves, by name. Raises InvalidRequest."""
    return narrow(Agent.objects.order_by("name"), wanted, OF_AGENTS, items="Agents")


def matching_jobs(wanted: Mapping[str, Any]) -> QuerySet[Job]:
    """Return the jobs that a filter leaves, newest first. Raises InvalidRequest."""
    return narrow(Job.objects.order_by("-created_at", "-pk"), wanted, OF_JOBS, items="Jobs")


def _one_of(column: str, kind: type[AgentStatus | JobStatus | Priority], value: Any) -> Q:
    return Q(**{f"{column}__in": [kind(text).value for text in texts(value)]})


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
    "search": lambda value: Q(title__icontains=str(value)) | Q(pk__icontains=str(value)),
    "created_before": partial(moment, "created_at__lt"),
}


def _unless(*statuses: str) -> Callable[[Any], str]:
    """Return what says why a record cannot be meant: it is in none of these states."""
    return lambda record: "" if record.status in statuses else f"It is {record.status.replace('_', ' ')}."


def _why_not_retire(agent: Agent) -> str:
    if agent.status == A.RETIRED:
        return "It is retired."
    return "It has a job." if Assignment.objects.open().filter(agent=agent).exists() else ""


def assign_next_job(agent_id: int, *, actor: str) -> Assignment:
    """Give an agent the ready job that suits it best. Raises AgentMoveRefused where none is ready for it."""
    agent = Agent.objects.select_related("personality", "project").get(pk=agent_id)
    best = suggest_jobs(agent, count=1)
    if not best:
        raise AgentMoveRefused(f"No job is ready for {agent.name}.", status=agent.status)
    return assign_job(best[0].job.pk, agent_id, actor=actor, on_limit=OnLimit.WAIT)


def _job_status(value: Any) -> JobStatus:
    try:
        return JobStatus(value)
    except ValueError:
        raise InvalidRequest(f"status is one of {', '.join(JobStatus.values)}.", field="parameters") from None


def _set_status(job_id: str, *, actor: str, status: str) -> Job:
    return set_job_status(job_id, JobStatus(status), actor=actor)


def _agent_verb(name: str, label: str, why_not: Callable[[Any], str], act: Callable[..., object], **more: Any) -> Verb:
    permission = more.pop("permission", "agents.change_agent")
    return Verb(
        name=f"agent.{name}", label=label, items="agents", permission=permission, matching=matching_agents,
        why_not=why_not, act=act, refusals=REFUSALS, **more,
    )  # fmt: skip


def _job_verb(name: str, label: str, why_not: Callable[[Any], str], act: Callable[..., object], **more: Any) -> Verb:
    permission = more.pop("permission", "agents.change_job")
    return Verb(
        name=f"job.{name}", label=label, items="jobs", permission=permission, matching=matching_jobs,
        why_not=why_not, act=act, refusals=REFUSALS, **more,
    )  # fmt: skip


VERBS = (
    _agent_verb("assign", "Give a job", _unless(*AVAILABLE), assign_next_job),
    _agent_verb("pause", "Pause", _unless(A.IDLE, A.WORKING), pause_agent),
    _agent_verb("resume", "Resume", _unless(A.PAUSED), resume_agent),
    _agent_verb("revive", "Revive", _unless(A.ERROR), revive_agent),
    _agent_verb("kill", "Kill", _unless(A.WORKING, A.PAUSED, A.ERROR), kill_agent, grave=True),
    _agent_verb("retire", "Retire", _why_not_retire, retire_agent, grave=True),
    _agent_verb("delete", "Delete", lambda agent: "", delete_agent, permission="agents.delete_agent", grave=True),
    _job_verb(
        "set_status",
        "Set status",
        lambda job: "",
        _set_status,
        parameters={"status": _job_status},
        needs=frozenset({"status"}),
    ),
    _job_verb("release", "Put back", _unless(J.IN_PROGRESS), release_job),
    _job_verb("retry", "Try again", _unless(J.FAILED), retry_job),
    _job_verb("complete", "Complete", _unless(J.IN_PROGRESS), complete_job),
    _job_verb("fail", "Fail", _unless(J.IN_PROGRESS), fail_job),
    _job_verb("cancel", "Cancel", _unless(J.PENDING, J.BLOCKED, J.IN_PROGRESS, J.FAILED), cancel_job, grave=True),
    _job_verb("delete", "Delete", lambda job: "", delete_job, permission="agents.delete_job", grave=True),
)
