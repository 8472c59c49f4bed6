"""What a snapshot that somebody holds open costs the relay: vacuum may remove nothing that it could still see.

Without an exchange: here the database is measured, not the broker.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import psycopg
from django.conf import settings
from django.db import connection

from benchmarks import outbox
from outbox.services.claim import claim
from outbox.services.number import number_now
from outbox.services.relay import relay_all

#: As long as a report or a backup holds one open.
SNAPSHOT_SECONDS = 60.0
ROUNDS = 40


def limits() -> dict[str, float]:
    """Return what a claim costs while nothing is in vacuum's way."""
    outbox.prepare_database()
    settings.AMQP_URL = ""
    _medians()
    return {f"{name}_before": value for name, value in _medians().items()}


def figures() -> dict[str, float]:
    before = _medians()
    with _snapshot():
        _work_for(SNAPSHOT_SECONDS)
        during = _medians()
    found = {f"{name}_with_a_snapshot_of_60_s": value for name, value in during.items()}
    return found | {f"{name}_with_a_snapshot_to_before": during[name] / before[name] for name in before}


def _medians() -> dict[str, float]:
    """Return the median milliseconds of a claim, and of a look for what has no position."""
    claims: list[float] = []
    looks: list[float] = []
    with (
        mock.patch("outbox.services.relay.claim", _timed(claim, claims)),
        mock.patch("outbox.services.relay.number_now", _timed(number_now, looks)),
    ):
        while len(claims) < ROUNDS:
            outbox.fill(2_000)
            relay_all()
    return {"claim_ms": statistics.median(claims), "look_ms": statistics.median(looks)}


def _timed(call: Callable[..., Any], milliseconds: list[float]) -> Callable[..., Any]:
    def timed(*args: Any) -> Any:
        begun = time.perf_counter()
        result = call(*args)
        milliseconds.append((time.perf_counter() - begun) * 1000)
        return result

    return timed


def _work_for(seconds: float) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        outbox.fill(2_000)
        relay_all()


@contextmanager
def _snapshot() -> Iterator[None]:
    """Hold a snapshot open, as a long report does: vacuum may remove nothing that it could still see."""
    database = connection.settings_dict
    with psycopg.connect(
        host=str(database["HOST"]),
        port=database["PORT"],
        dbname=str(database["NAME"]),
        user=str(database["USER"]),
        password=str(database["PASSWORD"]),
    ) as other:
        other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT count(*) FROM outbox_entry").fetchone()
        yield
