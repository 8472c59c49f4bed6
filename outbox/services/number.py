"""Give committed entries their position in the stream."""

from collections import Counter
from dataclasses import dataclass

from django.db import connection

from outbox import prepared, sql
from outbox.services.ground import ground, rise

#: Rows numbered in one transaction: about 0.2 s, so that no reader waits long for the lock behind a backlog.
CHUNK = 10_000


@dataclass(frozen=True, slots=True)
class Numbered:
    """How far the stream reaches, and how many entries of each lane got a position just now."""

    top: int
    lanes: Counter[int]


def number_committed() -> int:
    """Number what has committed, and return how far the stream reaches; 0 for an empty one.

    Ids are taken before commit, so a reader of `id > last` skips whoever commits late, for ever. Positions are given
    after commit, by one process at a time: who has read position n will find every later entry past n.
    Call it outside a transaction; inside one the lock would be held, and the numbers hidden, until its end.
    """
    unnumbered, top = _stream_state()
    return number_now().top if unnumbered else top


def is_any_unnumbered() -> bool:
    """Return whether an entry has been committed that has no position yet."""
    return _stream_state()[0]


def number_now() -> Numbered:
    """Do the same without asking first whether there is anything, and tell in which lanes it was."""
    lanes = Counter[int]()
    while True:
        given, top = _number_chunk()
        lanes.update(given)
        if len(given) < CHUNK:
            return Numbered(top, lanes)


def _stream_state() -> tuple[bool, int]:
    """Return whether entries wait for a position, and the highest given."""
    stood = ground()
    ((unnumbered, top, ended, reached),) = prepared.run(sql.STREAM_STATE, [stood.id])
    if not unnumbered:
        rise(stood, ended=ended, reached=reached)
    return bool(unnumbered), int(top)


def _number_chunk() -> tuple[list[int], int]:
    """Give positions to some entries; return their lanes, and the highest position given."""
    stood = ground()
    with connection.cursor() as cursor:
        cursor.execute(sql.NUMBER, {"chunk": CHUNK, "ground": stood.id})
        ended, _ = cursor.fetchone()
        cursor.nextset()
        lanes = [lane for (lane,) in cursor.fetchall()]
        cursor.nextset()
        top, reached = cursor.fetchone()
    if len(lanes) < CHUNK:
        rise(stood, ended=ended, reached=reached)
    return lanes, int(top)
