"""Take in hours of work: of one worker no two at the same time."""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime

from django.contrib.auth import get_user_model
from django.utils import timezone

from agents.jsonl.jobs import TimeLine
from agents.jsonl.lines import TIME, At
from agents.models import Agent, Job, TimeEntry
from agents.services.transfer.chunks import chunks
from agents.services.transfer.report import ImportReport
from agents.states import TimeStatus
from runners.sql_rows import update_together

WRITTEN = (
    "agent", "person", "job", "description", "status", "started_at", "ended_at", "paused_at", "paused_seconds",
    "pauses", "notes",
)  # fmt: skip
FOR_EVER = datetime.max.replace(tzinfo=UTC)
#: A worker: an agent's or a person's primary key.
Worker = tuple[str, int]


class Calendars:
    """The hours of each worker that are taken, in order."""

    def __init__(self) -> None:
        self._taken: dict[Worker, list[tuple[datetime, datetime, str]]] = defaultdict(list)
        self._places: dict[str, tuple[Worker, tuple[datetime, datetime, str]]] = {}

    def take(self, worker: Worker, start: datetime, end: datetime | None, name: str) -> str:
        """Take the hours under a name, instead of those that had it; return the name of what has them already."""
        if before := self._places.pop(name, None):
            self._taken[before[0]].remove(before[1])
        taken, wanted = self._taken[worker], (start, end or FOR_EVER, name)
        place = bisect_left(taken, wanted)
        if place and taken[place - 1][1] > start:
            return taken[place - 1][2]
        if place < len(taken) and taken[place][0] < wanted[1]:
            return taken[place][2]
        insort(taken, wanted)
        self._places[name] = worker, wanted
        return ""


def take_in_time(lines: Iterable[tuple[At, TimeLine]], report: ImportReport) -> None:
    """Write the hours of these lines."""
    workers: dict[str, Worker] = {
        name: ("person", pk) for name, pk in get_user_model().objects.values_list("username", "pk")
    }
    workers |= {name: ("agent", pk) for name, pk in Agent.objects.values_list("name", "pk")}
    calendars = _calendars()
    for chunk in chunks(lines):
        jobs = set(Job.objects.filter(pk__in={line.job_id for _, line in chunk}).values_list("pk", flat=True))
        entries = {}
        for at, line in chunk:
            if line.agent not in workers:
                report.complaints.add(at.file, at.line, f"there is no agent or person {line.agent!r}")
                continue
            if name := calendars.take(workers[line.agent], line.started_at, line.ended_at, line.session_id):
                report.complaints.add(at.file, at.line, f"{line.agent} was at {name} in the same hours")
                continue
            if line.job_id and line.job_id not in jobs:
                report.complaints.add(at.file, at.line, f"there is no job {line.job_id!r}: its hours are kept without")
            entries[line.session_id] = _entry(line, workers[line.agent], line.job_id if line.job_id in jobs else None)
        _write(entries, report)


def _calendars() -> Calendars:
    """Return the calendars as they are here."""
    calendars = Calendars()
    entries = TimeEntry.objects.order_by("started_at")
    for entry in entries.only("external_id", "agent_id", "person_id", "started_at", "ended_at").iterator():
        worker = ("agent", entry.agent_id) if entry.agent_id else ("person", entry.person_id or 0)
        calendars.take(worker, entry.started_at, entry.ended_at, entry.external_id or f"entry {entry.pk}")
    return calendars


def _entry(line: TimeLine, worker: Worker, job_id: str | None) -> TimeEntry:
    kind, pk = worker
    return TimeEntry(
        agent_id=pk if kind == "agent" else None,
        person_id=pk if kind == "person" else None,
        job_id=job_id,
        description=line.description,
        status=line.status,
        started_at=line.started_at,
        ended_at=line.ended_at,
        paused_at=timezone.now() if line.status == TimeStatus.PAUSED else None,
        paused_seconds=line.paused_seconds,
        pauses=[[start.isoformat(), end.isoformat()] for start, end in line.pauses],
        notes=line.notes,
        external_id=line.session_id,
        created_at=line.created_at or line.started_at,
    )


def _write(entries: dict[str, TimeEntry], report: ImportReport) -> None:
    known = {entry.external_id: entry for entry in TimeEntry.objects.filter(external_id__in=entries)}
    new, changed = [], []
    for session_id, entry in entries.items():
        if session_id in known:
            entry.pk = known[session_id].pk
            changed.append(entry)
        else:
            new.append(entry)
    update_together(changed, WRITTEN)
    TimeEntry.objects.bulk_create(new)
    report.count(TIME, new=len(new), updated=len(changed))
