"""Events for the tests of the outbox, and a reader of the exchange."""

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from celery import current_app
from django.conf import settings
from django.db import connection, transaction
from kombu import Connection

from outbox.models import Entry
from outbox.registry import register
from outbox.services import publish

HAPPENED = register("test.happened", description="Something happened in a test.", data={"n": "integer"}).name


def happen(aggregate: str, n: int = 0, *, key: str = "test.happened.here", **more: Any) -> Entry:
    """Publish one event in a transaction of its own."""
    with transaction.atomic():
        return publish(HAPPENED, aggregate=aggregate, subject="test", routing_key=key, data={"n": n, **more})


def make_due() -> None:
    """Let the time pass for which failed entries wait."""
    Entry.objects.filter(next_attempt_at__isnull=False).update(next_attempt_at="2000-01-01T00:00Z")


def wait_for(condition: Callable[[], object], *, seconds: float = 20, what: str = "the condition") -> None:
    """Return once `condition` holds; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true within {seconds} s"
        time.sleep(0.02)


def by_aggregate(entries: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    """Return the numbers of each aggregate in the order of arrival, repeats dropped."""
    found: dict[str, list[int]] = defaultdict(list)
    for aggregate, n in entries:
        if n not in found[aggregate]:
            found[aggregate].append(n)
    return dict(found)


class Reader:
    """A queue of its own on the exchange, as an integrator has one."""

    def __init__(self, url: str, exchange: str, key: str = "#", **arguments: Any) -> None:
        self.queue = f"reader-{uuid4().hex}"
        self.url = url
        self.events: list[dict[str, Any]] = []
        self.messages: list[Any] = []
        self._open()
        self.channel.queue_declare(self.queue, durable=True, auto_delete=False, arguments=arguments)
        self.channel.queue_bind(self.queue, exchange, key)

    def _open(self) -> None:
        self.connection = Connection(self.url, connect_timeout=5).transport.establish_connection()
        self.channel = self.connection.channel()

    def reopen(self) -> None:
        """Connect again after the broker went away."""
        self.connection.collect()
        self._open()

    def read(self) -> int:
        """Take what is there; return how many events that were."""
        count = 0
        while (message := self.channel.basic_get(self.queue, no_ack=True)) is not None:
            self.messages.append(message)
            self.events.append(json.loads(message.body))
            count += 1
        return count

    def read_until(self, ids: set[str], *, seconds: float = 30) -> None:
        """Read until every one of these events has come."""

        def complete() -> bool:
            self.read()
            return ids <= {event["id"] for event in self.events}

        wait_for(complete, seconds=seconds, what="the arrival of every event")

    def arrivals(self) -> list[tuple[str, int]]:
        return [(event["aggregate"], event["data"]["n"]) for event in self.events]

    def close(self) -> None:
        self.channel.queue_delete(self.queue)
        self.connection.close()


@contextmanager
def channel_of(url: str) -> Iterator[Any]:
    """Open a channel to look at the broker, or to change it."""
    with Connection(url, connect_timeout=5) as opened:
        yield opened.default_channel


@contextmanager
def celery_on(url: str) -> Iterator[None]:
    """Have Celery's messages go to another broker."""
    settings_of_celery: Any = current_app.conf
    before, settings_of_celery.broker_url = settings_of_celery.broker_url, url
    try:
        yield
    finally:
        settings_of_celery.broker_url = before


def relay_process(*, amqp_url: str) -> "subprocess.Popen[bytes]":
    """Start a process that relays over and over, on this test's database and exchange."""
    database = connection.settings_dict
    address = (
        f"postgres://{database['USER']}:{database['PASSWORD']}@{database['HOST']}:{database['PORT']}/{database['NAME']}"
    )
    environment = {**os.environ, "AMQP_URL": amqp_url, "DATABASE_URL": address}
    command = [sys.executable, "-m", "tests.outbox.relay_process", settings.OUTBOX_EXCHANGE]
    return subprocess.Popen(command, env=environment)
