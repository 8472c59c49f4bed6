"""Everything killed, again and again, under load: nothing is lost, nothing overtakes, little comes twice.

Run by `make soak`; some minutes. On servers of its own, because it kills them.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from stratavore_site.embedded.errors import CannotStart
from stratavore_site.embedded.postgres import Postgres
from stratavore_site.embedded.rabbitmq import RabbitMQ
from tests.outbox.stream import Reader, wait_for
from tests.stack import CELERY, PROJECT

pytestmark = [pytest.mark.soak, pytest.mark.broker]

EVENTS, AGGREGATES = 20_000, 200
PROCESS_KILLS, BROKER_KILLS = 20, 5
#: Generous: worker, publisher, broker and database share two cores with whatever else runs.
DEADLINE_SECONDS = 1_500.0
DUPLICATES = 0.15
#: When nothing comes for so long, everything has been read.
QUIET_SECONDS = 30.0


class Crew:
    """The processes of the soak: they are started again whenever they end."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self.environment = environment
        self.log = (directory / "crew.log").open("ab")
        worker = [*CELERY, "worker", "--pool=threads", "--concurrency=2", "--without-gossip", "--without-mingle"]
        self.commands = {
            **{f"worker {n}": [*worker, "--queues=outbox.wake", f"--hostname=soak{n}@here"] for n in (1, 2)},
            "beat": [*CELERY, "beat", f"--schedule={directory / 'beat'}", "--pidfile="],
        }
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.started: list[subprocess.Popen[bytes]] = []

    def run(self, *words: str) -> "subprocess.Popen[bytes]":
        started = subprocess.Popen(list(words), cwd=PROJECT, env=self.environment, stdout=self.log, stderr=self.log)
        self.started.append(started)
        return started

    def keep(self) -> None:
        """Start what does not run."""
        for name, command in self.commands.items():
            if name not in self.running or self.running[name].poll() is not None:
                self.running[name] = self.run(*command)

    def kill_one(self, chance: random.Random) -> None:
        victim = self.running[chance.choice(["worker 1", "worker 2"])]
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        self.keep()

    def close(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()
        self.log.close()


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[Postgres]:
    server = Postgres(tmp_path / "postgres")
    server.start()
    yield server
    server.stop(immediately=True)


@pytest.fixture
def crew(own_postgres: Postgres, own_rabbitmq: RabbitMQ, tmp_path: Path) -> Iterator[Crew]:
    environment = {
        **os.environ,
        "DATABASE_URL": own_postgres.url,
        "AMQP_URL": own_rabbitmq.url(),
        "LOG_LEVEL": "WARNING",
        "DATABASE_POOL_SIZE": "4",
    }
    made = Crew(tmp_path, environment)
    migrated = made.run(sys.executable, "manage.py", "migrate", "--no-input", "--skip-checks")
    assert migrated.wait(120) == 0
    yield made
    made.close()


def count(url: str, condition: str) -> int:
    """Return how many entries there are; -1 while the database is away."""
    try:
        with psycopg.connect(url, connect_timeout=2) as connection:
            row = connection.execute(f"SELECT count(*) FROM outbox_entry WHERE {condition}").fetchone()
            return int(row[0]) if row else -1
    except psycopg.OperationalError:
        return -1


def declared(crew: Crew, url: str) -> Reader:
    """Return a consumer whose durable queue takes every event; it reads at the end."""
    code = "import django; django.setup(); from outbox.sinks import exchange; exchange.connect()"
    environment = {**crew.environment, "DJANGO_SETTINGS_MODULE": "stratavore_site.settings"}
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, env=environment, check=True, timeout=60)
    return Reader(url, "stratavore.events", "webhook.#", **{"x-queue-type": "quorum"})


def test_relays_broker_and_database_killed_under_load_lose_nothing(
    crew: Crew, own_postgres: Postgres, own_rabbitmq: RabbitMQ
) -> None:
    chance = random.Random(4)
    url = own_postgres.url
    reader = declared(crew, own_rabbitmq.url())
    reader.connection.close()
    crew.keep()
    publisher = crew.run(sys.executable, "-m", "tests.outbox.soak_publisher", str(EVENTS), str(AGGREGATES))
    blows = ["process"] * PROCESS_KILLS + ["broker"] * BROKER_KILLS + ["database"]
    chance.shuffle(blows)
    deadline = time.monotonic() + DEADLINE_SECONDS
    for number, blow in enumerate(blows):
        due = (number + 1) * EVENTS // (len(blows) + 2)
        wait_for(
            lambda due=due: count(url, "status = 'delivered'") >= due,  # type: ignore[misc]
            seconds=deadline - time.monotonic(),
            what=f"{due} deliveries before blow {number}",
        )
        if blow == "process":
            crew.kill_one(chance)
        elif blow == "broker":
            own_rabbitmq.kill()
            start_again(own_rabbitmq)
        else:
            own_postgres.stop(immediately=True)
            assert own_postgres.start() == url
    assert publisher.wait(deadline - time.monotonic()) == 0
    crew.keep()
    wait_for(
        lambda: count(url, "status = 'delivered'") == EVENTS, seconds=deadline - time.monotonic(), what="all delivered"
    )
    reader.reopen()
    read_everything(reader)
    reader.close()
    judge(reader.events)


def read_everything(reader: Reader) -> None:
    """Read until nothing has come for a while. By consuming: to get one message after the other would take minutes."""
    tag = reader.channel.basic_consume(
        reader.queue, no_ack=True, callback=lambda message: reader.events.append(json.loads(message.body))
    )
    while True:
        try:
            reader.connection.drain_events(timeout=QUIET_SECONDS)
        except TimeoutError:
            break
    # Its queue is deleted next: who still consumes is told so as an error.
    reader.channel.basic_cancel(tag)


def start_again(server: RabbitMQ) -> None:
    """Start a server that was killed; on a busy machine it may not be ready in its usual time."""
    for _ in range(4):
        try:
            server.start()
        except CannotStart:
            continue
        return
    server.start()


def judge(events: list[dict[str, Any]]) -> None:
    times = Counter(event["id"] for event in events)
    repeats = len(events) - len(times)
    found = {
        "events": EVENTS,
        "lost": EVENTS - len({event["data"]["n"] for event in events}),
        "repeats": repeats,
        "inversions": inversions(events),
    }
    print(json.dumps(found))  # noqa: T201 - the figures of the run
    assert found["lost"] == 0
    assert len(times) == EVENTS
    assert found["inversions"] == 0
    assert repeats <= DUPLICATES * EVENTS


def inversions(events: list[dict[str, Any]]) -> int:
    """Return how many events came, for the first time, after a later one of their aggregate."""
    seen, last, wrong = set[str](), dict[str, int](), 0
    for event in events:
        if event["id"] in seen:
            continue
        seen.add(event["id"])
        n, aggregate = event["data"]["n"], event["aggregate"]
        wrong += n < last.get(aggregate, -1)
        last[aggregate] = max(n, last.get(aggregate, -1))
    return wrong
