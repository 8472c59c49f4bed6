"""What agents hear of the stream: ends of runners, most of which are nobody's."""

import json
import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agents.handlers import on_runners_ended
from agents.services import set_dispatch
from agents.states import JobStatus
from agents.wakes import DISPATCH_TASK
from outbox.envelope import Outgoing
from outbox.models import Entry
from tests.agents.factories import ACTOR, make_work, now_of, run_and_end
from tests.runners.factories import make_project

pytestmark = pytest.mark.django_db


def told(runner_id: object, n: int = 1, type: str = "runner.stopped") -> Outgoing:
    """Return the n-th event of a stream, which tells of this runner."""
    return Outgoing(
        id=n,
        lane=0,
        event_id=uuid.uuid4(),
        kind="event",
        type=type,
        aggregate=f"runner:{runner_id}",
        subject=str(runner_id),
        routing_key=type,
        data=json.dumps({"runner_id": str(runner_id)}),
        traceparent=f"00-{n:032x}-{n:016x}-01",
        created_at=timezone.now(),
        sequence=n,
    )


def test_of_many_that_ended_those_of_agents_land_their_jobs_each_in_its_own_trace() -> None:
    works = [make_work(), make_work()]
    for work in works:
        run_and_end(work, exit_code=0)
    events = [told(uuid.uuid4(), 1), told(works[0].runner_id, 2), told(uuid.uuid4(), 3), told(works[1].runner_id, 4)]
    before = Entry.objects.latest("id").pk
    on_runners_ended(events)
    assert [now_of(work.job).status for work in works] == [JobStatus.COMPLETED] * 2
    for work, event in zip(works, (events[1], events[3]), strict=True):
        caused = Entry.objects.filter(id__gt=before, aggregate=work.job.aggregate)
        assert set(caused.values_list("traceparent", flat=True)) == {event.traceparent}
    on_runners_ended(events)
    assert Entry.objects.filter(type="job.completed").count() == 2, "an event may come again"


def test_a_runner_that_did_not_end_lands_nothing() -> None:
    work = make_work()
    run_and_end(work, exit_code=0)
    on_runners_ended([told(work.runner_id, type="runner.started")])
    assert now_of(work.job).status == JobStatus.IN_PROGRESS


def test_fifty_that_are_nobodys_cost_as_many_statements_as_one() -> None:
    def statements(count: int) -> int:
        with CaptureQueriesContext(connection) as queries:
            on_runners_ended([told(uuid.uuid4(), n + 1, "runner.failed") for n in range(count)])
        return len(queries)

    assert statements(50) == statements(1)


def test_work_is_given_out_once_for_all_that_ended() -> None:
    set_dispatch(make_project(), actor=ACTOR, enabled=True)
    Entry.objects.all().delete()
    on_runners_ended([told(uuid.uuid4(), n + 1) for n in range(5)])
    assert Entry.objects.get(type=DISPATCH_TASK).traceparent == told(0, 5).traceparent
