"""Publishers, late committers, relays, crashes, in any order: everything arrives, in order."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any
from unittest import mock

import pytest
from django.db import connection, transaction
from django.test import override_settings
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st
from pytest_django import Settings

from outbox.envelope import Outgoing
from outbox.models import Entry
from outbox.services import Event, ground, publish, publish_many
from outbox.services import relay as relaying
from outbox.services.number import is_any_unnumbered, number_committed
from outbox.services.relay import relay_all
from tests.outbox.stream import HAPPENED, by_aggregate, happen, make_due

pytestmark = pytest.mark.django_db(transaction=True)

Fact = tuple[str, int]


class Handler:
    """Notes what it is called with, and refuses one aggregate."""

    calls: list[Fact] = []
    refused = ""


def note(event: Outgoing) -> None:
    if event.aggregate == Handler.refused:
        raise ValueError("I would rather not")
    Handler.calls.append((event.aggregate, event.payload["n"]))


@pytest.fixture(autouse=True)
def _handler(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    # As if each event were the thousandth.
    monkeypatch.setattr(ground, "STRIDE", 0)
    settings.OUTBOX_HANDLERS = {"test.*": ["tests.outbox.test_interleavings.note"]}
    settings.AMQP_URL = ""


class LateCommitter:
    """A transaction on a connection of its own, that stays open over what others do meanwhile."""

    def __init__(self, aggregate: str) -> None:
        self.aggregate = aggregate
        self._thread = ThreadPoolExecutor(1)
        self._open: transaction.Atomic | None = None
        self._uncommitted: list[Fact] = []

    def write(self, n: int) -> None:
        self._thread.submit(self._write, n).result()

    def end(self, *, undo: bool) -> list[Fact]:
        """Return what that committed."""
        return self._thread.submit(self._end, undo).result()

    def close(self) -> None:
        self._thread.submit(lambda: connection.close()).result()
        self._thread.shutdown()

    def _write(self, n: int) -> None:
        if self._open is None:
            self._open = transaction.atomic()
            self._open.__enter__()
        publish(HAPPENED, aggregate=self.aggregate, subject="", routing_key="k", data={"n": n})
        self._uncommitted.append((self.aggregate, n))

    def _end(self, undo: bool) -> list[Fact]:
        committed, self._uncommitted = self._uncommitted, []
        if self._open is None:
            return []
        transaction.set_rollback(undo)
        self._open.__exit__(None, None, None)
        self._open = None
        return [] if undo else committed


class Killed(BaseException):
    """What no code of the relay's catches."""


class Play:
    """Does the operations on an empty outbox, and remembers what was committed."""

    def __init__(self, late: list[LateCommitter]) -> None:
        Entry.objects.all().delete()
        Handler.calls = []
        self.late = late
        self.committed: list[Fact] = []
        self.numbers = count()

    def publish(self, aggregate: int) -> None:
        self.committed.append((f"a:{aggregate}", next(self.numbers)))
        happen(*self.committed[-1])

    def publish_many(self, aggregate: int) -> None:
        more = [(f"a:{(aggregate + n) % 4}", next(self.numbers)) for n in range(5)]
        self.committed += more
        with transaction.atomic():
            publish_many(Event(HAPPENED, name, "", "k", {"n": n}) for name, n in more)

    def write_and_wait(self, who: int) -> None:
        self.late[who].write(next(self.numbers))

    def commit_late(self, who: int) -> None:
        self.committed += self.late[who].end(undo=False)

    def undo_late(self, who: int) -> None:
        self.late[who].end(undo=True)

    def number(self, _: int) -> None:
        number_committed()

    def look(self, _: int) -> None:
        is_any_unnumbered()

    def relay(self, _: int) -> None:
        relay_all()

    def relay_refusing(self, aggregate: int) -> None:
        Handler.refused = f"a:{aggregate}"
        relay_all()
        Handler.refused = ""

    def crash(self, step: int) -> None:
        """Relay, and die before the claim, before the delivery, or after it and before anything is marked."""

        def dies(*_: Any) -> None:
            raise Killed

        with mock.patch.object(relaying, ["claim", "deliver", "mark"][step], dies), suppress(Killed):
            relay_all()

    def let_time_pass(self, _: int) -> None:
        make_due()

    def finish(self) -> None:
        """Let everybody come to an end."""
        for who in range(len(self.late)):
            self.commit_late(who)
        make_due()
        relay_all()


#: What there is to do, and the greatest argument it takes.
OPERATIONS = {
    "publish": 3,
    "publish_many": 3,
    "write_and_wait": 1,
    "commit_late": 1,
    "undo_late": 1,
    "number": 0,
    "look": 0,
    "relay": 0,
    "relay_refusing": 3,
    "crash": 2,
    "let_time_pass": 0,
}


@contextmanager
def late_committers() -> Iterator[list[LateCommitter]]:
    late = [LateCommitter(f"late:{who}") for who in range(2)]
    try:
        yield late
    finally:
        for each in late:
            each.end(undo=True)
            each.close()


@effort(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    operations=st.lists(
        st.one_of(*(st.tuples(st.just(name), st.integers(0, most)) for name, most in OPERATIONS.items())), max_size=40
    ),
    batch=st.sampled_from([1, 2, 500]),
    lanes=st.sampled_from([1, 2, 16]),
)
def test_order_and_completeness_hold_for_any_interleaving(
    operations: list[tuple[str, int]], batch: int, lanes: int
) -> None:
    with override_settings(OUTBOX_BATCH=batch, OUTBOX_LANES=lanes), late_committers() as late:
        play = Play(late)
        for name, argument in operations:
            getattr(play, name)(argument)
        play.finish()
    assert by_aggregate(Handler.calls) == by_aggregate(play.committed)
    if not any(name == "crash" for name, _ in operations):
        assert len(Handler.calls) == len(play.committed)
