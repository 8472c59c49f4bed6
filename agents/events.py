"""The events that agents publish. The only place that spells them."""

from collections.abc import Mapping
from typing import Any

from agents.models import Agent, DispatchSettings, Job, Personality, TimeEntry, Todo
from agents.states import AgentStatus as A
from agents.states import JobStatus as J
from agents.states import TodoStatus
from outbox.registry import register
from outbox.services import publish
from outbox.states import Severity

ARRIVALS = {status: f"agent.{status.value}" for status in A}
JOB_ARRIVALS = {status: f"job.{status.value}" for status in J}

_AGENT_DATA = {
    "agent_id": "integer",
    "name": "string",
    "personality": "string",
    "project": "string?",
    "runner_id": "uuid?",
    "job_id": "string?",
    "status": "string",
    "from": "string",
    "reason": "string",
    "actor": "string",
}
_AGENT_MOVES = {
    A.SPAWNING: "An agent was created.",
    A.IDLE: "An agent is free for work.",
    A.WORKING: "An agent works.",
    A.PAUSED: "An agent was told to wait.",
    A.COMPLETED: "An agent finished its work.",
    A.ERROR: "An agent cannot work: it was killed, or could not be started.",
    A.RETIRED: "An agent was taken out of service for good.",
}
_JOB_DATA = {
    "job_id": "string",
    "title": "string",
    "project": "string?",
    "priority": "string",
    "status": "string",
    "decision": "string",
    "actor": "string",
}
_JOB_MOVE_DATA = {
    **_JOB_DATA,
    "from": "string",
    "reason": "string",
    "worker": "string?",
    "runner_id": "uuid?",
}
_JOB_MOVES = {
    J.PENDING: "A job can start.",
    J.BLOCKED: "A job waits for others.",
    J.IN_PROGRESS: "Somebody works on a job.",
    J.COMPLETED: "A job is done.",
    J.FAILED: "The work on a job failed.",
    J.CANCELLED: "A job will not be done.",
}
_TODO_DATA = {
    "todo_id": "uuid",
    "agent_id": "integer",
    "agent": "string",
    "job_id": "string?",
    "title": "string",
    "status": "string",
    "actor": "string",
}
_TIME_DATA = {
    "time_entry_id": "integer",
    "worker": "string",
    "agent_id": "integer?",
    "job_id": "string?",
    "status": "string",
    "seconds": "number",
    "actor": "string",
}
_TIME_VERBS = {
    "started": "Work began to be timed.",
    "paused": "A clock was paused.",
    "resumed": "A paused clock goes on.",
    "stopped": "A clock was stopped.",
    "entered": "Hours were entered afterwards.",
}


def register_types() -> None:
    """Tell the outbox which events there are; called once, when the app is ready."""
    for status, description in _AGENT_MOVES.items():
        severity = Severity.WARNING if status == A.ERROR else Severity.INFO
        register(ARRIVALS[status], description=description, data=_AGENT_DATA, severity=severity)
    for job_status, description in _JOB_MOVES.items():
        severity = Severity.WARNING if job_status == J.FAILED else Severity.INFO
        register(JOB_ARRIVALS[job_status], description=description, data=_JOB_MOVE_DATA, severity=severity)
    for verb, description in _TIME_VERBS.items():
        register(f"time.{verb}", description=description, data=_TIME_DATA)
    register(
        "agent.thought",
        description="An agent said something about its work.",
        data={"agent_id": "integer", "name": "string", "text": "string", "actor": "string"},
    )
    register(
        "agent.changed",
        description="An agent's fields were changed.",
        data={"agent_id": "integer", "name": "string", "project": "string?", "fields": "list", "actor": "string"},
    )
    register(
        "agent.deleted",
        description="An agent that had never worked was deleted.",
        data={"agent_id": "integer", "name": "string", "actor": "string"},
    )
    register(
        "job.changed",
        description="Something of a job changed but its status: `fields` tells what.",
        data={**_JOB_DATA, "fields": "list"},
    )
    register(
        "workforce.imported",
        description="Agents, jobs, todos and hours were taken in from files: how many of each file were new, updated.",
        data={"new": "object", "updated": "object", "complaints": "integer", "actor": "string"},
    )
    register("job.deleted", description="A job that nobody had worked on was deleted.", data=_JOB_DATA)
    for todo_status in TodoStatus:
        register(f"todo.{todo_status.value}", description=f"A todo is {todo_status.label.lower()}.", data=_TODO_DATA)
    register("todo.deleted", description="A todo was deleted.", data=_TODO_DATA)
    register(
        "personality.changed",
        description="A personality was added or changed.",
        data={"name": "string", "version": "integer", "actor": "string"},
    )
    register(
        "dispatch.changed",
        description="A project's dispatch was switched on or off, or set otherwise.",
        data={"project": "string", "enabled": "boolean", "actor": "string"},
    )


