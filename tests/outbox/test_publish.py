from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction

from outbox import registry
from outbox.exceptions import InvalidEventData, OutsideTransaction, UnknownEventType
from outbox.models import Entry
from outbox.services import enqueue, publish
from tests.outbox.stream import HAPPENED, happen


def publish_data(data: dict[str, Any]) -> Entry:
    with transaction.atomic():
        entry = publish(HAPPENED, aggregate="a:1", subject="s", routing_key="k", data=data)
    entry.refresh_from_db()
    return entry


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
    entry = publish_data({"n": 1, "text": "a\x00b\ud800c", "deep": [{"k\x00": "\udfff"}], "fine": "\U0001f600"})
    assert entry.data == {"n": 1, "text": "a\ufffdb\ufffdc", "deep": [{"k\ufffd": "\ufffd"}], "fine": "\U0001f600"}


@pytest.mark.django_db
def test_a_backslash_before_u0000_is_only_text() -> None:
    assert publish_data({"n": 1, "text": "\\u0000"}).data["text"] == "\\u0000"


@pytest.mark.django_db
def test_times_ids_and_decimals_may_be_published() -> None:
    moment, some_id = datetime(2026, 1, 2, tzinfo=UTC), uuid4()
    entry = publish_data({"n": 1, "at": moment, "id": some_id, "cost": Decimal("0.10")})
    assert entry.data == {"n": 1, "at": "2026-01-02T00:00:00Z", "id": str(some_id), "cost": "0.10"}


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
