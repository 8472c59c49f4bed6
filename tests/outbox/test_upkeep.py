from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from prometheus_client import generate_latest
from pytest_django import Settings

from outbox.metrics import backlog
from outbox.models import Entry
from outbox.services import tend as tending
from outbox.services.number import number_committed
from outbox.services.relay import relay_all
from outbox.services.retention import purge_dead, purge_delivered
from outbox.states import Status
from tests.outbox.stream import happen, wait_for


def kill(n: int) -> None:
    Entry.objects.filter(data__n=n).update(status=Status.DEAD, attempts=12, error="gave up", delivered_at=None)


@pytest.mark.django_db
def test_old_delivered_entries_go_and_everything_else_stays(settings: Settings) -> None:
    settings.OUTBOX_RETENTION_DAYS = 30
    for n in range(5):
        happen("a:1", n)
    relay_all()
    kill(1)
    old = timezone.now() - timedelta(days=31)
    Entry.objects.filter(data__n__in=[0, 2]).update(delivered_at=old)
    assert purge_delivered() == 2
    assert sorted(Entry.objects.values_list("data__n", flat=True)) == [1, 3, 4]


@pytest.mark.django_db
def test_the_stream_reaches_as_far_after_everything_old_has_gone(settings: Settings) -> None:
    for n in range(5):
        happen("a:1", n)
    relay_all()
    reached = number_committed()
    Entry.objects.update(delivered_at=timezone.now() - timedelta(days=365))
    assert purge_delivered() == 4
    assert number_committed() == reached
    happen("a:1")
    assert number_committed() > reached


@pytest.mark.django_db
def test_only_the_dead_are_purged_by_hand() -> None:
    happen("a:1", 1)
    happen("a:1", 2)
    number_committed()
    kill(1)
    assert purge_dead(Entry.objects.all(), actor="user:ada") == 1
    assert Entry.objects.get().data["n"] == 2


@pytest.mark.django_db
def test_the_gauges_tell_what_waits_and_since_when() -> None:
    assert backlog() == (0, 0, 0.0)
    for n in range(4):
        happen("a:1", n)
    Entry.objects.update(created_at=timezone.now() - timedelta(minutes=1))
    pending, dead, lag = backlog()
    assert (pending, dead) == (4, 0)
    assert 59 < lag < 120
    number_committed()
    kill(0)
    Entry.objects.filter(data__n=1).update(next_attempt_at=timezone.now(), attempts=1)
    pending, dead, lag = backlog()
    assert (pending, dead) == (3, 1)
    assert 59 < lag < 120
    text = generate_latest().decode()
    assert "stratavore_outbox_pending 3.0" in text
    assert "stratavore_outbox_dead 1.0" in text


@pytest.mark.django_db
@pytest.mark.parametrize(
    "change",
    [
        {"status": "lost"},
        {"status": Status.DELIVERED},
        {"status": Status.DEAD, "sequence": 1},
        {"lane": -1},
        {"sequence": 0},
        {"status": Status.DELIVERED, "delivered_at": timezone.now()},
    ],
)
def test_the_database_refuses_what_makes_no_sense(change: dict[str, object]) -> None:
    happen("a:1")
    with pytest.raises(IntegrityError), transaction.atomic():
        Entry.objects.update(**change)


@pytest.mark.django_db
def test_the_relay_reads_through_its_small_indexes() -> None:
    from outbox import sql

    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {sql.CLAIM_FRESH}", {"lanes": [1], "floors": [0], "limit": 500})
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "entry_fresh" in plan
    assert "entry_failed" in plan


@pytest.mark.django_db(transaction=True)
def test_what_is_dead_of_the_table_is_removed_when_it_is_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tending, "MIN_DEAD", 20)
    # Tests before this one have left some.
    wait_for(lambda: not tending.tend(), what="nothing dead that is much")
    for n in range(30):
        happen("a:1", n)
    relay_all()

    def has_vacuumed() -> bool:
        with connection.cursor() as cursor:
            # The server's figures come a little later than the rows.
            cursor.execute("SELECT pg_stat_force_next_flush()")
        return tending.tend()

    wait_for(has_vacuumed, what="the figures of what is dead")
    with connection.cursor() as cursor:
        cursor.execute("SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'outbox_entry'")
        assert cursor.fetchone() == (0,)
    # What the relay's connections tell of late may be more once again.
    wait_for(lambda: not tending.tend(), what="nothing dead that is much")
    assert Entry.objects.delivered().count() == 30


@pytest.mark.django_db
def test_what_has_no_position_yet_is_in_no_index_of_positions() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexname FROM pg_indexes WHERE tablename = 'outbox_entry'"
            " AND indexdef LIKE '%sequence%' AND indexdef NOT LIKE '%WHERE%'"
        )
        assert cursor.fetchall() == []
