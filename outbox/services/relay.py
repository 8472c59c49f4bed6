"""Deliver what the outbox holds."""

import threading
import time
from collections.abc import Collection, Sequence

import structlog
from django.conf import settings

from outbox import prepared, sql
from outbox.envelope import Outgoing
from outbox.exceptions import BrokerMismatch, BrokerUnavailable
from outbox.services.claim import FLOORS, claim, enough_for_a_batch, locked_lanes, ready_lanes
from outbox.services.number import number_now
from outbox.services.wake import wake
from outbox.sinks import exchange, handlers, news, task
from outbox.sinks.outcome import Outcome

#: One call ends after so long and lets the next wake-up go on: a worker's task should not run for ever.
TURN_SECONDS = 20.0
#: While new entries come in, what was left over and what is due again waits at most so long for a look at all lanes.
LOOK_SECONDS = 0.05

log = structlog.get_logger(__name__)


_busy = threading.Lock()
_again = threading.Event()


def relay_in_turn() -> int:
    """Do `relay_all` unless another thread of this process is at it: then that one looks once more, for this one too.

    Wake-ups come faster than a relay looks; threads that answered each would share a few entries, at the price of a
    look for each. Processes still relay side by side.
    """
    settled = 0
    _again.set()
    while _again.is_set() and _busy.acquire(blocking=False):
        try:
            _again.clear()
            settled += relay_all()
        finally:
            _busy.release()
    return settled


def relay_all() -> int:
    """Number, deliver and mark whatever is due; return how many entries were settled.

    Any number of relays may run at once: they share the lanes. With the broker away it returns at once, and what was
    not delivered stays as it was.
    """
    settled, count, idle = 0, 0, set[int]()
    begun = looked_at = time.monotonic()
    while True:
        numbered = number_now()
        news.tell(numbered.top)
        lanes: list[int] = []
        if count < settings.OUTBOX_BATCH // 2 and time.monotonic() - looked_at < LOOK_SECONDS:
            # What just got a position is what there is to deliver, as a rule: that saves a look at every lane.
            lanes = enough_for_a_batch((lane, n) for lane, n in numbered.lanes.items() if lane not in idle)
        if not lanes:
            looked_at = time.monotonic()
            lanes = ready_lanes(without=idle)
        if not lanes:
            return settled
        try:
            count = relay_once(lanes)
        except (BrokerUnavailable, BrokerMismatch) as error:
            log.warning("outbox_waits_for_broker", error=str(error))
            return settled
        settled += count
        if not count:
            # Another relay has them, or all that waits there waits for something that failed.
            idle.update(lanes)
        if time.monotonic() > begun + TURN_SECONDS:
            wake()
            return settled


def relay_once(lanes: Collection[int]) -> int:
    """Deliver one batch of those of `lanes` that no other relay works on; return how many entries were settled.

    Killed at any point it loses nothing: what was not marked goes out again. Raises BrokerUnavailable or BrokerMismatch
    after marking what did arrive.
    """
    with locked_lanes(lanes) as locked:
        batch = claim(locked)
        if not batch.entries:
            return 0
        outcome = deliver(batch.entries)
        mark(outcome)
        settled = {*outcome.delivered, *outcome.failed}
        FLOORS.settle(batch, settled)
    if outcome.unavailable:
        raise BrokerUnavailable(outcome.unavailable)
    return len(settled)


def deliver(batch: Sequence[Outgoing]) -> Outcome:
    """Bring a batch to its sinks. Raises BrokerUnavailable or BrokerMismatch before anything was tried."""
    outcome = Outcome()
    events = [entry for entry in batch if entry.is_event]
    if events and exchange.enabled():
        # Before the handlers: with the broker away they would be called again every second.
        exchange.connect()
    ready = [entry for entry in batch if entry.aggregate not in outcome.held and _accepted(entry, outcome)]
    ready = handlers.handle_together([entry for entry in ready if entry.is_event], outcome)
    if exchange.enabled():
        exchange.publish(ready, outcome)
    else:
        outcome.delivered += [entry.id for entry in ready]
    return outcome


def mark(outcome: Outcome) -> None:
    """Write down what became of a batch: one statement for what arrived, one for what failed."""
    if outcome.delivered:
        prepared.run(sql.MARK_DELIVERED, {"ids": outcome.delivered})
    if outcome.failed:
        failures = outcome.failed.values()
        prepared.run(
            sql.MARK_FAILED,
            {
                "ids": list(outcome.failed),
                "errors": [failure.error for failure in failures],
                "finals": [failure.final for failure in failures],
            },
        )


def _accepted(entry: Outgoing, outcome: Outcome) -> bool:
    """Call the handlers of an event, or send a task; return whether all went well."""
    try:
        if entry.is_event:
            handlers.handle(entry)
        else:
            task.send(entry)
            outcome.delivered.append(entry.id)
    except BrokerUnavailable as error:
        outcome.unavailable = str(error)
        outcome.held.add(entry.aggregate)
        return False
    except Exception as error:
        log.exception("outbox_entry_failed", entry=entry.id, type=entry.type)
        outcome.fail(entry, f"{type(error).__name__}: {error}")
        return False
    return True
