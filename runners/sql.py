"""The raw SQL of the app, each with a line saying why it is not the ORM."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.db import connection

from outbox import prepared
from runners.states import OCCUPYING, TERMINAL

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def lock_for_transaction(space: int, key: int) -> None:
    """Take the advisory lock (space, key) until the transaction ends. The ORM has no advisory locks.

    Raises RuntimeError outside a transaction, where the lock would be gone at once.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("an advisory lock was asked for outside a transaction")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [space, key])


def lock_all_for_transaction(space: int, keys: Sequence[int]) -> None:
    """Take several locks of a space, in their order."""
    if not connection.in_atomic_block:
        raise RuntimeError("an advisory lock was asked for outside a transaction")
    ordered = sorted(keys)
    prepared.run("SELECT pg_advisory_xact_lock(%s, key) FROM unnest(%s::int[]) AS key", [space, ordered])


def _words(statuses: Iterable[str]) -> str:
    return ", ".join(f"'{status}'" for status in sorted(statuses))


# Of all runners there were, only those that are not at their end: by the condition of the indexes, word for word.
_AT_WORK = f"status IN ({_words(OCCUPYING)}) AND NOT (status IN ({_words(TERMINAL)}))"

# Two answers for one question. Counted by the database: launches ask it while they hold the project's lock.
_QUOTA = f"""
SELECT (SELECT max_concurrent_runners FROM runners_resourcequota WHERE project_id = asked.project_id),
    (SELECT count(*) FROM runners_runner WHERE project_id = asked.project_id AND {_AT_WORK})
FROM (SELECT %s::bigint AS project_id) AS asked
"""  # noqa: S608 - only our own words go in


def quota_and_use(project_id: int) -> tuple[int | None, int]:
    """Return how many runners a project may have at once, if anybody said, and how many it has."""
    ((limit, used),) = prepared.run(_QUOTA, [project_id])
    return limit, used


# The ORM joins all runners that a node ever had to count those it has.
_FREE_SLOTS = f"""
SELECT node.id, node.slots - (
    SELECT count(*) FROM runners_runner WHERE node_id = node.id AND {_AT_WORK}
) FROM runners_node AS node WHERE node.status = 'online' AND node.id = ANY(%s)
"""  # noqa: S608 - only our own words go in


def free_slots(node_ids: Sequence[int]) -> dict[int, int]:
    """Return how many slots are free on those of the nodes that are online."""
    return dict(prepared.run(_FREE_SLOTS, [list(node_ids)]))


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
            cursor.execute(_ADD_REDACTIONS, _as_columns(rows))


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
    with connection.cursor() as cursor:
        cursor.execute(_ADD_TO_PERIODS, _as_columns(additions))
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
# The rows are locked in the order in which ingest locks them: neither waits for the other in a circle.
_WRITE_VITALS = """
WITH v AS (
    SELECT * FROM unnest(%s::uuid[], %s::int[], %s::timestamptz[], %s::float8[], %s::float8[], %s::int[], %s::bigint[])
        AS v(runner_id, generation, observed_at, cpu_percent, memory_mb, process_count, output_bytes)
), locked AS (
    SELECT runner_id, generation FROM runners_observation WHERE runner_id IN (SELECT runner_id FROM v)
    ORDER BY runner_id FOR UPDATE
)
UPDATE runners_observation AS o
SET observed_at = v.observed_at, cpu_percent = v.cpu_percent, memory_mb = v.memory_mb,
    process_count = v.process_count, output_bytes = v.output_bytes
FROM v JOIN locked USING (runner_id, generation)
WHERE o.runner_id = v.runner_id
"""


def write_vitals(rows: Sequence[Vitals]) -> int:
    """Write the figures of many runners; rows of an older generation are passed over. Returns how many were written."""
    if not rows:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(_WRITE_VITALS, _as_columns(rows))
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
    with connection.cursor() as cursor:
        cursor.execute(_INSERT_CHUNKS, _as_columns(chunks))
        return bool(cursor.rowcount)


# Adds up in the database, where the ORM would have one UPDATE for each session.
_ADD_TALK = """
UPDATE runners_session AS s
SET message_count = s.message_count + v.messages, last_message_at = v.last_at
FROM unnest(%s::uuid[], %s::int[], %s::timestamptz[]) AS v(session_id, messages, last_at)
WHERE s.id = v.session_id
"""


@dataclass(frozen=True)
class Talk:
    """What a session gained in messages."""

    session_id: uuid.UUID
    messages: int
    last_at: datetime


def add_talk(gains: Sequence[Talk]) -> None:
    """Add to the sessions' counts of messages, each session once."""
    _for_each(_ADD_TALK, gains)


# As _ADD_TALK. The sum is reported if all of it is, else partly priced by us, or partly unknown.
_ADD_USAGE = """
UPDATE runners_session AS s
SET input_tokens = s.input_tokens + v.input_tokens,
    output_tokens = s.output_tokens + v.output_tokens,
    cache_read_tokens = s.cache_read_tokens + v.cache_read_tokens,
    cache_write_tokens = s.cache_write_tokens + v.cache_write_tokens,
    cost_usd = CASE WHEN v.cost_usd IS NULL THEN s.cost_usd ELSE coalesce(s.cost_usd, 0) + v.cost_usd END,
    cost_source = coalesce((
        SELECT CASE WHEN bool_or(source = 'unknown') THEN 'unknown' ELSE 'priced' END FROM runners_usageentry
        WHERE session_id = s.id AND source <> 'reported' AND settled_by_id IS NULL
        HAVING count(*) > 0
    ), 'reported')
FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::numeric[])
     AS v(session_id, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost_usd)
WHERE s.id = v.session_id
"""


# As _ADD_TALK.
_END_SESSIONS = """
UPDATE runners_session AS s SET ended_at = v.ended_at
FROM unnest(%s::uuid[], %s::timestamptz[]) AS v(session_id, ended_at) WHERE s.id = v.session_id
"""


def end_sessions(ends: Sequence[tuple[uuid.UUID, datetime]]) -> None:
    """Note when the last runner of each of these sessions ended."""
    if ends:
        prepared.run(_END_SESSIONS, [list(column) for column in zip(*sorted(ends), strict=True)])


# The ORM cannot compare pairs with a list of pairs.
_KNOWN_USAGE = """
SELECT e.session_id, e.key FROM runners_usageentry AS e
JOIN unnest(%s::uuid[], %s::text[]) AS v(session_id, key) ON e.session_id = v.session_id AND e.key = v.key
"""


def known_usage(keys: Sequence[tuple[uuid.UUID, str]]) -> set[tuple[uuid.UUID, str]]:
    """Return those of the pairs of session and key that are in the ledger."""
    found = prepared.run(_KNOWN_USAGE, [list(column) for column in zip(*keys, strict=True)])
    return {(session_id, key) for session_id, key in found}


@dataclass(frozen=True)
class Used:
    """What a session gained in usage; a cost of None: nothing of it is known."""

    session_id: uuid.UUID
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cost_usd: Decimal | None


def add_used(gains: Sequence[Used]) -> None:
    """Add to the sessions' totals, each session once, and say anew where their cost comes from."""
    _for_each(_ADD_USAGE, gains)


def _for_each(statement: str, rows: "Sequence[DataclassInstance]") -> None:
    """Run a statement over the rows, each field of them as one array."""
    if rows:
        prepared.run(statement, _as_columns(rows))


def _as_columns(rows: "Sequence[DataclassInstance]") -> list[list[Any]]:
    return [[getattr(row, column.name) for row in rows] for column in fields(rows[0])]
