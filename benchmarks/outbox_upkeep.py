"""The outbox's table in the long run: what an old snapshot costs the relay, and how large a million events leave it.

Without an exchange: here the database is measured, not the broker.
"""

import os
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
from django.conf import settings
from django.db import connection

from benchmarks import outbox
from outbox.models import Entry
from outbox.services import claim as claiming
from outbox.services import relay
from outbox.services.relay import relay_all
from outbox.services.tend import tend

#: As long as a report or a backup holds one open.
SNAPSHOT_SECONDS = 60.0
#: BENCH_EVENTS makes a shorter try of it.
EVENTS = int(os.environ.get("BENCH_EVENTS", "1000000"))
#: Of stratavore_site.broker.beat_schedule.
TEND_SECONDS = 10.0


def limits() -> dict[str, float]:
    """Return what a claim costs while nothing is in vacuum's way."""
    outbox.prepare_database()
    settings.AMQP_URL = ""
    _times(5)
    return {"claim_ms_before": statistics.median(_times(40))}


def figures() -> dict[str, float]:
    before = _times(40)
    with _snapshot():
        _work_for(SNAPSHOT_SECONDS)
        during = _times(40)
    found = {
        "claim_ms_with_a_snapshot_of_60_s": statistics.median(during),
        "claim_with_a_snapshot_to_before": statistics.median(during) / statistics.median(before),
    }
    return found | _table()


def _times(rounds: int) -> list[float]:
    """Return the milliseconds of each claim while batches are delivered."""
    found: list[float] = []
    plain = claiming.claim

    def timed(lanes: Sequence[int]) -> claiming.Batch:
        begun = time.perf_counter()
        batch = plain(lanes)
        found.append((time.perf_counter() - begun) * 1000)
        return batch

    relay.claim = timed  # type: ignore[attr-defined]
    try:
        while len(found) < rounds:
            outbox.fill(2_000)
            relay_all()
    finally:
        relay.claim = plain  # type: ignore[attr-defined]
    return found[:rounds]


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


def _table() -> dict[str, float]:
    """Send EVENTS through the table, and compare it with a copy that was written once."""
    Entry.objects.all().delete()
    _execute("VACUUM FULL outbox_entry")
    done, largest = 0, 0.0
    with _tending():
        while done < EVENTS:
            outbox.fill(10_000)
            relay_all()
            done += 10_000
            if done % (EVENTS // 10) == 0:
                largest = max(largest, _ratio())
    return {
        "events": float(done),
        "table_mb": _size("outbox_entry") / 1e6,
        "table_to_ideal": _ratio(),
        "table_to_ideal_at_most": largest,
        "indexes_mb": _size("outbox_entry", "pg_indexes_size") / 1e6,
    }


@contextmanager
def _tending() -> Iterator[None]:
    """Look after the table as often as the beat has it done."""
    done = threading.Event()

    def look_after() -> None:
        while not done.wait(TEND_SECONDS):
            tend()
        connection.close()

    thread = threading.Thread(target=look_after)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _ratio() -> float:
    _execute("DROP TABLE IF EXISTS bench_ideal")
    _execute("CREATE TABLE bench_ideal AS SELECT * FROM outbox_entry")
    ratio = _size("outbox_entry") / _size("bench_ideal")
    _execute("DROP TABLE bench_ideal")
    return ratio


def _size(table: str, measure: str = "pg_table_size") -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {measure}(%s)", [table])
        (size,) = cursor.fetchone() or (0,)
    return int(size)


def _execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
