"""Lines of agents/active_agents.jsonl, agents/agent_todos.jsonl and the personalities' file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from agents.jsonl.lines import Malformed
from agents.jsonl.values import Fields, local_moment, local_text
from agents.states import AgentStatus, Priority, TodoStatus


@dataclass(frozen=True)
class AgentLine:
    """An agent. Its metrics are not read: they follow from its jobs and hours."""

    id: str
    personality: str
    status: AgentStatus
    created_at: datetime | None
    current_task: str
    completed_tasks: list[str]
    thoughts: list[tuple[datetime, str]]


def parse_agent(found: Mapping[str, Any], zone: ZoneInfo) -> AgentLine:
    """Return the agent of a line, or raise Malformed."""
    fields = Fields(found, zone)
    return AgentLine(
        id=fields.text("id", longest=60, required=True),
        personality=fields.text("personality", longest=40, required=True),
        status=fields.choice("status", AgentStatus, AgentStatus.IDLE),
        created_at=fields.moment("created_at"),
        current_task=fields.text("current_task", longest=40),
        completed_tasks=fields.words("completed_tasks"),
        thoughts=_thoughts(found.get("thoughts"), zone),
    )


def _thoughts(found: Any, zone: ZoneInfo) -> list[tuple[datetime, str]]:
    thoughts = []
    for each in found or ():
        if not isinstance(each, dict) or not isinstance(each.get("thought"), str):
            raise Malformed("thoughts is not a list of {timestamp, thought}")
        thoughts.append((local_moment(str(each.get("timestamp", "")), zone, "timestamp"), each["thought"]))
    return thoughts


def render_agent(
    *,
    id: str,
    personality: str,
    status: str,
    created_at: datetime,
    updated_at: datetime,
    current_task: str | None,
    completed_tasks: list[str],
    session_id: str | None,
    process_id: int | None,
    thoughts: list[tuple[datetime, str]],
    failed: int,
    seconds: float,
    zone: ZoneInfo,
) -> str:
    """Return the line of an agent."""
    ended = len(completed_tasks) + failed
    record = {
        "id": id,
        "personality": personality,
        "status": status,
        "created_at": local_text(created_at, zone),
        "updated_at": local_text(updated_at, zone),
        "current_task": current_task,
        "completed_tasks": completed_tasks,
        "active_session_id": session_id,
        "process_id": process_id,
        "thoughts": [{"timestamp": local_text(at, zone), "thought": text} for at, text in thoughts],
        "metrics": {
            "tasks_completed": len(completed_tasks),
            "time_spent": round(seconds, 3),
            "success_rate": round(len(completed_tasks) / ended, 4) if ended else 0.0,
        },
    }
    return f"{id} {json.dumps(record)}\n"


@dataclass(frozen=True)
class TodoLine:
    """A todo of an agent."""

    id: UUID
    agent_id: str
    title: str
    description: str
    status: TodoStatus
    priority: Priority
    created_at: datetime | None
    updated_at: datetime | None
    task_id: str
    tags: list[str]
    metadata: dict[str, Any]


def parse_todo(found: Mapping[str, Any], zone: ZoneInfo) -> TodoLine:
    """Return the todo of a line, or raise Malformed."""
    fields = Fields(found, zone)
    text = fields.text("id", longest=36, required=True)
    try:
        todo_id = UUID(text)
    except ValueError:
        raise Malformed(f"id is no UUID: {text!r}") from None
    return TodoLine(
        id=todo_id,
        agent_id=fields.text("agent_id", longest=60, required=True),
        title=fields.text("title", longest=200, required=True),
        description=fields.text("description", longest=100_000),
        status=fields.choice("status", TodoStatus, TodoStatus.PENDING),
        priority=fields.choice("priority", Priority, Priority.MEDIUM),
        created_at=fields.moment("created_at"),
        updated_at=fields.moment("updated_at"),
        task_id=fields.text("task_id", longest=40),
        tags=fields.words("tags"),
        metadata=fields.mapping("metadata"),
    )


def render_todo(line: TodoLine, zone: ZoneInfo) -> str:
    """Return the line of a todo."""
    record = {
        "id": str(line.id),
        "agent_id": line.agent_id,
        "title": line.title,
        "description": line.description,
        "status": line.status,
        "priority": line.priority,
        "created_at": local_text(line.created_at, zone),
        "updated_at": local_text(line.updated_at, zone),
        "task_id": line.task_id or None,
        "tags": line.tags,
        "metadata": line.metadata,
    }
    return f"{line.id} {json.dumps(record)}\n"


#: The fields of a personality that the file has, in its order.
PERSONALITY_FIELDS = ("name", "description", "strengths", "specialties", "work_style", "communication_style")


def parse_personality(found: Mapping[str, Any], zone: ZoneInfo) -> dict[str, Any]:
    """Return the fields of a personality, or raise Malformed."""
    fields = Fields(found, zone)
    return {
        "name": fields.text("name", longest=40, required=True),
        "description": fields.text("description", longest=100_000, required=True),
        "strengths": fields.words("strengths"),
        "specialties": fields.words("specialties"),
        "work_style": fields.text("work_style", longest=200),
        "communication_style": fields.text("communication_style", longest=200),
    }
