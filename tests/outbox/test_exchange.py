from collections.abc import Callable
from datetime import datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from outbox import broker
from outbox.exceptions import BrokerMismatch, BrokerUnavailable
from outbox.models import Entry
from outbox.services.relay import relay_all
from outbox.sinks import exchange
from outbox.states import Status
from tests.outbox.conftest import remove, use_exchange
from tests.outbox.stream import Reader, by_aggregate, channel_of, happen, make_due

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.broker]


def test_an_event_arrives_as_a_persistent_cloud_event(reader: Reader) -> None:
    entry = happen("a:1", 7, text="ä\n")
    Entry.objects.update(traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01")
    relay_all()
    entry.refresh_from_db()
    assert reader.read() == 1
    [event], [message] = reader.events, reader.messages
    assert datetime.fromisoformat(event.pop("time")) == entry.created_at
    assert event == {
        "specversion": "1.0",
        "id": str(entry.event_id),
        "source": "/stratavore",
        "type": "test.happened",
        "subject": "test",
        "datacontenttype": "application/json",
        "sequence": entry.sequence,
        "aggregate": "a:1",
        "traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01",
        "data": {"n": 7, "text": "ä\n"},
    }
    assert message.properties["delivery_mode"] == 2
    assert message.properties["message_id"] == str(entry.event_id)
    assert message.properties["content_type"] == "application/cloudevents+json"
    assert message.delivery_info["routing_key"] == "test.happened.here"


def test_a_thousand_events_arrive_in_order_and_are_marked_by_one_statement_a_batch(reader: Reader) -> None:
    for n in range(10):
        for aggregate in range(20):
            happen(f"a:{aggregate}", n)
    with CaptureQueriesContext(connection) as queries:
        relay_all()
    reader.read()
    assert by_aggregate(reader.arrivals()) == {f"a:{aggregate}": list(range(10)) for aggregate in range(20)}
    assert len(reader.events) == 200
    assert sum("SET status" in query["sql"] for query in queries) == 1


def test_readers_get_what_their_key_asks_for(reader_of: Callable[..., Reader]) -> None:
    alerts = reader_of("system.alert.*")
    everything = reader_of("#")
    happen("a:1", 1, key="system.alert.critical")
    happen("a:1", 2, key="runner.started.demo")
    relay_all()
    alerts.read()
    everything.read()
    assert [n for _, n in alerts.arrivals()] == [1]
    assert [n for _, n in everything.arrivals()] == [1, 2]


def unbind_all(amqp_url: str, events: str, *, alternate: bool) -> None:
    """Leave the exchange without a queue; without `alternate`, what it returns has nowhere else to go either."""
    with channel_of(amqp_url) as channel:
        for queue in broker.topology(events).queues:
            for source, key in queue.bindings:
                if source == events or not alternate:
                    channel.queue_unbind(queue.name, source, key)


def test_what_no_queue_wants_is_kept_by_the_alternate_exchange(events_exchange: str, amqp_url: str) -> None:
    exchange.connect()
    unbind_all(amqp_url, events_exchange, alternate=True)
    happen("a:1", 1, key="nobody.wants.this")
    relay_all()
    assert Entry.objects.get().status == Status.DELIVERED
    stray = Reader(amqp_url, events_exchange)
    stray.channel.queue_delete(stray.queue)
    stray.queue = events_exchange.replace(".events", ".unrouted")
    assert stray.read() == 1
    stray.connection.close()


def test_an_unroutable_event_is_a_failure_of_its_own_and_of_no_other(
    reader_of: Callable[..., Reader], events_exchange: str, amqp_url: str
) -> None:
    wanted = reader_of("wanted")
    unbind_all(amqp_url, events_exchange, alternate=False)
    happen("a:1", 1, key="wanted")
    happen("a:2", 2, key="unwanted")
    happen("a:3", 3, key="wanted")
    relay_all()
    wanted.read()
    assert [n for _, n in wanted.arrivals()] == [1, 3]
    lost = Entry.objects.get(aggregate="a:2")
    assert (lost.status, lost.attempts) == (Status.PENDING, 1)
    assert "no queue is bound for unwanted" in lost.error
    wanted.channel.queue_bind(wanted.queue, events_exchange, "unwanted")
    make_due()
    relay_all()
    wanted.read()
    assert [n for _, n in wanted.arrivals()] == [1, 3, 2]


def test_a_nack_is_a_failure_of_exactly_that_event(reader_of: Callable[..., Reader]) -> None:
    full = reader_of("full", **{"x-max-length": 1, "x-overflow": "reject-publish"})
    other = reader_of("other")
    for n, key in enumerate(["full", "full", "other"]):
        happen(f"a:{n}", n, key=key)
    relay_all()
    other.read()
    assert [n for _, n in other.arrivals()] == [2]
    refused = Entry.objects.exclude(status=Status.DELIVERED).get()
    assert "nack" in refused.error
    full.read()
    make_due()
    relay_all()
    full.read()
    assert sorted(n for _, n in full.arrivals()) == [0, 1]
    assert not Entry.objects.exclude(status=Status.DELIVERED).exists()


def test_an_event_that_cannot_be_sent_dies_and_its_neighbours_arrive(reader: Reader, settings: Settings) -> None:
    settings.OUTBOX_MAX_MESSAGE_BYTES = 10_000
    happen("a:1", 1)
    happen("a:2", 2, text="x" * 10_000)
    happen("a:3", 3, key="k" * 200)
    Entry.objects.filter(data__n=3).update(routing_key="ü" * 200)
    happen("a:2", 4)
    happen("a:4", 5)
    relay_all()
    relay_all()
    reader.read()
    assert sorted(n for _, n in reader.arrivals()) == [1, 4, 5]
    too_large, bad_key = Entry.objects.dead().order_by("id")
    assert "OUTBOX_MAX_MESSAGE_BYTES" in too_large.error
    assert "routing key" in bad_key.error


def test_a_lost_connection_is_opened_again(reader: Reader) -> None:
    happen("a:1", 1)
    relay_all()
    publisher = exchange._open
    assert publisher is not None
    publisher._connection.sock.shutdown(2)
    happen("a:1", 2)
    relay_all()
    reader.read()
    assert [n for _, n in reader.arrivals()] == [1, 2]


def test_other_arguments_on_the_broker_are_a_clear_error(settings: Settings, amqp_url: str) -> None:
    name = use_exchange(settings, amqp_url)
    queue = broker.topology(name).queues[1].name
    with channel_of(amqp_url) as channel:
        channel.queue_declare(queue, durable=True, auto_delete=False)
        with pytest.raises(BrokerMismatch, match=queue):
            exchange.connect()
    happen("a:1")
    assert relay_all() == 0
    assert Entry.objects.get().attempts == 0
    remove(amqp_url, name)


def test_declaring_twice_is_harmless(events_exchange: str) -> None:
    exchange.connect()
    exchange.close()
    exchange.connect()


def test_a_broker_that_is_away_costs_no_attempt(settings: Settings) -> None:
    settings.AMQP_URL = "amqp://guest:guest@127.0.0.1:1//"
    happen("a:1")
    assert relay_all() == 0
    entry = Entry.objects.get()
    assert (entry.status, entry.attempts, entry.error) == (Status.PENDING, 0, "")
    with pytest.raises(BrokerUnavailable):
        exchange.connect()


def test_without_rabbitmq_events_are_delivered_to_handlers_alone(settings: Settings) -> None:
    settings.AMQP_URL = ""
    happen("a:1")
    assert relay_all() == 1
