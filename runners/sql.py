"""The raw SQL of the app, each with a line saying why it is not the ORM."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

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


# Adds where the ORM's bulk_create(update_conflicts) would replace.
_ADD_REDACTIONS = """
INSERT INTO runners_redaction AS r (runner_id, session_id, kind, rule, fingerprint, places, first_at)
SELECT runner_id, session_id, kind, rule, fingerprint, places, now()
FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::int[], %s::int[])
     AS v(runner_id, session_id, kind, rule, fingerprint, places)
ORDER BY runner_id, kind, rule, fingerprint
ON CONFLICT (runner_id, kind, rule, fingerprint) DO UPDATE SET places = r.places + EXCLUDED.places
"""


@dataclass(frozen=True)
class Redacted:
    """How often one secret was redacted in what a runner left; each once in a statement."""

    runner_id: uuid.UUID
    session_id: uuid.UUID | None
    kind: str
    rule: str
    fingerprint: int
    places: int


def add_redactions(rows: Sequence[Redacted]) -> None:
    """Count what was redacted."""
    if rows:
        with connection.cursor() as cursor:
            cursor.execute(_ADD_REDACTIONS, [list(column) for column in zip(*map(astuple, rows), strict=True)])


# Adds where the ORM's bulk_create(update_conflicts) would replace. One statement for all budgets of a batch: the rows
# are locked in their order, so two batches that touch the same budgets never wait for each other in a circle.
_ADD_TO_PERIODS = """
INSERT INTO runners_budgetperiod AS p
    (budget_id, starts_at, ends_at, used_tokens, used_usd, unknown_tokens, alerted)
SELECT budget_id, starts_at, ends_at, used_tokens, used_usd, unknown_tokens, 0
FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::bigint[], %s::numeric[], %s::bigint[])
     AS v(budget_id, starts_at, ends_at, used_tokens, used_usd, unknown_tokens)
ORDER BY budget_id, starts_at
ON CONFLICT (budget_id, starts_at) DO UPDATE
SET used_tokens = p.used_tokens + EXCLUDED.used_tokens,
    used_usd = p.used_usd + EXCLUDED.used_usd,
    unknown_tokens = p.unknown_tokens + EXCLUDED.unknown_tokens
RETURNING id, budget_id, starts_at, ends_at, used_tokens, used_usd, unknown_tokens, alerted
"""


@dataclass(frozen=True)
class Addition:
    """What is added to one period of a budget."""

    budget_id: int
    starts_at: datetime
    ends_at: datetime
    tokens: int
    usd: Decimal
    unknown_tokens: int


def add_to_periods(additions: Sequence[Addition]) -> list[dict[str, Any]]:
    """Add to the periods' totals, each period once; return them as they are now. Their rows are locked."""
    if not additions:
        return []
    columns = [list(column) for column in zip(*(astuple(addition) for addition in additions), strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(_ADD_TO_PERIODS, columns)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


#: Space of the advisory locks of budgets. A launch holds those that count it, with others; whoever acts on a spent one
#: waits until no launch does that has not seen it spent.
BUDGET_LOCK = 7105


def hold_budgets(ids: Iterable[int]) -> None:
    """Have whoever acts on these budgets wait for this transaction; others may hold them too."""
    with connection.cursor() as cursor:
        for budget_id in sorted(ids):
            cursor.execute("SELECT pg_advisory_xact_lock_shared(%s, %s)", [BUDGET_LOCK, budget_id])


def database_now() -> datetime:
    """Return the time by the database's clock: the one that all machines share. The ORM has no way to ask it alone."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


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


@dataclass(frozen=True)
class NewChunk:
    """A piece of a message, to be searched."""

    message_id: int
    position: int
    text: str


# The ORM's bulk_create would have every generated tsvector sent back, which is longer than the text itself. And what
# waits for a vector is written by the same statement.
_INSERT_CHUNKS = """
WITH new AS (
    INSERT INTO runners_messagechunk (message_id, position, text)
    SELECT message_id, position, text FROM unnest(%s::bigint[], %s::int[], %s::text[]) AS v(message_id, position, text)
    ON CONFLICT (message_id, position) DO NOTHING
    RETURNING id
)
INSERT INTO runners_waitingchunk (chunk_id, model_id, due_at, attempts, error)
SELECT new.id, m.id, now(), 0, '' FROM new CROSS JOIN runners_embeddingmodel m WHERE m.in_use
"""


def insert_chunks(chunks: Sequence[NewChunk]) -> bool:
    """Write chunks of messages in one statement; those that are there already stay. Say if any waits for a vector."""
    if not chunks:
        return False
    columns = [list(column) for column in zip(*(astuple(chunk) for chunk in chunks), strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(_INSERT_CHUNKS, columns)
        return bool(cursor.rowcount)
