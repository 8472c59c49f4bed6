"""Collect what a loop publishes and records, and write it at its end: one INSERT where there would be many."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from outbox.exceptions import OutsideTransaction

#: Inserts rows, thousands at once.
Insert = Callable[[list[Any]], object]


@dataclass
class _Bunch:
    depth: int
    rows: defaultdict[Insert, list[Any]] = field(default_factory=lambda: defaultdict(list))


_open: ContextVar[_Bunch | None] = ContextVar("bunch", default=None)


@contextmanager
def bunched() -> Iterator[None]:
    """Keep what is published, enqueued and recorded inside, and write it in that order when the block ends.

    For code that has a function for one (events.agent_moved) and does it to many. If the block raises, nothing is
    written; until it ends the rows have no ids. Only for the innermost loop: what is published in a transaction begun
    inside is refused, for that might be undone alone. Raises OutsideTransaction.
    """
    if _open.get() is not None:
        yield
        return
    bunch = _Bunch(_depth())
    token = _open.set(bunch)
    try:
        yield
    finally:
        _open.reset(token)
    for insert, rows in bunch.rows.items():
        insert(rows)


def keep(insert: Insert, row: Any) -> bool:
    """Keep a row for the end of the block, where one is open; return whether one is."""
    bunch = _open.get()
    if bunch is None:
        return False
    if _depth() != bunch.depth:
        raise OutsideTransaction("something was published in a transaction that began inside a bunch")
    bunch.rows[insert].append(row)
    return True


def _depth() -> int:
    """Return how many transactions are open within each other."""
    connection = transaction.get_connection()
    if not connection.in_atomic_block:
        raise OutsideTransaction("a bunch was begun outside a transaction")
    return len(connection.savepoint_ids)
