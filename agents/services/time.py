"""Clocks: start, pause, resume, stop; and hours entered afterwards."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max, Q
from django.utils import timezone

from agents import events
from agents.exceptions import InvalidTime, TimeMoveRefused, TimeOverlap
from agents.models import Agent, Assignment, Job, TimeEntry
from agents.services.check import check
from agents.states import TimeStatus
from outbox.services import bunched
from runners.sql_rows import update_together

T = TimeStatus


@transaction.atomic
def start_clock(
    *, actor: str, agent: Agent | None = None, person: Any = None, job: Job | None = None, description: str = ""
) -> TimeEntry:
    """Start a clock of an agent or a person. Raises TimeOverlap while another of theirs is open, InvalidTime."""
    entry = TimeEntry(agent=agent, person=person, job=job, description=description)
    running = _of(entry).open().first()
    if running is not None:
        raise TimeOverlap(
            f"{entry.worker} has a clock on {running.job_id or 'other work'}: stop it first.", open=running.pk
        )
    # The clocks of two machines differ: what ended on the other one a moment from now is over.
    last = _of(entry).filter(ended_at__gt=entry.started_at).order_by("-ended_at").first()
    if last is not None and last.ended_at is not None:
        entry.started_at = last.ended_at
    return _saved(entry, "started", actor=actor)


@transaction.atomic
def enter_time(
    *,
    actor: str,
    started_at: datetime,
    ended_at: datetime,
    agent: Agent | None = None,
    person: Any = None,
    job: Job | None = None,
    description: str = "",
) -> TimeEntry:
    """Enter hours afterwards. Raises TimeOverlap, InvalidTime."""
    if ended_at <= started_at:
        raise InvalidTime("It must end after it started.", field="ended_at")
    if ended_at > timezone.now():
        raise InvalidTime("It cannot end in the future: start a clock instead.", field="ended_at")
    entry = TimeEntry(
        agent=agent,
        person=person,
        job=job,
        description=description,
        started_at=started_at,
        ended_at=ended_at,
        status=T.COMPLETED,
    )
    return _saved(entry, "entered", actor=actor)


def _saved(entry: TimeEntry, verb: str, *, actor: str) -> TimeEntry:
    if (entry.agent is None) == (entry.person is None):
        raise InvalidTime("Time is of an agent or of a person.", field="agent")
    check(entry, InvalidTime)
    with _overlaps_refused(entry):
        entry.save()
    events.time_told(verb, entry, actor=actor)
    return entry


@transaction.atomic
def pause_clock(entry_id: int, *, actor: str) -> TimeEntry:
    """Pause a clock. Raises TimeMoveRefused unless it runs."""
    entry = _locked(entry_id, T.ACTIVE, "paused")
    _pause([entry], actor=actor)
    return entry


def _pause(entries: Sequence[TimeEntry], *, actor: str) -> None:
    now = timezone.now()
    for entry in entries:
        entry.status, entry.paused_at = T.PAUSED, max(now, entry.started_at)
    _write(entries, "paused", actor=actor)


@transaction.atomic
def resume_clock(entry_id: int, *, actor: str) -> TimeEntry:
    """Let a paused clock go on. Raises TimeMoveRefused unless it is paused."""
    entry = _locked(entry_id, T.PAUSED, "resumed")
    _resume([entry], actor=actor)
    return entry


def _resume(entries: Sequence[TimeEntry], *, actor: str) -> None:
    now = timezone.now()
    for entry in entries:
        _end_pause(entry, now)
        entry.status = T.ACTIVE
    _write(entries, "resumed", actor=actor)


@transaction.atomic
def stop_clock(entry_id: int, *, actor: str, at: datetime | None = None, notes: str = "") -> TimeEntry:
    """Stop a clock, running or paused. Raises TimeMoveRefused if it is stopped."""
    entry = _locked(entry_id, None, "stopped")
    entry.notes = notes or entry.notes
    _stop({entry: at or timezone.now()}, actor=actor)
    return entry


def _stop(ends: Mapping[TimeEntry, datetime], *, actor: str) -> None:
    for entry, at in ends.items():
        end = max(at, entry.started_at, entry.paused_at or entry.started_at, _last_pause_end(entry))
        _end_pause(entry, end)
        entry.status, entry.ended_at = T.COMPLETED, end
    with _overlaps_refused(*ends):
        _write(list(ends), "stopped", actor=actor)


def _end_pause(entry: TimeEntry, now: datetime) -> None:
    if entry.paused_at is None:
        return
    end = max(now, entry.paused_at)
    entry.pauses = [*entry.pauses, [entry.paused_at.isoformat(), end.isoformat()]]
    entry.paused_seconds += (end - entry.paused_at).total_seconds()
    entry.paused_at = None


def _last_pause_end(entry: TimeEntry) -> datetime:
    return datetime.fromisoformat(entry.pauses[-1][1]) if entry.pauses else entry.started_at


def start_clocks_of(assignments: Sequence[Assignment], *, actor: str) -> None:
    """Start the clocks of agents that begin to work; what else they had running is stopped."""
    if not assignments:
        return
    begun = {each.agent_id: each for each in assignments}
    running = TimeEntry.objects.open().select_for_update(of=("self",)).select_related("agent", "person")
    others = running.filter(agent__in=begun).order_by("pk")
    _stop({entry: begun[entry.agent_id].started_at for entry in others}, actor=actor)
    entries = [
        TimeEntry(agent=each.agent, job=each.job, description=each.job.title, started_at=each.started_at)
        for each in assignments
    ]
    lasts = TimeEntry.objects.filter(agent__in=begun, ended_at__gt=min(each.started_at for each in assignments))
    ended = dict(lasts.order_by().values_list("agent_id").annotate(last=Max("ended_at")))
    for entry in entries:
        entry.started_at = max(entry.started_at, ended.get(entry.agent_id, entry.started_at))
    with _overlaps_refused(*entries):
        TimeEntry.objects.bulk_create(entries)
    with bunched():
        for entry in entries:
            events.time_told("started", entry, actor=actor)


def stop_clocks_of(assignments: Iterable[Assignment], *, actor: str) -> None:
    """Stop the clocks that workers have on the jobs of assignments that have ended, when these did."""
    ends = {_work_of(each): each.ended_at or timezone.now() for each in assignments}
    _stop({entry: ends[_work_of(entry)] for entry in _clocks_of(ends)}, actor=actor)


def pause_clocks_of(assignments: Iterable[Assignment], *, actor: str) -> None:
    """Pause the clocks of agents that are paused at their work, where they run."""
    _pause([entry for entry in _clocks_of(map(_work_of, assignments)) if entry.status == T.ACTIVE], actor=actor)


def resume_clocks_of(assignments: Iterable[Assignment], *, actor: str) -> None:
    """Let the clocks of agents that go on with their work go on, where they are paused."""
    _resume([entry for entry in _clocks_of(map(_work_of, assignments)) if entry.status == T.PAUSED], actor=actor)


def lock_clocks_of(assignments: Iterable[Assignment]) -> None:
    """Lock the clocks on the jobs of assignments until the transaction ends: before runners, see locks.py."""
    _clocks_of(map(_work_of, assignments))


#: Agent, person and job.
Work = tuple[int | None, int | None, str | None]


def _work_of(record: Assignment | TimeEntry) -> Work:
    return (record.agent_id, record.person_id, record.job_id)


def _clocks_of(works: Iterable[Work]) -> list[TimeEntry]:
    """Return the open clocks on these works, locked. Nobody has more than one."""
    wanted = set(works)
    if not wanted:
        return []
    agents, people = {agent for agent, _, _ in wanted if agent}, {person for _, person, _ in wanted if person}
    entries = TimeEntry.objects.open().select_for_update(of=("self",)).select_related("agent", "person")
    found = entries.filter(Q(agent__in=agents) | Q(person__in=people)).order_by("pk")
    return [entry for entry in found if _work_of(entry) in wanted]


def _of(entry: TimeEntry) -> Any:
    return TimeEntry.objects.filter(agent=entry.agent, person=entry.person)


def _locked(entry_id: int, wanted: TimeStatus | None, verb: str) -> TimeEntry:
    entry = (
        TimeEntry.objects.select_for_update(of=("self",)).select_related("agent", "person").filter(pk=entry_id).first()
    )
    if entry is None:
        raise TimeMoveRefused(f"There is no time entry {entry_id}.")
    if entry.status == T.COMPLETED or (wanted and entry.status != wanted):
        raise TimeMoveRefused(f"The clock is {entry.status}: it cannot be {verb}.", status=entry.status)
    return entry


def _write(entries: Sequence[TimeEntry], verb: str, *, actor: str) -> None:
    update_together(entries, ("status", "ended_at", "paused_at", "paused_seconds", "pauses", "notes"))
    with bunched():
        for entry in entries:
            events.time_told(verb, entry, actor=actor)


@contextmanager
def _overlaps_refused(*entries: TimeEntry) -> Iterator[None]:
    """Turn the database's refusal of an overlap into TimeOverlap."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError as error:
        if "no_overlap" not in str(error):
            raise
        workers = ", ".join(entry.worker for entry in entries)
        raise TimeOverlap(f"{workers} has another time entry at that time.") from None
