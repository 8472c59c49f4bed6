"""A relay that stays: it hears the wake-ups itself, so that a commit is on its way in milliseconds."""

import threading
from typing import Protocol

import structlog
from django.db import DatabaseError, connection

from outbox.services.relay import relay_in_turn

#: Without a wake-up it looks this often, as the beat would: one may be lost, and failed entries fall due.
LOOK_SECONDS = 1.0
#: After the database was away.
REST_SECONDS = 1.0

log = structlog.get_logger(__name__)


class Waits(Protocol):
    def wait(self, seconds: float) -> bool: ...


def stay(wakes: Waits, stop: threading.Event) -> None:
    """Relay whenever `wakes` says so, until `stop` is set; no error ends it."""
    while not stop.is_set():
        try:
            relay_in_turn()
        except DatabaseError as error:
            log.warning("outbox_relay_without_database", error=str(error))
            stop.wait(REST_SECONDS)
        except Exception:
            log.exception("outbox_relay_failed")
            stop.wait(REST_SECONDS)
        if not wakes.wait(LOOK_SECONDS):
            # Back into the pool: in quiet times nobody holds it, and what has broken is not kept.
            connection.close()
    connection.close()
