"""What agents note they have to do."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from agents import events
from agents.exceptions import InvalidAgent
from agents.models import Agent, Assignment, Job, Todo
from agents.services.check import check
from agents.states import TodoStatus
from outbox.services import bunched
from runners.sql_rows import update_together

T = TodoStatus


@transaction.atomic
def create_todo(agent: Agent, *, title: str, actor: str, job: Job | None = None, **fields: Any) -> Todo:
    """Note something that an agent has to do. Raises InvalidAgent."""
    todo = Todo(agent=agent, title=title, job=job, **fields)
    check(todo, InvalidAgent)
    todo.save(force_insert=True)
    events.todo_moved(todo, actor=actor)
    return todo


@transaction.atomic
def change_todo(todo_id: UUID, *, actor: str, **fields: Any) -> Todo:
    """Change what is given of a todo, its status too. Raises InvalidAgent."""
    todo = _locked(todo_id)
    for name, value in fields.items():
        setattr(todo, name, value)
    check(todo, InvalidAgent)
    todo.updated_at = timezone.now()
    todo.save()
    events.todo_moved(todo, actor=actor)
    return todo


@transaction.atomic
def delete_todo(todo_id: UUID, *, actor: str) -> None:
    """Delete a todo. Raises InvalidAgent if there is none."""
    todo = _locked(todo_id)
    events.todo_moved(todo, actor=actor, verb="deleted")
    todo.delete()


def begin_todos(assignments: Iterable[Assignment], *, actor: str) -> None:
    """Note the jobs that agents begin with; a second try at one goes on with the first one's note."""
    begun = {(each.agent_id, each.job_id): each for each in assignments}
    agents, jobs = {agent for agent, _ in begun}, {job for _, job in begun}
    earlier = (
        Todo.objects.select_for_update(of=("self",)).select_related("agent").filter(agent__in=agents, job__in=jobs)
    )
    # The newest of several comes last.
    found = {_of(todo): todo for todo in earlier.exclude(status=T.COMPLETED).order_by("created_at", "pk")}
    again = [todo for key, todo in found.items() if key in begun]
    for todo in again:
        todo.status, todo.updated_at = T.IN_PROGRESS, timezone.now()
    update_together(again, ("status", "updated_at"))
    new = [_note(each) for key, each in begun.items() if key not in found]
    Todo.objects.bulk_create(new)
    with bunched():
        for todo in [*again, *new]:
            events.todo_moved(todo, actor=actor)


def _of(todo: Todo) -> tuple[int | None, str | None]:
    return todo.agent_id, todo.job_id


def _note(assignment: Assignment) -> Todo:
    agent, job = assignment.agent, assignment.job
    assert agent is not None  # noqa: S101 - people note for themselves what they have to do
    return Todo(agent=agent, job=job, title=job.title, priority=job.priority, status=T.IN_PROGRESS)


def settle_todos(assignments: Iterable[Assignment], *, done: bool, actor: str) -> None:
    """Note that jobs are done, for all who had them to do; else that they are still to be done."""
    workers = {each.job_id: each.agent_id for each in assignments}
    todos = Todo.objects.select_for_update(of=("self",)).select_related("agent").filter(job__in=workers)
    found = list(todos.exclude(status=T.COMPLETED).order_by("pk"))
    if not done:
        found = [each for each in found if each.agent_id == workers[each.job_id or ""] and each.status == T.IN_PROGRESS]
    for todo in found:
        todo.status, todo.updated_at = T.COMPLETED if done else T.PENDING, timezone.now()
    update_together(found, ("status", "updated_at"))
    with bunched():
        for todo in found:
            events.todo_moved(todo, actor=actor)


def _locked(todo_id: UUID) -> Todo:
    todo = Todo.objects.select_for_update(of=("self",)).select_related("agent").filter(pk=todo_id).first()
    if todo is None:
        raise InvalidAgent(f"There is no todo {todo_id}.", field="todo")
    return todo
