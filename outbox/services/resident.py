"""A relay that stays: it hears the wake-ups itself, so that a commit is on its way in milliseconds."""

import threading
import time
from typing import Protocol

import structlog
from django.db import DatabaseError, connection

from outbox.services.number import is_any_unnumbered
from outbox.services.relay import relay_in_turn

#: Without a wake-up it looks this often, as the beat would: one may be lost, and failed entries fall due.
LOOK_SECONDS = 1.0
#: After a delivery it looks by itself for so long, somewhat longer than a process waits between two wake-ups: more is
#: likely to come, and a look costs a tenth of a millisecond, where a wake-up costs half of one.
BUSY_SECONDS, POLL_SECONDS = 0.08, 0.003
#: After the database was away.
REST_SECONDS = 1.0

log = structlog.get_logger(__name__)


class Waits(Protocol):
    def wait(self, seconds: float) -> bool: ...


def stay(wakes: Waits, stop: threading.Event) -> None:
    """Relay whenever `wakes` says so, until `stop` is set; no error ends it."""
    while not stop.is_set():
        try:
            busy = relay_in_turn() > 0
            if not _come(wakes, busy):
                # Back into the pool: in quiet times nobody holds it, and what has broken is not kept.
                connection.close()
        except DatabaseError as error:
            log.warning("outbox_relay_without_database", error=str(error))
            connection.close()
            stop.wait(REST_SECONDS)
        except Exception:
            log.exception("outbox_relay_failed")
            stop.wait(REST_SECONDS)
    connection.close()


def _come(wakes: Waits, busy: bool) -> bool:
    """Wait until there is something to do, or it is time to look; return which."""
    ends = time.monotonic() + BUSY_SECONDS
    while busy and time.monotonic() < ends:
        if wakes.wait(POLL_SECONDS) or is_any_unnumbered():
            return True
    return wakes.wait(LOOK_SECONDS)
