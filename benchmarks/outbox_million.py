"""How large a million events leave the outbox's table, against a copy of it that was written once.

Without an exchange: here the database is measured, not the broker.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import connection

from benchmarks import outbox
from outbox.models import Entry
from outbox.services.relay import relay_all
from outbox.services.tend import tend

#: BENCH_EVENTS makes a shorter try of it.
EVENTS = int(os.environ.get("BENCH_EVENTS", "1000000"))
#: Events published and delivered in one go.
WAVE = 10_000
#: Of stratavore_site.broker.beat_schedule.
TEND_SECONDS = 10.0


def limits() -> dict[str, float]:
    """Return what the events take when nothing was ever rewritten."""
    outbox.prepare_database()
    settings.AMQP_URL = ""
    Entry.objects.all().delete()
    _execute("VACUUM FULL outbox_entry")
    outbox.fill(WAVE)
    relay_all()
    return {"ideal_bytes_an_event": _ideal_size() / WAVE}


def figures() -> dict[str, float]:
    """Send the rest of EVENTS through the table."""
    done, largest = WAVE, 0.0
    with _tending():
        while done < EVENTS:
            outbox.fill(WAVE)
            relay_all()
            done += WAVE
            if done % (EVENTS // 10) == 0:
                largest = max(largest, _size("outbox_entry") / _ideal_size())
    return {
        "events": float(done),
        "table_mb": _size("outbox_entry") / 1e6,
        "table_to_ideal": _size("outbox_entry") / _ideal_size(),
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


def _ideal_size() -> int:
    _execute("DROP TABLE IF EXISTS bench_ideal")
    _execute("CREATE TABLE bench_ideal AS SELECT * FROM outbox_entry")
    size = _size("bench_ideal")
    _execute("DROP TABLE bench_ideal")
    return size


def _size(table: str, measure: str = "pg_table_size") -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {measure}(%s)", [table])
        (size,) = cursor.fetchone() or (0,)
    return int(size)


def _execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
