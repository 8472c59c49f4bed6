"""Give committed entries their position in the stream."""

from django.db import connection

from outbox import prepared, sql

#: Rows numbered in one transaction: about 0.2 s, so that no reader waits long for the lock behind a backlog.
CHUNK = 10_000


def number_committed() -> int:
    """Number what has committed, and return how far the stream reaches; 0 for an empty one.

    Ids are taken before commit, so a reader of `id > last` skips whoever commits late, for ever. Positions are given
    after commit, by one process at a time: who has read position n will find every later entry past n.
    Call it outside a transaction; inside one the lock would be held, and the numbers hidden, until its end.
    """
    unnumbered, top = _stream_state()
    while unnumbered:
        numbered, top = _number_chunk()
        unnumbered = numbered == CHUNK
    return top


def _stream_state() -> tuple[bool, int]:
    """Return whether entries wait for a position, and the highest given."""
    ((unnumbered, top),) = prepared.run(sql.STREAM_STATE, [])
    return bool(unnumbered), int(top)


def _number_chunk() -> tuple[int, int]:
    """Give positions to some entries; return to how many, and the highest given."""
    with connection.cursor() as cursor:
        cursor.execute(sql.NUMBER, {"chunk": CHUNK})
        cursor.nextset()
        numbered = int(cursor.rowcount)
        cursor.nextset()
        _, top = cursor.fetchone()
    return numbered, int(top)
