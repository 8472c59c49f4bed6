"""Take a batch of entries to deliver: lock lanes, then read what is due in them."""

import random
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError, connection

from outbox import prepared, sql
from outbox.envelope import Outgoing

#: How long a floor is trusted; then the lane is read from its beginning again.
FLOOR_SECONDS = 30.0

log = structlog.get_logger(__name__)


class Floors:
    """Below which position a lane holds nothing that was never tried.

    The index keeps entries of delivered rows until vacuum may remove them, which a long transaction elsewhere prevents.
    Reading past them costs more with each row delivered (6 ms become 34 in a minute), so the relay starts behind them.
    Safe because positions are given in commit order: nothing new appears below.
    """

    def __init__(self) -> None:
        self._floors: dict[int, int] = {}
        self._since = time.monotonic()

    def of(self, lanes: Sequence[int]) -> list[int]:
        if time.monotonic() - self._since > FLOOR_SECONDS:
            self._floors.clear()
            self._since = time.monotonic()
        return [self._floors.get(lane, 0) for lane in lanes]

    def settle(self, batch: "Batch", settled: Collection[int]) -> None:
        """Raise the floor of each lane of which nothing was left out and all was settled; forget the others'."""
        stays = batch.troubled | {entry.lane for entry in batch.entries if entry.id not in settled}
        for entry in batch.entries:
            if entry.lane in stays:
                self._floors.pop(entry.lane, None)
            else:
                self._floors[entry.lane] = max(entry.sequence, self._floors.get(entry.lane, 0))


FLOORS = Floors()


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries to deliver now, and the lanes in which others wait behind a failed one."""

    entries: list[Outgoing]
    troubled: set[int]


def ready_lanes(without: Collection[int]) -> list[int]:
    """Return lanes with enough work for one batch, chosen at random so that relays spread over them."""
    lanes = [lane for lane in range(settings.OUTBOX_LANES) if lane not in without]
    waiting: Any = prepared.run(
        sql.READY_LANES, {"lanes": lanes, "floors": FLOORS.of(lanes), "limit": settings.OUTBOX_BATCH}
    )
    return enough_for_a_batch(waiting)


def enough_for_a_batch(waiting: Iterable[tuple[int, int]]) -> list[int]:
    """Return some of these lanes, given with how many entries wait in each."""
    shuffled = list(waiting)
    random.shuffle(shuffled)
    chosen, total = [], 0
    for lane, count in shuffled:
        if total >= settings.OUTBOX_BATCH:
            break
        chosen.append(lane)
        total += count
    return chosen


@contextmanager
def locked_lanes(lanes: Collection[int]) -> Iterator[list[int]]:
    """Hold the locks of those of `lanes` that no other relay holds. A killed relay's locks end with its connection."""
    locked = [lane for (lane,) in prepared.run(sql.LOCK_LANES, {"lock": sql.LANE_LOCK, "lanes": list(lanes)})]
    try:
        yield locked
    finally:
        _unlock(locked)


def claim(lanes: Sequence[int]) -> Batch:
    """Return what is due in `lanes`, in order within each aggregate. The lanes' locks must be held.

    No row is locked and no transaction stays open: only the holder of a lane's lock moves its pending rows.
    """
    if not lanes:
        return Batch([], set())
    limit = settings.OUTBOX_BATCH
    rows = prepared.run(sql.CLAIM_FRESH, {"lanes": list(lanes), "floors": FLOORS.of(lanes), "limit": limit})
    fresh = [Outgoing(*row[:-1]) for row in rows]
    troubled = {row[1] for row in rows if row[-1]}
    # A lane that has something new and nothing failed need not be asked what failed.
    untroubled = {entry.lane for entry in fresh} - troubled
    others = [lane for lane in lanes if lane not in untroubled]
    failed = []
    if others:
        failed = [Outgoing(*row) for row in prepared.run(sql.CLAIM_FAILED, {"lanes": others, "limit": limit})]
    troubled |= {entry.lane for entry in failed}
    in_order = sorted(failed + fresh, key=lambda entry: entry.sequence)
    return Batch(in_order[: settings.OUTBOX_BATCH], troubled)


def _unlock(lanes: list[int]) -> None:
    try:
        ((released,),) = prepared.run(sql.UNLOCK_LANES, {"lock": sql.LANE_LOCK, "lanes": lanes})
    except DatabaseError:
        released = False
    if lanes and not released:
        # Back in the pool it would keep the lanes locked: end the session itself.
        log.warning("outbox_lanes_not_unlocked", lanes=lanes)
        if connection.connection is not None:
            connection.connection.close()
        connection.close()
