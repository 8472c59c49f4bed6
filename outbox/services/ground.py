"""From where on the table is looked at for entries without a position."""

import time
from dataclasses import dataclass

from django.db import connection

from outbox import prepared, sql

#: How long a ground is trusted; then the table is looked at from its beginning again.
GROUND_SECONDS = 30.0
#: So many entries are looked past, in a fraction of a millisecond, before it is worth a statement to raise the ground.
STRIDE = 1_000


@dataclass(frozen=True, slots=True)
class Ground:
    """All entries up to `id` have their position.

    The index of those without keeps what has been numbered until vacuum may remove it, which a long transaction
    elsewhere prevents. Reading past that costs more with each event (1 ms becomes 76 in a minute), so a look begins
    behind it.

    That nothing without a position was seen is not enough: ids are taken before commit. All transactions must have
    ended that may have taken one up to there. PUBLISH takes an id only once its transaction has a number, so they are
    among those with a number below one that is given afterwards.
    """

    id: int = 0
    #: What is to become the ground once each transaction below `before` has ended.
    candidate: int = 0
    before: int = 0


_ground = Ground()
_since = time.monotonic()


def ground() -> Ground:
    """Return what this process stands on. To be asked before a look, and given to `rise` after it."""
    global _ground, _since
    if time.monotonic() - _since > GROUND_SECONDS:
        _ground, _since = Ground(), time.monotonic()
    return _ground


def rise(stood: Ground, *, ended: int, reached: int) -> None:
    """Take note of a look from `stood` on, after which nothing was left without a position.

    When it began, all transactions below `ended` had ended; up to `reached` ids had been taken.
    """
    global _ground
    if connection.in_atomic_block or ended < stood.before:
        return  # what was numbered in a transaction may be undone
    now = Ground(stood.candidate, stood.candidate)
    if reached > now.id + STRIDE:
        ((before,),) = prepared.run(sql.NEW_TRANSACTION, [])
        now = Ground(now.id, reached, int(before))
    _ground = now
