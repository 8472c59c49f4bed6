"""What the tests of the outbox share."""

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from pytest_django import Settings

from outbox import broker
from outbox.sinks import exchange
from tests.outbox.stream import Reader, channel_of


@pytest.fixture(autouse=True)
def _quiet_outbox(settings: Settings) -> None:
    """Leave out what other apps hear of the stream."""
    settings.OUTBOX_LISTENERS = []
    settings.OUTBOX_HANDLERS = {}
    settings.OUTBOX_BATCH_HANDLERS = []


def use_exchange(settings: Settings, url: str) -> str:
    """Have the outbox deliver to an exchange of this test's own; return its name."""
    settings.AMQP_URL = url
    settings.OUTBOX_EXCHANGE = f"test-{uuid4().hex[:12]}.events"
    return str(settings.OUTBOX_EXCHANGE)


def remove(url: str, events: str) -> None:
    """Remove the exchange and all that belongs to it."""
    with channel_of(url) as channel:
        wanted = broker.topology(events)
        for queue in wanted.queues:
            channel.queue_delete(queue.name)
        for each in wanted.exchanges:
            channel.exchange_delete(each.name)


@pytest.fixture
def events_exchange(settings: Settings, amqp_url: str) -> Iterator[str]:
    """The name of an exchange of this test's own, on a real RabbitMQ."""
    name = use_exchange(settings, amqp_url)
    yield name
    exchange.close()
    remove(amqp_url, name)


@pytest.fixture
def reader_of(amqp_url: str, events_exchange: str) -> Iterator[Callable[..., Reader]]:
    """Make readers of the exchange."""
    exchange.connect()
    readers: list[Reader] = []

    def make(key: str = "#", **arguments: object) -> Reader:
        readers.append(Reader(amqp_url, events_exchange, key, **arguments))
        return readers[-1]

    yield make
    for each in readers:
        each.close()


@pytest.fixture
def reader(reader_of: Callable[..., Reader]) -> Reader:
    """A reader of every event on the exchange."""
    return reader_of()
