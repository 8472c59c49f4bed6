from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from django.conf import settings as django_settings
from django.db import connection
from pytest_django import Settings

from outbox.envelope import Outgoing
from outbox.models import Entry
from outbox.services.claim import locked_lanes
from outbox.services.number import number_committed
from outbox.services.relay import relay_all, relay_once
from outbox.services.retry import retry
from outbox.states import Status
from tests.outbox.stream import by_aggregate, happen, make_due, wait_for

pytestmark = pytest.mark.django_db(transaction=True)
HANDLER = "tests.outbox.test_relay.note"


class Handler:
    """Notes what it is called with; `refuses` decides what it raises for."""

    calls: list[tuple[str, int]] = []
    refuses: Callable[[str, int], bool] = staticmethod(lambda aggregate, n: False)


def note(event: Outgoing) -> None:
    if Handler.refuses(event.aggregate, event.payload["n"]):
        raise ValueError("I would rather not")
    Handler.calls.append((event.aggregate, event.payload["n"]))


@pytest.fixture(autouse=True)
def _handler(settings: Settings) -> None:
    settings.OUTBOX_HANDLERS = {"test.*": [HANDLER]}
    settings.AMQP_URL = ""
    Handler.calls = []
    Handler.refuses = staticmethod(lambda aggregate, n: False)


def refuse(*refused: tuple[str, int]) -> None:
    Handler.refuses = staticmethod(lambda aggregate, n: (aggregate, n) in refused)


def statuses() -> dict[tuple[str, int], str]:
    return {(entry.aggregate, entry.data["n"]): entry.status for entry in Entry.objects.all()}


def test_what_is_published_is_delivered_once_in_order() -> None:
    for n in range(5):
        happen("a:1", n)
    assert relay_all() == 5
    assert relay_all() == 0
    assert Handler.calls == [("a:1", n) for n in range(5)]
    entry = Entry.objects.latest("id")
    assert (entry.status, entry.attempts, entry.error) == (Status.DELIVERED, 1, "")
    assert entry.delivered_at is not None


def test_a_failed_entry_holds_back_its_own_aggregate_only() -> None:
    for n in range(3):
        happen("a:sick", n)
        happen("a:well", n)
    refuse(("a:sick", 1))
    relay_all()
    assert by_aggregate(Handler.calls) == {"a:sick": [0], "a:well": [0, 1, 2]}
    failed = Entry.objects.get(aggregate="a:sick", data__n=1)
    assert (failed.status, failed.attempts, failed.error) == (Status.PENDING, 1, "ValueError: I would rather not")
    assert failed.next_attempt_at is not None
    assert Entry.objects.get(aggregate="a:sick", data__n=2).attempts == 0


def test_what_failed_comes_first_once_it_is_due_and_the_rest_follows() -> None:
    for n in range(3):
        happen("a:sick", n)
    refuse(("a:sick", 0))
    relay_all()
    refuse()
    happen("a:sick", 3)
    assert relay_all() == 0
    make_due()
    assert relay_all() == 4
    assert Handler.calls == [("a:sick", n) for n in range(4)]


def test_a_held_entry_is_found_again_after_others_of_its_lane_went_past(settings: Settings) -> None:
    settings.OUTBOX_LANES = 1
    happen("a:sick", 0)
    happen("a:sick", 1)
    refuse(("a:sick", 0))
    relay_all()
    for n in range(10):
        happen("a:well", n)
        relay_all()
    refuse()
    make_due()
    relay_all()
    assert by_aggregate(Handler.calls)["a:sick"] == [0, 1]


def test_waits_double_and_an_entry_dies_after_its_last_attempt() -> None:
    happen("a:sick", 0)
    happen("a:sick", 1)
    Entry.objects.update(max_attempts=3)
    refuse(("a:sick", 0))
    waits = []
    for _ in range(3):
        relay_all()
        entry = Entry.objects.get(data__n=0)
        assert entry.next_attempt_at is not None
        with connection.cursor() as cursor:
            cursor.execute("SELECT extract(epoch FROM %s - statement_timestamp())", [entry.next_attempt_at])
            (wait,) = cursor.fetchone() or (0,)
        waits.append(float(wait))
        make_due()
    for doubling, wait in enumerate(waits):
        assert 0.3 * 2**doubling < wait <= 1.5 * 2**doubling
    assert Entry.objects.get(data__n=0).status == Status.DEAD
    relay_all()
    assert Handler.calls == [("a:sick", 1)]


def test_a_dead_entry_is_delivered_late_when_staff_retry_it() -> None:
    happen("a:sick", 0)
    Entry.objects.update(max_attempts=1)
    refuse(("a:sick", 0))
    relay_all()
    happen("a:sick", 1)
    relay_all()
    refuse()
    assert retry(Entry.objects.all(), actor="user:ada") == 1
    relay_all()
    assert Handler.calls == [("a:sick", 1), ("a:sick", 0)]
    assert set(statuses().values()) == {Status.DELIVERED}


def test_a_handler_that_fails_leaves_nothing_behind() -> None:
    happen("a:1", 0)

    def write_and_fail(aggregate: str, n: int) -> bool:
        happen("a:by-handler", 1)
        return True

    Handler.refuses = staticmethod(write_and_fail)
    relay_all()
    assert not Entry.objects.filter(aggregate="a:by-handler").exists()


def test_lanes_are_shared_and_a_lane_has_one_relay_at_a_time() -> None:
    for lane_number in range(40):
        happen(f"a:{lane_number}")
    number_committed()
    lanes = set(range(django_settings.OUTBOX_LANES))
    taken, may_go = Event(), Event()

    def hold_half() -> None:
        try:
            with locked_lanes(range(8)) as locked:
                assert locked == list(range(8))
                taken.set()
                assert may_go.wait(10)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        holding = pool.submit(hold_half)
        assert taken.wait(10)
        relay_once(lanes)
        done = set(Entry.objects.filter(status=Status.DELIVERED).values_list("lane", flat=True))
        assert done <= set(range(8, 16))
        assert not Entry.objects.filter(status=Status.PENDING, lane__gte=8).exists()
        may_go.set()
        holding.result()
    relay_all()
    assert set(statuses().values()) == {Status.DELIVERED}


def test_two_relays_at_once_keep_order_and_deliver_once(settings: Settings) -> None:
    settings.OUTBOX_BATCH = 20
    for n in range(20):
        for aggregate in range(15):
            happen(f"a:{aggregate}", n)

    def relay() -> None:
        try:
            while Entry.objects.exclude(status=Status.DELIVERED).exists():
                relay_all()
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(relay), pool.submit(relay)]:
            future.result(60)
    assert by_aggregate(Handler.calls) == {f"a:{aggregate}": list(range(20)) for aggregate in range(15)}
    assert len(Handler.calls) == 300


def test_the_lanes_are_free_again_after_an_error_in_the_middle() -> None:
    with pytest.raises(RuntimeError), locked_lanes([1, 2]):
        raise RuntimeError
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
        assert cursor.fetchone() == (0,)


def test_listeners_hear_each_position_once_and_may_fail(settings: Settings) -> None:
    settings.OUTBOX_LISTENERS = ["tests.outbox.test_relay.fail_to_listen", "tests.outbox.test_relay.hear"]
    heard.clear()
    happen("a:1")
    assert relay_all() == 1
    relay_all()
    wait_for(lambda: heard == [number_committed()], what="the news")


heard: list[int] = []


def hear(sequence: int) -> None:
    heard.append(sequence)


def fail_to_listen(sequence: int) -> None:
    raise ConnectionError("nobody there")
