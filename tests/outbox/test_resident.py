"""The relay that stays: woken by commits, not ended by what is away."""

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from celery import current_app
from django.db import connection
from pytest_django import Settings

from outbox.models import Entry
from outbox.services import resident
from outbox.services.relay import relay_all
from outbox.services.resident import stay
from outbox.sinks.wakes import Wakes
from tests.outbox.stream import celery_on, channel_of, happen, wait_for
from tests.stack import CELERY, PROJECT

pytestmark = pytest.mark.django_db(transaction=True)
QUEUE = "outbox.wake"
WORKER = [*CELERY, "worker", "--pool=threads", "--concurrency=1", f"--queues={QUEUE}", "--hostname=resident@here"]


def all_delivered() -> bool:
    return not Entry.objects.pending().exists()


@contextmanager
def staying() -> Iterator[None]:
    stop, wakes = threading.Event(), Wakes(QUEUE)
    thread = threading.Thread(target=stay, args=[wakes, stop])
    thread.start()
    try:
        yield
    finally:
        stop.set()
        while thread.is_alive():
            happen("a:farewell")  # it hears this, and sees that it is to end
            thread.join(0.2)
        wakes.close()


@pytest.fixture(params=["valkey", "rabbitmq"])
def _broker(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.param == "valkey":
        with nullcontext():
            yield
        return
    url = request.getfixturevalue("amqp_url")
    with celery_on(url), channel_of(url) as channel:
        made = current_app.amqp.queues[QUEUE]
        before, made.queue_arguments = made.queue_arguments, {"x-max-length": 1}
        try:
            yield
        finally:
            made.queue_arguments = before
            channel.queue_delete(QUEUE)


@pytest.mark.usefixtures("_broker")
def test_a_commit_wakes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # So long that only a wake-up can be the reason.
    monkeypatch.setattr(resident, "LOOK_SECONDS", 3600.0)
    with staying():
        for n in range(3):
            happen("a:1", n)
            wait_for(all_delivered, what=f"the delivery of event {n}")


def test_without_wake_ups_it_looks_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resident, "LOOK_SECONDS", 0.05)
    with celery_on("redis://127.0.0.1:1/0"), staying():
        happen("a:1")
        wait_for(all_delivered, what="the delivery")


def test_no_error_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def fails_first() -> int:
        calls.append(1)
        if len(calls) == 1:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        if len(calls) == 2:
            raise RuntimeError("something unforeseen")
        return relay_all()

    monkeypatch.setattr(resident, "relay_in_turn", fails_first)
    monkeypatch.setattr(resident, "REST_SECONDS", 0.01)
    monkeypatch.setattr(resident, "LOOK_SECONDS", 0.05)
    with staying():
        happen("a:1")
        wait_for(all_delivered, what="the delivery")
    assert len(calls) > 2


def test_a_worker_given_the_queue_relays_and_ends_when_it_is_told_to(settings: Settings, tmp_path: Path) -> None:
    database = connection.settings_dict
    place = f"{database['HOST']}:{database['PORT']}/{database['NAME']}"
    environment = {**os.environ, "DATABASE_URL": f"postgres://{database['USER']}:{database['PASSWORD']}@{place}"}
    with (tmp_path / "worker.log").open("wb") as log:
        worker = subprocess.Popen(WORKER, cwd=PROJECT, env=environment, stdout=log, stderr=log)
    try:
        for n in range(2):
            happen("a:1", n)
            wait_for(all_delivered, seconds=60, what=f"the delivery of event {n}")
        worker.terminate()
        assert worker.wait(30) == 0
    finally:
        worker.kill()
        worker.wait()
