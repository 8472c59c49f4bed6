"""Lines of jobs/jobs.jsonl and jobs/time_sessions.jsonl."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from agents.jsonl.lines import Malformed
from agents.jsonl.values import Fields, local_moment, local_text
from agents.states import JobStatus, Priority, TimeStatus

_ID = re.compile(r"[\w.:-]+")


@dataclass(frozen=True)
class JobLine:
    """A job."""

    id: str
    title: str
    description: str
    status: JobStatus
    priority: Priority
    created_at: datetime | None
    updated_at: datetime | None
    assignee: str
    labels: list[str]
    estimated_hours: Decimal | None
    actual_hours: Decimal | None
    dependencies: list[str]
    deliverables: list[str]


def parse_job(found: Mapping[str, Any], zone: ZoneInfo) -> JobLine:
    """Return the job of a line, or raise Malformed."""
    fields = Fields(found, zone)
    job_id = fields.text("id", longest=40, required=True)
    if not _ID.fullmatch(job_id):
        raise Malformed(f"id holds more than letters, digits and -_.: {job_id!r}")
    return JobLine(
        id=job_id,
        title=fields.text("title", longest=200, required=True),
        description=fields.text("description", longest=100_000),
        status=fields.choice("status", JobStatus, JobStatus.PENDING),
        priority=fields.choice("priority", Priority, Priority.MEDIUM),
        created_at=fields.moment("created_at"),
        updated_at=fields.moment("updated_at"),
        assignee=fields.text("assignee", longest=150),
        labels=fields.words("labels"),
        estimated_hours=fields.hours("estimated_hours"),
        actual_hours=fields.hours("actual_hours"),
        dependencies=list(dict.fromkeys(fields.words("dependencies"))),
        deliverables=fields.words("deliverables"),
    )


def render_job(line: JobLine, zone: ZoneInfo) -> str:
    """Return the line of a job."""
    record = {
        "id": line.id,
        "title": line.title,
        "description": line.description,
        "status": line.status,
        "priority": line.priority,
        "created_at": local_text(line.created_at, zone),
        "updated_at": local_text(line.updated_at, zone),
        "assignee": line.assignee or None,
        "labels": line.labels,
        "estimated_hours": _number(line.estimated_hours),
        "actual_hours": _number(line.actual_hours),
        "dependencies": line.dependencies,
        "deliverables": line.deliverables,
    }
    return json.dumps(record) + "\n"


def _number(hours: Decimal | None) -> float | int | None:
    if hours is None:
        return None
    return int(hours) if hours == hours.to_integral_value() else float(hours)


@dataclass(frozen=True)
class TimeLine:
    """Hours of work on a job."""

    session_id: str
    job_id: str
    agent: str
    description: str
    status: TimeStatus
    started_at: datetime
    ended_at: datetime | None
    paused_seconds: float
    pauses: list[tuple[datetime, datetime]]
    notes: str
    created_at: datetime | None


def parse_time(found: Mapping[str, Any], zone: ZoneInfo) -> TimeLine:
    """Return the time session of a line, or raise Malformed. Epoch seconds, where given, are surer than local time."""
    fields = Fields(found, zone)
    started = _moment(fields, "start")
    if started is None:
        raise Malformed("start_time is missing")
    status, ended = fields.choice("status", TimeStatus, TimeStatus.COMPLETED), _moment(fields, "end")
    if status == TimeStatus.COMPLETED and ended is None:
        raise Malformed("it is completed, but end_time is missing")
    if ended and ended < started:
        raise Malformed("it ends before it starts")
    return TimeLine(
        session_id=fields.text("session_id", longest=120, required=True),
        job_id=fields.text("job_id", longest=40),
        agent=fields.text("agent", longest=150, required=True),
        description=fields.text("description", longest=500),
        status=status,
        started_at=started,
        ended_at=ended if status == TimeStatus.COMPLETED else None,
        paused_seconds=fields.seconds("paused_time"),
        pauses=_pauses(found.get("pauses"), zone),
        notes=fields.text("notes", longest=100_000),
        created_at=fields.moment("created_at"),
    )


def _moment(fields: Fields, side: str) -> datetime | None:
    stamp = fields.found.get(f"{side}_timestamp")
    if isinstance(stamp, int | float) and not isinstance(stamp, bool):
        try:
            return datetime.fromtimestamp(stamp, UTC)
        except (ValueError, OverflowError, OSError):
            raise Malformed(f"{side}_timestamp is no moment: {stamp!r}") from None
    return fields.moment(f"{side}_time")


def _pauses(found: Any, zone: ZoneInfo) -> list[tuple[datetime, datetime]]:
    """Return the pauses that are over. Their sum is told by paused_time; one that cannot be read is left out."""
    pauses = []
    for each in found if isinstance(found, list) else ():
        if isinstance(each, dict) and isinstance(each.get("start"), str) and isinstance(each.get("end"), str):
            pauses.append((local_moment(each["start"], zone, "pauses"), local_moment(each["end"], zone, "pauses")))
    return pauses


def render_time(line: TimeLine, zone: ZoneInfo) -> str:
    """Return the line of a time session."""
    ended = line.ended_at
    record = {
        "session_id": line.session_id,
        "job_id": line.job_id or None,
        "agent": line.agent,
        "description": line.description,
        "status": line.status,
        "start_time": local_text(line.started_at, zone),
        "end_time": local_text(ended, zone),
        "start_timestamp": _stamp(line.started_at),
        "end_timestamp": _stamp(ended) if ended else None,
        "duration_seconds": (
            _plain(max((ended - line.started_at).total_seconds() - line.paused_seconds, 0.0)) if ended else None
        ),
        "paused_time": _plain(line.paused_seconds),
        "pauses": [{"start": local_text(start, zone), "end": local_text(end, zone)} for start, end in line.pauses],
        "notes": line.notes,
        "created_at": local_text(line.created_at, zone),
    }
    return json.dumps(record) + "\n"


def _stamp(moment: datetime) -> int | float:
    return _plain(moment.timestamp())


def _plain(number: float) -> int | float:
    return int(number) if number == int(number) else round(number, 6)
