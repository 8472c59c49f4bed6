"""Take in todos."""

from collections.abc import Iterable

from django.utils import timezone

from agents.jsonl.agents import TodoLine
from agents.jsonl.lines import TODOS, At
from agents.models import Agent, Job, Todo
from agents.services.transfer.chunks import chunks
from agents.services.transfer.report import ImportReport

WRITTEN = ["agent", "job", "title", "description", "status", "priority", "tags", "metadata", "created_at", "updated_at"]


def take_in_todos(lines: Iterable[tuple[At, TodoLine]], report: ImportReport) -> None:
    """Write the todos of these lines."""
    now = timezone.now()
    for chunk in chunks(lines):
        agents = dict(Agent.objects.filter(name__in={line.agent_id for _, line in chunk}).values_list("name", "pk"))
        jobs = set(Job.objects.filter(pk__in={line.task_id for _, line in chunk}).values_list("pk", flat=True))
        todos = {}
        for at, line in chunk:
            if line.agent_id not in agents:
                report.complaints.add(at.file, at.line, f"there is no agent {line.agent_id!r}")
                continue
            if line.task_id and line.task_id not in jobs:
                report.complaints.add(at.file, at.line, f"there is no job {line.task_id!r}: it is kept without")
            todos[line.id] = Todo(
                id=line.id,
                agent_id=agents[line.agent_id],
                job_id=line.task_id if line.task_id in jobs else None,
                title=line.title,
                description=line.description,
                status=line.status,
                priority=line.priority,
                tags=line.tags,
                metadata=line.metadata,
                created_at=line.created_at or now,
                updated_at=line.updated_at or line.created_at or now,
            )
        existing = Todo.objects.filter(pk__in=todos).count()
        Todo.objects.bulk_create(todos.values(), update_conflicts=True, unique_fields=["id"], update_fields=WRITTEN)
        report.count(TODOS, new=len(todos) - existing, updated=existing)
