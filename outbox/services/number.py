"""Give committed entries their position in the stream."""

from django.db import connection, transaction

from outbox import sql

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
        more = _number_chunk() == CHUNK
        _, top = _stream_state()
        unnumbered = more
    return top


def _stream_state() -> tuple[bool, int]:
    """Return whether entries wait for a position, and the highest given."""
    with connection.cursor() as cursor:
        cursor.execute(sql.STREAM_STATE)
        unnumbered, top = cursor.fetchone()
    return bool(unnumbered), int(top)


def _number_chunk() -> int:
    # Two statements: the second must see what the holder before us has committed.
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql.LOCK_FOR_TRANSACTION, [sql.NUMBERING_LOCK])
        cursor.execute(sql.NUMBER, [CHUNK])
        return int(cursor.rowcount)
