"""Relays killed, brokers gone: nothing is lost, nothing overtakes."""

import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import pytest
from django.conf import settings as django_settings
from django.db import connection, transaction
from pytest_django import Settings

from outbox.models import Entry
from outbox.services.relay import relay_all
from outbox.sinks import exchange
from outbox.states import Status
from stratavore_site.embedded.rabbitmq import RabbitMQ
from tests.outbox.conftest import use_exchange
from tests.outbox.stream import Reader, by_aggregate, happen, relay_process, wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.broker]
AGGREGATES = 20


def publish_many(count: int) -> None:
    """Publish `count` events, five in each transaction."""
    try:
        for start in range(0, count, 5):
            with transaction.atomic():
                for n in range(start, start + 5):
                    happen(f"a:{n % AGGREGATES}", n)
    finally:
        connection.close()


def expected(count: int) -> dict[str, list[int]]:
    return by_aggregate((f"a:{n % AGGREGATES}", n) for n in range(count))


def delivered() -> int:
    return Entry.objects.filter(status=Status.DELIVERED).count()


def reached(count: int) -> bool:
    return delivered() >= count


def ids() -> set[str]:
    return {str(event_id) for event_id in Entry.objects.values_list("event_id", flat=True)}


@pytest.fixture
def relays() -> Iterator[list["subprocess.Popen[bytes]"]]:
    running: list[subprocess.Popen[bytes]] = []
    yield running
    for process in running:
        process.kill()
        process.wait()


def test_a_relay_killed_in_the_middle_of_batches_loses_nothing(
    reader: Reader, amqp_url: str, relays: list["subprocess.Popen[bytes]"]
) -> None:
    kills, count = 4, 2_000
    with ThreadPoolExecutor(1) as pool:
        publishing: Future[None] = pool.submit(publish_many, count)
        for kill in range(kills):
            relays.append(relay_process(amqp_url=amqp_url))
            wait_for(partial(reached, (kill + 1) * count // (kills + 2)), seconds=90, what="deliveries before a kill")
            relays[-1].send_signal(signal.SIGKILL)
            relays[-1].wait()
        publishing.result(90)
    relay_all()
    reader.read_until(ids())
    assert by_aggregate(reader.arrivals()) == expected(count)
    times = Counter(event["id"] for event in reader.events)
    assert sum(times.values()) - count <= kills * django_settings.OUTBOX_BATCH
    assert delivered() == count


def test_two_relays_share_the_work_and_deliver_each_event_once(
    reader: Reader, amqp_url: str, relays: list["subprocess.Popen[bytes]"]
) -> None:
    relays += [relay_process(amqp_url=amqp_url), relay_process(amqp_url=amqp_url)]
    publish_many(600)
    reader.read_until(ids(), seconds=60)
    assert by_aggregate(reader.arrivals()) == expected(600)
    assert len(reader.events) == 600


def test_a_broker_that_stops_and_another_time_crashes_gets_every_event_in_order(
    own_rabbitmq: RabbitMQ, settings: Settings, relays: list["subprocess.Popen[bytes]"]
) -> None:
    url = own_rabbitmq.url()
    name = use_exchange(settings, url)
    exchange.connect()
    exchange.close()
    reader = Reader(url, name, **{"x-queue-type": "quorum"})
    relays.append(relay_process(amqp_url=url))
    for ending in (own_rabbitmq.stop, own_rabbitmq.kill):
        publish_many(300)
        wait_for(partial(reached, 20), seconds=60, what="some deliveries")
        ending()
        publish_many(300)
        own_rabbitmq.start()
    reader.reopen()
    reader.read_until(ids(), seconds=90)
    wait_for(lambda: delivered() == 1_200, what="all marked")
    arrived = by_aggregate((event["aggregate"], event["sequence"]) for event in reader.events)
    assert all(positions == sorted(positions) for positions in arrived.values())
    # The broker was to blame, so no entry lost an attempt for it.
    assert not Entry.objects.filter(attempts__gt=1).exists()
    reader.close()
