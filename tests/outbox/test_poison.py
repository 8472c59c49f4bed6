"""Messages that cannot be sent: they die alone, on a broker that refuses them for real."""

from collections.abc import Callable

import pytest
from celery import current_app
from django.db import transaction
from pytest_django import Settings

from outbox.exceptions import InvalidEventData
from outbox.models import Entry
from outbox.services import publish
from outbox.services.relay import relay_all
from outbox.services.wake import wake
from outbox.sinks import waker
from outbox.states import Status
from tests.outbox.stream import HAPPENED, Reader, celery_on, channel_of, happen, wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.broker]
#: RabbitMQ 4's own limit (max_message_size).
BROKER_LIMIT = 16 * 1024 * 1024


def test_what_is_not_json_is_refused_at_once_and_undoes_its_change() -> None:
    @transaction.atomic
    def change_and_tell() -> None:
        happen("a:1", 1)
        publish(HAPPENED, aggregate="a:2", subject="s", routing_key="k", data={"n": object()})

    with pytest.raises(InvalidEventData):
        change_and_tell()
    assert not Entry.objects.exists()


def test_the_one_message_that_the_broker_refuses_is_found_among_its_neighbours(
    reader: Reader, settings: Settings
) -> None:
    # Let through by us, so that it is RabbitMQ that refuses it: it closes the channel, and says not for which message.
    settings.OUTBOX_MAX_MESSAGE_BYTES = 4 * BROKER_LIMIT
    for n in range(20):
        happen(f"a:{n}", n)
    happen("a:big", 100, text="x" * (BROKER_LIMIT + 1))
    happen("a:big", 101)
    for n in range(20, 40):
        happen(f"a:{n}", n)
    relay_all()
    relay_all()
    reader.read()
    poison = Entry.objects.dead().get()
    assert (poison.aggregate, poison.attempts) == ("a:big", 1)
    assert "the broker refused the message" in poison.error
    assert {n for _, n in reader.arrivals()} == {*range(40), 101}
    assert Entry.objects.filter(status=Status.DELIVERED).count() == 41


def test_poison_of_every_kind_holds_up_nobody(
    reader_of: Callable[..., Reader], events_exchange: str, amqp_url: str, settings: Settings
) -> None:
    settings.OUTBOX_MAX_MESSAGE_BYTES = 10_000
    wanted = reader_of("wanted.#")
    with channel_of(amqp_url) as channel:
        prefix = events_exchange.removesuffix(".events")
        channel.queue_unbind(f"{prefix}.daemon.events", events_exchange, "#")
        channel.exchange_delete(f"{prefix}.unrouted")
    for n in range(30):
        happen(f"a:{n % 3}", n, key="wanted.x")
        happen(f"large:{n}", 1_000 + n, key="wanted.x", text="x" * 10_000)
        happen(f"nowhere:{n}", 2_000 + n, key="unwanted.x")
    relay_all()
    wanted.read()
    assert sorted(n for _, n in wanted.arrivals()) == list(range(30))
    assert Entry.objects.dead().filter(aggregate__startswith="large").count() == 30
    # What no queue wants is tried again: somebody may bind one.
    assert Entry.objects.pending().filter(aggregate__startswith="nowhere", attempts=1).count() == 30


def test_a_wake_up_over_rabbitmq_waits_alone_in_its_queue(amqp_url: str) -> None:
    queue = "outbox.wake"
    with celery_on(amqp_url), channel_of(amqp_url) as channel:
        made = current_app.amqp.queues[queue]
        before, made.queue_arguments = made.queue_arguments, {"x-max-length": 1}
        try:
            # The waker declares it with its first message, which a thread sends when it likes.
            made.bind(channel).declare()
            for _ in range(20):
                wake()
                assert waker._wakers[waker.RELAY_TASK].quiet.wait(10)
            wait_for(lambda: channel.queue_declare(queue, passive=True).message_count == 1, what="a wake-up")
            assert channel.basic_get(queue, no_ack=True) is not None
            assert channel.basic_get(queue, no_ack=True) is None
        finally:
            made.queue_arguments = before
            channel.queue_delete(queue)
