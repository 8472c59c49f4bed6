from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from django.db import connection, transaction

from outbox.models import Entry
from outbox.services import publish
from outbox.services.number import number_committed
from tests.outbox.stream import HAPPENED, happen

pytestmark = pytest.mark.django_db(transaction=True)


def read_after(position: int) -> list[int]:
    return [entry.data["n"] for entry in Entry.objects.after(position)]


def commit_late(published: Event, may_commit: Event) -> None:
    try:
        with transaction.atomic():
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
