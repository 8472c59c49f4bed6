from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import psycopg
import pytest
from django.db import connection, transaction

from outbox.models import Entry
from outbox.services import Event as Fact
from outbox.services import ground as standing
from outbox.services import publish, publish_many
from outbox.services.ground import ground
from outbox.services.number import is_any_unnumbered, number_committed, number_now
from tests.outbox.stream import HAPPENED, happen, wait_for

pytestmark = pytest.mark.django_db(transaction=True)


def read_after(position: int) -> list[int]:
    return [entry.data["n"] for entry in Entry.objects.after(position)]


def commit_late(published: Event, may_commit: Event, *, many: bool = False) -> None:
    try:
        with transaction.atomic():
            if many:
                publish_many([Fact(HAPPENED, "a:late", "s", "k", {"n": 1})])
            else:
                publish(HAPPENED, aggregate="a:late", subject="s", routing_key="k", data={"n": 1})
            published.set()
            assert may_commit.wait(10)
    finally:
        connection.close()


def test_a_reader_who_remembers_its_position_does_not_miss_a_late_committer() -> None:
    published, may_commit = Event(), Event()
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(commit_late, published, may_commit)
        assert published.wait(10)
        happen("a:quick", 2)
        position = number_committed()
        assert read_after(0) == [2]
        may_commit.set()
        late.result()
    first, second = Entry.objects.order_by("id")
    assert number_committed() > position
    assert read_after(position) == [1]
    first.refresh_from_db()
    second.refresh_from_db()
    # The late one has the smaller id and the greater position: a reader of `id > last` had skipped it.
    assert first.data["n"] == 1
    assert first.sequence is not None
    assert second.sequence is not None
    assert first.sequence > second.sequence


def test_nothing_uncommitted_is_numbered() -> None:
    published, may_commit = Event(), Event()
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(commit_late, published, may_commit)
        assert published.wait(10)
        assert number_committed() == 0
        may_commit.set()
        late.result()
    assert number_committed() > 0


def test_many_that_number_at_once_give_each_event_one_position_in_order_of_writing() -> None:
    def run(worker: int) -> None:
        try:
            for n in range(20):
                happen(f"a:{worker}", n)
                number_committed()
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(4)))
    assert Entry.objects.filter(sequence__isnull=True).count() == 0
    assert Entry.objects.values("sequence").distinct().count() == 80
    for worker in range(4):
        in_order = Entry.objects.after(0).filter(aggregate=f"a:{worker}")
        assert [entry.data["n"] for entry in in_order] == list(range(20))


def test_a_reader_sees_no_position_before_all_smaller_ones() -> None:
    done = Event()
    seen: list[int] = []

    def read() -> None:
        position = 0
        try:
            while not done.is_set() or len(seen) < 60:
                for entry in Entry.objects.after(position):
                    position = entry.sequence or 0
                    seen.append(position)
        finally:
            connection.close()

    def write(worker: int) -> None:
        try:
            for n in range(20):
                happen(f"a:{worker}", n)
                number_committed()
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        reading = pool.submit(read)
        for writing in [pool.submit(write, worker) for worker in range(3)]:
            writing.result(30)
        done.set()
        reading.result(30)
    assert len(seen) == 60
    assert seen == sorted(seen)


def test_a_rolled_back_numbering_reuses_no_position() -> None:
    happen("a:1")
    with transaction.atomic():
        given = number_committed()
        transaction.set_rollback(True)
    assert number_committed() > given


@contextmanager
def snapshot_held_open() -> Iterator[None]:
    """Read as a backup does: vacuum may remove nothing that it could still see."""
    database = connection.settings_dict
    with psycopg.connect(
        host=database["HOST"],
        port=database["PORT"],
        dbname=database["NAME"],
        user=database["USER"],
        password=database["PASSWORD"],
    ) as reader:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT count(*) FROM outbox_entry").fetchone()
        yield


@pytest.fixture(autouse=True)
def _ground_rises_with_each_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "STRIDE", 0)


def look_until_the_ground_is(entry: Entry) -> None:
    """Look as a relay does; other tests' last transactions may still be ending."""
    wait_for(lambda: number_now() and ground().id >= entry.pk, what="the ground to rise")


def test_a_look_begins_behind_what_is_numbered_while_somebody_reads_for_long() -> None:
    with snapshot_held_open():
        for n in range(5):
            newest = happen("a:1", n)
        look_until_the_ground_is(newest)
        wait_for(lambda: not is_any_unnumbered() and ground().id >= newest.pk, what="a reader to stand there, too")
        happen("a:1", 5)
        assert is_any_unnumbered()
        number_committed()
    assert read_after(0) == list(range(6))


@pytest.mark.parametrize("many", [False, True])
def test_the_ground_stays_below_a_late_committer_however_often_somebody_looks(many: bool) -> None:
    look_until_the_ground_is(happen("a:quick", 0))
    published, may_commit = Event(), Event()
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(commit_late, published, may_commit, many=many)
        assert published.wait(10)
        for n in range(2, 12):
            newest = happen("a:quick", n)
            number_now()
            is_any_unnumbered()
        assert ground().id < newest.pk - 10
        may_commit.set()
        late.result()
    number_committed()
    assert read_after(0)[-1] == 1
    look_until_the_ground_is(newest)


def test_what_is_numbered_in_a_transaction_is_no_ground_yet() -> None:
    look_until_the_ground_is(happen("a:1"))
    newest = happen("a:1", 1)
    with transaction.atomic():
        for _ in range(5):
            number_now()
        transaction.set_rollback(True)
    assert ground().id < newest.pk
    assert is_any_unnumbered()
