"""Clocks and hours: pauses taken off, no overlaps, days as a zone has them; and todos."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from agents.exceptions import InvalidAgent, InvalidTime, TimeMoveRefused, TimeOverlap
from agents.hours import hours_by
from agents.models import TimeEntry
from agents.services import (
    assign_person,
    change_todo,
    complete_job,
    create_todo,
    delete_todo,
    enter_time,
    pause_clock,
    resume_clock,
    start_clock,
    stop_clock,
)
from outbox.models import Entry
from tests.agents.factories import ACTOR, make_agent, make_job, now_of
from tests.agents.racing import at_once
from tests.callers import make_user

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def entry_of(agent: Any, start: datetime, end: datetime, **fields: Any) -> TimeEntry:
    return enter_time(agent=agent, started_at=start, ended_at=end, actor=ACTOR, **fields)


@pytest.mark.django_db
def test_a_clock_counts_without_its_pauses_in_python_and_in_sql() -> None:
    entry = start_clock(agent=make_agent(), actor=ACTOR)
    pause_clock(entry.pk, actor=ACTOR)
    TimeEntry.objects.update(
        started_at=timezone.now() - 3 * HOUR, paused_at=timezone.now() - HOUR, created_at=timezone.now()
    )
    paused = now_of(entry)
    assert paused.worked_seconds() == pytest.approx(7200, abs=5)
    resume_clock(entry.pk, actor=ACTOR)
    done = stop_clock(entry.pk, actor=ACTOR, notes="Enough.")
    assert done.worked_seconds() == pytest.approx(7200, abs=5)
    assert done.paused_seconds == pytest.approx(3600, abs=5)
    assert (len(done.pauses), done.notes) == (1, "Enough.")
    counted: Any = TimeEntry.objects.with_seconds(timezone.now()).get()
    assert counted.seconds == pytest.approx(done.worked_seconds())
    types = list(Entry.objects.filter(type__startswith="time.").order_by("id").values_list("type", flat=True))
    assert types == ["time.started", "time.paused", "time.resumed", "time.stopped"]


@pytest.mark.django_db
def test_a_clock_does_only_what_its_state_allows() -> None:
    entry = start_clock(agent=make_agent(), actor=ACTOR)
    with pytest.raises(TimeMoveRefused):
        resume_clock(entry.pk, actor=ACTOR)
    pause_clock(entry.pk, actor=ACTOR)
    with pytest.raises(TimeMoveRefused):
        pause_clock(entry.pk, actor=ACTOR)
    stop_clock(entry.pk, actor=ACTOR)
    for verb in (pause_clock, resume_clock, stop_clock):
        with pytest.raises(TimeMoveRefused):
            verb(entry.pk, actor=ACTOR)


@pytest.mark.django_db
def test_a_worker_has_one_open_clock_and_others_have_theirs() -> None:
    agent = make_agent()
    first = start_clock(agent=agent, actor=ACTOR)
    with pytest.raises(TimeOverlap):
        start_clock(agent=agent, actor=ACTOR)
    start_clock(agent=make_agent(), actor=ACTOR)
    start_clock(person=make_user("ada"), actor=ACTOR)
    stop_clock(first.pk, actor=ACTOR)
    start_clock(agent=agent, actor=ACTOR)


@pytest.mark.django_db
@pytest.mark.parametrize(("start", "end"), [(-1, 1), (0, 2), (0.5, 1), (1, 3), (-1, 3)])
def test_hours_that_overlap_are_refused_by_the_database(start: float, end: float) -> None:
    agent = make_agent()
    entry_of(agent, NOON, NOON + 2 * HOUR)
    with pytest.raises(TimeOverlap):
        entry_of(agent, NOON + start * HOUR, NOON + end * HOUR)
    entry_of(agent, NOON + 2 * HOUR, NOON + 3 * HOUR)
    entry_of(agent, NOON - HOUR, NOON)
    with pytest.raises(IntegrityError), transaction.atomic():
        TimeEntry.objects.create(
            agent=agent, started_at=NOON + start * HOUR, ended_at=NOON + end * HOUR, status="completed"
        )
    assert TimeEntry.objects.count() == 3


@pytest.mark.django_db(transaction=True)
def test_of_two_clocks_started_at_once_one_runs() -> None:
    agent = make_agent()
    for _ in range(3):
        results = at_once(*[partial(start_clock, agent=agent, actor=ACTOR)] * 2)
        assert sorted(type(result).__name__ for result in results) == ["TimeEntry", "TimeOverlap"]
        stop_clock(TimeEntry.objects.open().get().pk, actor=ACTOR)


@pytest.mark.django_db
def test_hours_that_make_no_sense_are_refused() -> None:
    agent, later = make_agent(), timezone.now() + HOUR
    for start, end, field in ((NOON, NOON, "ended_at"), (NOON, later, "ended_at")):
        with pytest.raises(InvalidTime) as refusal:
            entry_of(agent, start, end)
        assert refusal.value.facts["field"] == field
    with pytest.raises(InvalidTime):
        start_clock(actor=ACTOR)


@pytest.mark.django_db
def test_hours_are_added_up_by_day_job_and_worker() -> None:
    agent, ada, job = make_agent(name="robo"), make_user("ada"), make_job()
    # 22:00 to 02:00 UTC is 00:00 to 04:00 in Vienna.
    entry_of(agent, NOON + 10 * HOUR, NOON + 14 * HOUR, job=job)
    enter_time(person=ada, started_at=NOON, ended_at=NOON + HOUR, actor=ACTOR)
    everything = TimeEntry.objects.all()
    around = (NOON - 24 * HOUR, NOON + 48 * HOUR)
    utc, vienna = ZoneInfo("UTC"), ZoneInfo("Europe/Vienna")
    assert hours_by("day", everything, *around, utc) == {"2026-05-04": 3.0, "2026-05-05": 2.0}
    assert hours_by("day", everything, *around, vienna) == {"2026-05-04": 1.0, "2026-05-05": 4.0}
    assert hours_by("job", everything, *around, utc) == {"": 1.0, job.pk: 4.0}
    assert hours_by("worker", everything, *around, utc) == {"ada": 1.0, "robo": 4.0}
    assert hours_by("worker", everything, NOON, NOON + 11 * HOUR, utc) == {"ada": 1.0, "robo": 1.0}


@pytest.mark.django_db
def test_a_pause_over_midnight_counts_on_neither_day() -> None:
    entry = entry_of(make_agent(), NOON, NOON + 24 * HOUR)
    start, end = NOON + 6 * HOUR, NOON + 18 * HOUR
    entry.pauses, entry.paused_seconds = [[start.isoformat(), end.isoformat()]], 12 * 3600
    entry.save()
    found = hours_by("day", TimeEntry.objects.all(), NOON, NOON + 48 * HOUR, ZoneInfo("UTC"))
    assert found == {"2026-05-04": 6.0, "2026-05-05": 6.0}


@pytest.mark.django_db
def test_a_day_that_the_clocks_change_on_has_23_hours() -> None:
    vienna = ZoneInfo("Europe/Vienna")
    start = datetime(2026, 3, 29, 0, tzinfo=vienna).astimezone(UTC)
    entry_of(make_agent(), start, start + 24 * HOUR)
    found = hours_by("day", TimeEntry.objects.all(), start, start + 48 * HOUR, vienna)
    assert found == {"2026-03-29": 23.0, "2026-03-30": 1.0}


@pytest.mark.django_db
def test_a_person_s_clock_on_a_job_stops_when_the_job_is_done() -> None:
    job, ada = make_job(), make_user("ada")
    assign_person(job.pk, ada, actor=ACTOR)
    entry = start_clock(person=ada, job=job, actor=ACTOR)
    complete_job(job.pk, actor=ACTOR)
    assert now_of(entry).status == "completed"


@pytest.mark.django_db
def test_a_todo_is_noted_changed_and_deleted_and_told_each_time() -> None:
    todo = create_todo(make_agent(), title="Read the trace", actor=ACTOR, tags=["debug"])
    change_todo(todo.pk, actor=ACTOR, status="in_progress")
    with pytest.raises(InvalidAgent):
        change_todo(todo.pk, actor=ACTOR, status="someday")
    delete_todo(todo.pk, actor=ACTOR)
    with pytest.raises(InvalidAgent):
        change_todo(todo.pk, actor=ACTOR, status="completed")
    types = list(Entry.objects.filter(type__startswith="todo.").order_by("id").values_list("type", flat=True))
    assert types == ["todo.pending", "todo.in_progress", "todo.deleted"]
