"""The raw SQL of the app, each with a line saying why it is not the ORM."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import connection
from django.db.models import Model

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from django.db.models import Field

Row = TypeVar("Row", bound=Model)


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


def insert_unseen(rows: Sequence[Row], unique: Sequence[str]) -> list[Row]:
    """Insert the rows of which nothing has the same `unique` fields, and return those, in order, with their ids.

    Of two alike in `rows` the first counts. One statement: the ORM's bulk_create(ignore_conflicts) does not tell which
    rows were new.
    """
    if not rows:
        return []
    options: Any = rows[0]._meta
    written = [field for field in options.concrete_fields if not field.primary_key and not field.generated]
    columns = ", ".join(field.column for field in written)
    keys = [options.get_field(name) for name in unique]
    names = ", ".join(key.column for key in keys)
    statement = f"""
        INSERT INTO {options.db_table} ({columns})
        SELECT {columns} FROM unnest({_arrays(written)}) WITH ORDINALITY AS v({columns}, place) ORDER BY place
        ON CONFLICT ({names}) DO NOTHING RETURNING {options.pk.column}, {names}
    """  # noqa: S608 - only names of our own tables and columns go in
    with connection.cursor() as cursor:
        cursor.execute(statement, _values(written, rows))
        ids = {tuple(key): row_id for row_id, *key in cursor.fetchall()}
    new = []
    for row in rows:
        row_id = ids.pop(tuple(getattr(row, key.attname) for key in keys), None)
        if row_id is not None:
            row.pk = row_id
            new.append(row)
    return new


def update_together(rows: Sequence[Model], names: Sequence[str]) -> None:
    """Write these fields of all rows as they are in memory; the caller has locked them.

    One statement. The ORM's bulk_update writes a CASE for each column, which grows with the square of the rows.
    """
    if not rows:
        return
    options: Any = rows[0]._meta
    written = [options.get_field(name) for name in names]
    pk = options.pk.column
    columns = ", ".join([pk, *(field.column for field in written)])
    changes = ", ".join(f"{field.column} = v.{field.column}" for field in written)
    statement = f"""
        UPDATE {options.db_table} AS o SET {changes} FROM unnest({_arrays([options.pk, *written])}) AS v({columns})
        WHERE o.{pk} = v.{pk}
    """  # noqa: S608 - only names of our own tables and columns go in
    with connection.cursor() as cursor:
        cursor.execute(statement, _values([options.pk, *written], rows))


def _arrays(fields: "Iterable[Field[Any, Any]]") -> str:
    # Without the length: a cast would cut what is too long, where writing the column refuses it.
    kinds = (str(field.rel_db_type(connection)).partition("(")[0].replace("varchar", "text") for field in fields)
    return ", ".join(f"%s::{kind}[]" for kind in kinds)


def _values(fields: "Sequence[Field[Any, Any]]", rows: Sequence[Model]) -> list[list[Any]]:
    return [
        [field.get_db_prep_save(getattr(row, field.attname), connection=connection) for row in rows] for field in fields
    ]


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
        with connection.cursor() as cursor:
            cursor.execute(_END_SESSIONS, [list(column) for column in zip(*sorted(ends), strict=True)])


# The ORM cannot compare pairs with a list of pairs.
_KNOWN_USAGE = """
SELECT e.session_id, e.key FROM runners_usageentry AS e
JOIN unnest(%s::uuid[], %s::text[]) AS v(session_id, key) ON e.session_id = v.session_id AND e.key = v.key
"""


def known_usage(keys: Sequence[tuple[uuid.UUID, str]]) -> set[tuple[uuid.UUID, str]]:
    """Return those of the pairs of session and key that are in the ledger."""
    with connection.cursor() as cursor:
        cursor.execute(_KNOWN_USAGE, [list(column) for column in zip(*keys, strict=True)])
        return set(cursor.fetchall())


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
        with connection.cursor() as cursor:
            cursor.execute(statement, _as_columns(rows))


def _as_columns(rows: "Sequence[DataclassInstance]") -> list[list[Any]]:
    return [[getattr(row, column.name) for row in rows] for column in fields(rows[0])]
