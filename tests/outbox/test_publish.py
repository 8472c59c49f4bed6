from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
import structlog
from django.db import connection, transaction
from pytest_django import DjangoAssertNumQueries, Settings

from outbox import registry
from outbox.exceptions import InvalidEventData, OutsideTransaction, UnknownEventType
from outbox.models import AuditEntry, Entry
from outbox.services import Event, Task, bunched, enqueue, publish, publish_many, record_act
from outbox.services.publish import CHUNK, lane_of
from tests.outbox.stream import HAPPENED, happen


def publish_data(data: dict[str, Any]) -> Entry:
    with transaction.atomic():
        return publish(HAPPENED, aggregate="a:1", subject="s", routing_key="k", data=data)


def stored(data: dict[str, Any]) -> Any:
    return Entry.objects.get(pk=publish_data(data).pk).data


@pytest.mark.django_db(transaction=True)
def test_publishing_outside_a_transaction_is_refused() -> None:
    with pytest.raises(OutsideTransaction):
        publish(HAPPENED, aggregate="a:1", subject="s", routing_key="k", data={"n": 1})
    with pytest.raises(OutsideTransaction):
        enqueue("some.task", args=[1], queue="q", aggregate="a:1")
    assert not Entry.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_an_event_goes_with_the_transaction_that_published_it() -> None:
    with transaction.atomic():
        publish(HAPPENED, aggregate="a:1", subject="s", routing_key="k", data={"n": 1})
        transaction.set_rollback(True)
    assert not Entry.objects.exists()


@pytest.mark.django_db
def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(UnknownEventType, match=r"test\.unheard_of"):
        publish("test.unheard_of", aggregate="a:1", subject="s", routing_key="k", data={})


@pytest.mark.django_db
def test_a_missing_field_is_refused_by_name() -> None:
    with pytest.raises(InvalidEventData, match="lacks n"):
        publish(HAPPENED, aggregate="a:1", subject="s", routing_key="k", data={"m": 1})


@pytest.mark.django_db
@pytest.mark.parametrize("value", [object(), float("nan"), float("inf"), {1, 2}])
def test_what_is_not_json_is_refused(value: object) -> None:
    with pytest.raises(InvalidEventData):
        publish_data({"n": value})


@pytest.mark.django_db
def test_what_postgresql_cannot_hold_is_replaced_instead_of_undoing_the_change() -> None:
    found = stored({"n": 1, "text": "a\x00b\ud800c", "deep": [{"k\x00": "\udfff"}], "fine": "\U0001f600"})
    assert found == {"n": 1, "text": "a\ufffdb\ufffdc", "deep": [{"k\ufffd": "\ufffd"}], "fine": "\U0001f600"}


@pytest.mark.django_db
def test_a_backslash_before_u0000_is_only_text() -> None:
    assert stored({"n": 1, "text": "\\u0000"})["text"] == "\\u0000"


@pytest.mark.django_db
def test_times_ids_and_decimals_may_be_published() -> None:
    moment, some_id = datetime(2026, 1, 2, tzinfo=UTC), uuid4()
    found = stored({"n": 1, "at": moment, "id": some_id, "cost": Decimal("0.10")})
    assert found == {"n": 1, "at": "2026-01-02T00:00:00Z", "id": str(some_id), "cost": "0.10"}


@pytest.mark.django_db
def test_an_aggregate_keeps_its_lane() -> None:
    assert happen("a:1").lane == happen("a:1").lane


def test_a_type_cannot_be_registered_twice_differently() -> None:
    registry.register("test.twice", description="d", data={})
    registry.register("test.twice", description="d", data={})
    with pytest.raises(ValueError, match="twice"):
        registry.register("test.twice", description="other", data={})


def test_a_name_that_is_no_event_name_is_refused() -> None:
    with pytest.raises(ValueError, match="named like"):
        registry.register("Runner Started", description="d", data={})


