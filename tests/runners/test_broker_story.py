"""RabbitMQ goes away while runners are launched, and comes back."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from kombu import Connection

from outbox.models import Entry
from runners.backends.base import LaunchRequest
from runners.services import launch_runner
from stratavore_site.embedded.rabbitmq import RabbitMQ
from tests.runners.factories import make_project
from tests.stack import Stack, wait_until

ECHO = LaunchRequest(backend="command", argv=["true"])
LIFE = ["runner.starting", "session.created", "runner.started", "runner.stopped"]


@pytest.mark.broker
def test_events_of_runners_launched_while_the_broker_was_away_all_arrive_in_order(
    make_stack: Callable[..., Stack], own_rabbitmq: RabbitMQ
) -> None:
    stack = make_stack(AMQP_URL=own_rabbitmq.url())
    stack.start_runners()
    project = make_project(quota=50)
    before = launch_runner(project.name, ECHO, actor="user:ada")
    stack.wait_for(before, "terminated")

    own_rabbitmq.stop()
    during = [launch_runner(project.name, ECHO, actor="user:ada") for _ in range(8)]
    assert {runner.status for runner in during} == {"starting"}
    own_rabbitmq.start()

    for runner in during:
        stack.wait_for(runner, "terminated")
    wait_until(lambda: not Entry.objects.pending().exists(), "everything is delivered")
    arrived = received(own_rabbitmq.url(), "stratavore.daemon.events")
    for runner in (before, *during):
        assert in_order_of_first_arrival(arrived[str(runner.pk)]) == LIFE


def received(url: str, queue: str) -> dict[str, list[str]]:
    """Take everything from a queue: {runner id: event types in the order they arrived}, repeats included."""
    arrived: dict[str, list[str]] = {}
    with Connection(url, connect_timeout=5) as connection:
        channel: Any = connection.channel()  # py-amqp's own, which the types of kombu do not know
        while message := channel.basic_get(queue, no_ack=True):
            event = json.loads(message.body)
            arrived.setdefault(event["data"]["runner_id"], []).append(event["type"])
    return arrived


def in_order_of_first_arrival(types: list[str]) -> list[str]:
    """Drop repeats: delivery is at least once."""
    return list(dict.fromkeys(types))
