from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from celery import current_app
from django.db import transaction

from outbox.models import Entry
from outbox.services import enqueue
from outbox.services.relay import relay_all
from outbox.states import Status
from tests.outbox.stream import celery_on, channel_of, happen, make_due

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def queue() -> str:
    return f"node.{uuid4().hex}"


@pytest.fixture
def celery_on_rabbitmq(amqp_url: str) -> Iterator[str]:
    """Have Celery speak to RabbitMQ, with quorum queues, as in production."""
    queues: Any = current_app.amqp.queues
    queues.create_missing_queue_type = "quorum"
    with celery_on(amqp_url):
        yield amqp_url
    queues.create_missing_queue_type = "classic"


def ask(queue: str, *args: int, aggregate: str = "a:1") -> Entry:
    with transaction.atomic():
        return enqueue("some.task", args=args, queue=queue, aggregate=aggregate)


def take(queue: str) -> list[Any]:
    """Take what waits in one of Celery's queues."""
    with current_app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        found = []
        while (message := channel.basic_get(queue, no_ack=True)) is not None:
            found.append(message if hasattr(message, "payload") else channel.message_to_python(message))
        return found


def arguments(messages: list[Any]) -> list[Any]:
    return [message.payload[0] for message in messages]


def test_a_task_reaches_its_queue_with_the_entry_as_its_id(queue: str) -> None:
    entry = ask(queue, 1, 2)
    relay_all()
    [message] = take(queue)
    assert message.payload[0] == [1, 2]
    assert message.headers["task"] == "some.task"
    assert message.headers["id"] == str(entry.event_id)
    assert Entry.objects.get().status == Status.DELIVERED


@pytest.mark.broker
def test_tasks_reach_a_quorum_queue_of_rabbitmq_in_order(celery_on_rabbitmq: str, queue: str) -> None:
    for n in range(5):
        ask(queue, n)
    relay_all()
    assert arguments(take(queue)) == [[n] for n in range(5)]
    with channel_of(celery_on_rabbitmq) as channel:
        channel.queue_declare(queue, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"})
        channel.queue_delete(queue)


@pytest.mark.broker
def test_a_task_whose_queue_was_deleted_is_not_lost(celery_on_rabbitmq: str, queue: str) -> None:
    ask(queue, 1)
    relay_all()
    with channel_of(celery_on_rabbitmq) as channel:
        channel.queue_delete(queue)
    ask(queue, 2)
    relay_all()
    make_due()
    relay_all()
    assert arguments(take(queue)) == [[2]]
    with channel_of(celery_on_rabbitmq) as channel:
        channel.queue_delete(queue)


def test_celerys_broker_away_costs_no_attempt_and_events_go_on(queue: str) -> None:
    with celery_on("redis://127.0.0.1:1/0"):
        ask(queue, 1, aggregate="a:1")
        happen("a:1", 1)
        happen("a:2", 2)
        relay_all()
    assert Entry.objects.get(aggregate="a:2").status == Status.DELIVERED
    assert [(entry.status, entry.attempts) for entry in Entry.objects.filter(aggregate="a:1")] == [
        (Status.PENDING, 0)
    ] * 2
    assert relay_all() == 2
    assert arguments(take(queue)) == [[1]]


def test_a_task_that_cannot_be_sent_holds_back_its_own_aggregate_only(queue: str) -> None:
    ask(queue, 1)
    Entry.objects.update(data={"no": "args"})
    ask(queue, 2)
    ask(queue, 3, aggregate="a:2")
    relay_all()
    assert arguments(take(queue)) == [[3]]
    assert "KeyError" in Entry.objects.order_by("id")[0].error