def agent_moved(agent: Agent, start: str, *, actor: str, job_id: str | None = None, runner_id: Any = None) -> None:
    """Publish that `agent` came from `start` to its present status. A new agent comes from ""."""
    _publish_agent(
        ARRIVALS[A(agent.status)],
        agent,
        {
            "personality": agent.personality.name,
            "project": agent.project.name if agent.project else None,
            "runner_id": str(runner_id) if runner_id else None,
            "job_id": job_id,
            "status": agent.status,
            "from": start,
            "reason": agent.reason,
            "actor": actor,
        },
    )


def agent_thought(agent: Agent, text: str, *, actor: str) -> None:
    # The stream tells that there is a thought and how it begins; the whole text is a row.
    _publish_agent("agent.thought", agent, {"text": text[:500], "actor": actor})


def agent_changed(agent: Agent, fields: list[str], *, actor: str) -> None:
    project = agent.project.name if agent.project else None
    _publish_agent("agent.changed", agent, {"project": project, "fields": fields, "actor": actor})


def agent_deleted(agent: Agent, *, actor: str) -> None:
    _publish_agent("agent.deleted", agent, {"actor": actor})


def _publish_agent(name: str, agent: Agent, data: Mapping[str, Any]) -> None:
    publish(
        name,
        aggregate=agent.aggregate,
        subject=str(agent.pk),
        routing_key=f"{name}.{agent.name}",
        data={"agent_id": agent.pk, "name": agent.name, **data},
    )


def job_moved(job: Job, start: str, *, actor: str, worker: str | None = None, runner_id: Any = None) -> None:
    """Publish that `job` came from `start` to its present status. A new job comes from ""."""
    more = {
        "from": start,
        "reason": job.reason,
        "worker": worker,
        "runner_id": str(runner_id) if runner_id else None,
    }
    _publish_job(JOB_ARRIVALS[J(job.status)], job, actor=actor, **more)


def job_changed(job: Job, fields: list[str], *, actor: str) -> None:
    _publish_job("job.changed", job, actor=actor, fields=fields)


def job_deleted(job: Job, *, actor: str) -> None:
    _publish_job("job.deleted", job, actor=actor)


def _publish_job(name: str, job: Job, *, actor: str, **more: Any) -> None:
    project = job.project.name if job.project else None
    publish(
        name,
        aggregate=job.aggregate,
        subject=job.pk,
        routing_key=f"{name}.{project}" if project else name,
        data={
            "job_id": job.pk,
            "title": job.title,
            "project": project,
            "priority": job.priority,
            "status": job.status,
            "decision": job.decision,
            "actor": actor,
            **more,
        },
    )


def todo_moved(todo: Todo, *, actor: str, verb: str = "") -> None:
    """Publish a todo's status, or another `verb`."""
    name = f"todo.{verb or todo.status}"
    publish(
        name,
        aggregate=todo.agent.aggregate,
        subject=str(todo.pk),
        routing_key=f"{name}.{todo.agent.name}",
        data={
            "todo_id": str(todo.pk),
            "agent_id": todo.agent_id,
            "agent": todo.agent.name,
            "job_id": todo.job_id,
            "title": todo.title,
            "status": todo.status,
            "actor": actor,
        },
    )


def time_told(verb: str, entry: TimeEntry, *, actor: str) -> None:
    """Publish that a clock was started, paused, resumed or stopped, or that hours were entered."""
    name = f"time.{verb}"
    publish(
        name,
        aggregate=entry.agent.aggregate if entry.agent else f"person:{entry.person_id}",
        subject=str(entry.pk),
        routing_key=f"{name}.{entry.worker}",
        data={
            "time_entry_id": entry.pk,
            "worker": entry.worker,
            "agent_id": entry.agent_id,
            "job_id": entry.job_id,
            "status": entry.status,
            "seconds": round(entry.worked_seconds(), 3),
            "actor": actor,
        },
    )


def personality_changed(personality: Personality, *, actor: str) -> None:
    publish(
        "personality.changed",
        aggregate=f"personality:{personality.pk}",
        subject=personality.name,
        routing_key=f"personality.changed.{personality.name}",
        data={"name": personality.name, "version": personality.version, "actor": actor},
    )


def dispatch_changed(dispatch: DispatchSettings, *, actor: str) -> None:
    project = dispatch.project.name
    publish(
        "dispatch.changed",
        aggregate=f"dispatch:{dispatch.pk}",
        subject=project,
        routing_key=f"dispatch.changed.{project}",
        data={"project": project, "enabled": dispatch.enabled, "actor": actor},
    )


def workforce_imported(new: dict[str, int], updated: dict[str, int], complaints: int, *, actor: str) -> None:
    """Publish that an import changed the workforce: one event, where each record would have been one."""
    publish(
        "workforce.imported",
        aggregate="workforce",
        subject="workforce",
        routing_key="workforce.imported",
        data={"new": new, "updated": updated, "complaints": complaints, "actor": actor},
    )
