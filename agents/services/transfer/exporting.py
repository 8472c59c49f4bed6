"""Write the original's files, as its own tools read them.

What it has no word for: retired agents are left out, and a failed job is `blocked`, for it waits for people.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.db.models import QuerySet

from agents.figures import figures_of_agents, figures_of_jobs
from agents.jsonl.agents import PERSONALITY_FIELDS, TodoLine, render_agent, render_todo
from agents.jsonl.jobs import JobLine, TimeLine, render_job, render_time
from agents.jsonl.lines import AGENTS, JOBS, PERSONALITIES, TIME, TODOS
from agents.models import Agent, Assignment, Deliverable, Dependency, Job, Personality, Thought, TimeEntry, Todo
from agents.services.transfer.chunks import chunks
from agents.states import AgentStatus, JobStatus, Outcome, Priority, TimeStatus, TodoStatus


def export_files(zone: ZoneInfo) -> dict[str, Callable[[], Iterator[str]]]:
    """Return for each file how to write it: its text, piece by piece. Times are local to `zone`."""
    return {
        PERSONALITIES: _personalities,
        AGENTS: lambda: _agents(zone),
        JOBS: lambda: _jobs(zone),
        TODOS: lambda: _todos(zone),
        TIME: lambda: _time(zone),
    }


def _personalities() -> Iterator[str]:
    roles = {
        role.name: {name: getattr(role, name) for name in PERSONALITY_FIELDS} for role in Personality.objects.all()
    }
    yield json.dumps(roles, indent=2) + "\n"


def _agents(zone: ZoneInfo) -> Iterator[str]:
    agents = (
        Agent.objects.exclude(status=AgentStatus.RETIRED).select_related("personality").order_by("created_at", "pk")
    )
    for chunk in chunks(agents.iterator()):
        ids = [agent.pk for agent in chunk]
        figures, completed, thoughts = figures_of_agents(ids), _completed(ids), _thoughts(ids)
        at_work = {
            assignment.agent_id: assignment
            for assignment in Assignment.objects.filter(agent__in=ids, ended_at__isnull=True).select_related("runner")
        }
        for agent in chunk:
            assignment = at_work.get(agent.pk)
            runner = assignment.runner if assignment else None
            yield render_agent(
                id=agent.name,
                personality=agent.personality.name,
                status=agent.status,
                created_at=agent.created_at,
                updated_at=agent.status_changed_at,
                current_task=assignment.job_id if assignment else None,
                completed_tasks=completed[agent.pk],
                session_id=str(runner.session_id) if runner and runner.session_id else None,
                process_id=runner.pid if runner else None,
                thoughts=thoughts[agent.pk],
                failed=figures[agent.pk].failed,
                seconds=figures[agent.pk].seconds,
                zone=zone,
            )


def _completed(ids: list[int]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = defaultdict(list)
    done = Assignment.objects.filter(agent__in=ids, outcome=Outcome.COMPLETED).order_by("ended_at", "pk")
    for agent_id, job_id in done.values_list("agent_id", "job_id"):
        if agent_id is not None and job_id not in found[agent_id]:
            found[agent_id].append(job_id)
    return found


def _thoughts(ids: list[int]) -> dict[int, list[tuple[datetime, str]]]:
    found: dict[int, list[tuple[datetime, str]]] = defaultdict(list)
    for agent_id, at, text in (
        Thought.objects.filter(agent__in=ids).order_by("at", "pk").values_list("agent_id", "at", "text")
    ):
        found[agent_id].append((at, text))
    return found


def _jobs(zone: ZoneInfo) -> Iterator[str]:
    jobs: QuerySet[Job] = Job.objects.select_related("wanted_agent", "wanted_person").order_by("created_at", "pk")
    for chunk in chunks(jobs.iterator()):
        ids = [job.pk for job in chunk]
        needs, texts, workers = _needs(ids), _deliverables(ids), _workers(ids)
        figures = figures_of_jobs(chunk)
        for job in chunk:
            yield render_job(
                JobLine(
                    id=job.pk,
                    title=job.title,
                    description=job.description,
                    status=JobStatus.BLOCKED if job.status == JobStatus.FAILED else JobStatus(job.status),
                    priority=Priority(job.priority),
                    created_at=job.created_at,
                    updated_at=job.updated_at,
                    assignee=workers.get(job.pk) or _wanted(job) or str(job.metadata.get("assignee", "")),
                    labels=job.labels,
                    estimated_hours=job.estimated_hours,
                    actual_hours=job.reported_hours
                    if job.reported_hours is not None
                    else _hours(figures[job.pk].hours),
                    dependencies=needs[job.pk],
                    deliverables=texts[job.pk],
                ),
                zone,
            )


def _wanted(job: Job) -> str:
    if job.wanted_agent:
        return job.wanted_agent.name
    return str(job.wanted_person.get_username()) if job.wanted_person else ""


def _hours(hours: float | None) -> Decimal | None:
    return None if hours is None else Decimal(str(round(hours, 2)))


def _needs(ids: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    edges = Dependency.objects.filter(job__in=ids).order_by("pk")
    for job_id, needs_id in edges.values_list("job_id", "needs_id"):
        found[job_id].append(needs_id)
    return found


def _deliverables(ids: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for job_id, text in Deliverable.objects.filter(job__in=ids).values_list("job_id", "text"):
        found[job_id].append(text)
    return found


def _workers(ids: list[str]) -> dict[str, str]:
    """Return who works on each job, or worked on it last."""
    turns = Assignment.objects.filter(job__in=ids).select_related("agent", "person").order_by("started_at", "pk")
    return {turn.job_id: turn.worker for turn in turns}


def _todos(zone: ZoneInfo) -> Iterator[str]:
    for todo in Todo.objects.select_related("agent").order_by("created_at", "pk").iterator():
        yield render_todo(
            TodoLine(
                id=todo.pk,
                agent_id=todo.agent.name,
                title=todo.title,
                description=todo.description,
                status=TodoStatus(todo.status),
                priority=Priority(todo.priority),
                created_at=todo.created_at,
                updated_at=todo.updated_at,
                task_id=todo.job_id or "",
                tags=todo.tags,
                metadata=todo.metadata,
            ),
            zone,
        )


def _time(zone: ZoneInfo) -> Iterator[str]:
    for entry in TimeEntry.objects.select_related("agent", "person").order_by("started_at", "pk").iterator():
        yield render_time(
            TimeLine(
                session_id=entry.external_id or f"{entry.job_id or 'work'}_{int(entry.started_at.timestamp())}",
                job_id=entry.job_id or "",
                agent=entry.worker,
                description=entry.description,
                status=TimeStatus(entry.status),
                started_at=entry.started_at,
                ended_at=entry.ended_at,
                paused_seconds=entry.paused_seconds,
                pauses=[(datetime.fromisoformat(start), datetime.fromisoformat(end)) for start, end in entry.pauses],
                notes=entry.notes,
                created_at=entry.created_at,
            ),
            zone,
        )