@pytest.mark.django_db
def test_many_are_written_in_their_order_events_and_tasks_alike() -> None:
    messages: list[Event | Task] = []
    for n in range(2 * CHUNK + 3):
        messages.append(Event(HAPPENED, f"a:{n % 7}", "s", "k", {"n": n, "text": "a\x00b"}))
    messages.append(Task("some.task", [uuid4(), 1], "q", "a:1"))
    with structlog.contextvars.bound_contextvars(traceparent="00-1"), transaction.atomic():
        assert publish_many(iter(messages)) == len(messages)
    entries = list(Entry.objects.order_by("id"))
    assert [entry.data.get("n") for entry in entries] == [*range(2 * CHUNK + 3), None]
    assert {entry.aggregate: entry.lane for entry in entries} == {f"a:{n}": lane_of(f"a:{n}") for n in range(7)}
    assert entries[0].data["text"] == "a\ufffdb"
    assert {entry.traceparent for entry in entries} == {"00-1"}
    assert (entries[-1].kind, entries[-1].type, entries[-1].routing_key) == ("task", "some.task", "q")
    assert len({entry.event_id for entry in entries}) == len(entries)


@pytest.mark.django_db
def test_many_are_one_statement(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with transaction.atomic(), django_assert_num_queries(1):
        publish_many(Event(HAPPENED, "a:1", "s", "k", {"n": n}) for n in range(100))


@pytest.mark.django_db
def test_one_bad_of_many_refuses_all() -> None:
    with transaction.atomic(), pytest.raises(InvalidEventData, match="lacks n"):
        publish_many([Event(HAPPENED, "a:1", "s", "k", {"n": 1}), Event(HAPPENED, "a:1", "s", "k", {})])


def tell(number: int) -> None:
    publish(HAPPENED, aggregate=f"a:{number}", subject="s", routing_key="k", data={"n": number})


@pytest.mark.django_db
def test_a_bunch_is_written_in_its_order_when_it_ends() -> None:
    with transaction.atomic(), bunched():
        for number in range(3):
            tell(number)
        enqueue("some.task", args=[1], queue="q", aggregate="a:0")
        record_act("thing.do", actor="user:ada", target_type="thing", target_id=1)
        assert not Entry.objects.exists()
    assert [entry.data.get("n") for entry in Entry.objects.order_by("pk")] == [0, 1, 2, None]
    assert AuditEntry.objects.get().action == "thing.do"


@pytest.mark.django_db
def test_a_bunch_that_breaks_writes_nothing() -> None:
    def break_off() -> None:
        with transaction.atomic(), bunched():
            tell(1)
            publish("test.unheard_of", aggregate="a:1", subject="s", routing_key="k", data={})

    with pytest.raises(UnknownEventType):
        break_off()
    assert not Entry.objects.exists()


@pytest.mark.django_db
def test_what_might_be_undone_alone_is_refused_in_a_bunch() -> None:
    with pytest.raises(OutsideTransaction, match="began inside a bunch"), transaction.atomic(), bunched():
        happen("a:1", 1)
    assert not Entry.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_many_are_refused_outside_a_transaction_and_none_are_nothing() -> None:
    with pytest.raises(OutsideTransaction):
        publish_many([Event(HAPPENED, "a:1", "s", "k", {"n": 1})])
    assert publish_many([]) == 0
    assert not Entry.objects.exists()


@pytest.mark.django_db
def test_what_publish_returns_is_what_is_in_the_table() -> None:
    entry = publish_data({"n": 1})
    again = Entry.objects.get(pk=entry.pk)
    assert all(getattr(entry, field.attname) == getattr(again, field.attname) for field in Entry._meta.fields)


@pytest.mark.django_db
def test_behind_a_pooler_nothing_is_prepared(settings: Settings) -> None:
    settings.DATABASE_PREPARED_STATEMENTS = False
    with connection.cursor() as cursor:
        cursor.execute("DEALLOCATE ALL")
        publish_data({"n": 1})
        cursor.execute("SELECT count(*) FROM pg_prepared_statements")
        assert cursor.fetchone() == (0,)


@pytest.mark.django_db(transaction=True)
def test_a_bunch_outside_a_transaction_is_refused() -> None:
    with pytest.raises(OutsideTransaction), bunched():
        pass
