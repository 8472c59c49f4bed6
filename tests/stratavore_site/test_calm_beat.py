"""A beat whose broker is away: it says so, rests, and goes on by itself."""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from celery import Celery
from django.conf import settings
from redis import Redis
from structlog.testing import capture_logs

from stratavore_site import broker
from stratavore_site.calm_beat import CalmScheduler
from tests.gate import Gate
from tests.stack import wait_until

QUEUE = "calm-beat"


@pytest.fixture
def gate() -> Iterator[Gate]:
    server = urlsplit(settings.REDIS_URL)
    made = Gate(str(server.hostname), int(server.port or 0))
    yield made
    made.shut()
    with Redis.from_url(settings.REDIS_URL) as client:
        client.delete(QUEUE)


@pytest.fixture
def beat(gate: Gate, tmp_path: Path) -> CalmScheduler:
    server = urlsplit(settings.REDIS_URL)
    by_the_gate = server._replace(netloc=f"{server.netloc.rpartition(':')[0]}:{gate.port}").geturl()
    app = Celery("calm", broker=by_the_gate, set_as_current=False)
    app.conf.beat_schedule = {
        "tick": {"task": "tick", "schedule": 0.01, "options": {"queue": QUEUE}},
        "hourly": {"task": "hourly", "schedule": 3600.0, "options": {"queue": QUEUE}},
    }
    return CalmScheduler(app, schedule_filename=str(tmp_path / "beat"))


def sent() -> list[str]:
    with Redis.from_url(settings.REDIS_URL) as client:
        return [json.loads(message)["headers"]["task"] for message in reversed(client.lrange(QUEUE, 0, -1))]


def tick(beat: CalmScheduler, name: str = "tick") -> None:
    beat.apply_entry(beat.schedule[name])


def test_it_sends_what_is_due(beat: CalmScheduler) -> None:
    tick(beat)
    assert sent() == ["tick"]


def test_of_many_that_cannot_be_sent_one_is_told_of_and_it_goes_on_when_the_broker_is_back(
    beat: CalmScheduler, gate: Gate
) -> None:
    gate.shut()
    with capture_logs() as logs:
        for _ in range(50):
            tick(beat)
    assert [line["event"] for line in logs] == ["beat_not_heard"]
    assert "Connection refused" in logs[0]["error"]
    gate.open()

    def goes_on() -> bool:
        tick(beat)
        return bool(sent())

    wait_until(goes_on, "it tries again")
    assert sent() == ["tick"], "what fell due fifty times is sent once"


def test_what_falls_due_once_an_hour_is_not_left_out(beat: CalmScheduler, gate: Gate) -> None:
    gate.shut()
    tick(beat)
    tick(beat, "hourly")
    gate.open()
    beat._rests_until = 0.0
    tick(beat)
    assert sorted(sent()) == ["hourly", "tick"]


def test_a_task_that_cannot_be_sent_holds_up_no_other(beat: CalmScheduler) -> None:
    beat.schedule["tick"].options = {"queue": QUEUE, "countdown": "no number"}
    tick(beat)
    beat._rests_until = 0.0
    tick(beat, "hourly")
    assert sent() == []
    beat._rests_until = 0.0
    tick(beat, "hourly")
    assert sent() == ["hourly"]


def test_pauses_grow_and_end(beat: CalmScheduler, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda *_: 1.0)
    gate.shut()
    with capture_logs() as logs:
        for _ in range(6):
            beat._rests_until = 0.0
            tick(beat)
    assert [line["retry_seconds"] for line in logs] == [1, 2, 4, 8, 15, 15]


def test_the_beat_is_this_one_and_workers_never_give_up() -> None:
    assert broker.beat_scheduler == f"{CalmScheduler.__module__}:{CalmScheduler.__name__}"
    assert broker.broker_connection_max_retries is None
