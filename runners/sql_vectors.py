"""The raw SQL of vectors, each with a line saying why it is not the ORM."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection, transaction

from runners.embedders.base import Vector

#: Space of the advisory lock under which models are registered, made ready and removed.
EMBEDDING_LOCK = 7107

# Of pgvector 0.8's defaults: links of a node, and what is looked at when one is put in.
_LINKS, _BUILD_WIDTH = 16, 64

# The ORM makes indexes in migrations alone. This one is for a model that came with the settings: its cast fixes the
# dimension, as HNSW wants it, and its condition keeps other models out.
_CREATE_INDEX = """
CREATE INDEX IF NOT EXISTS {name} ON runners_chunkvector
USING hnsw ((embedding::halfvec({dimension})) halfvec_cosine_ops)
WITH (m = {links}, ef_construction = {width}) WHERE model_id = {model}
"""


def index_name(model_id: int, dimension: int) -> str:
    return f"chunk_vector_{int(model_id)}_{int(dimension)}_hnsw"


def create_index(model_id: int, dimension: int) -> None:
    """Make the index of one model. Whoever writes vectors waits for it, but nobody who searches or says something."""
    statement = _CREATE_INDEX.format(
        name=index_name(model_id, dimension),
        dimension=int(dimension),
        links=_LINKS,
        width=_BUILD_WIDTH,
        model=int(model_id),
    )
    with connection.cursor() as cursor:
        cursor.execute(statement)


def drop_index(model_id: int, dimension: int) -> None:
    """Remove the index of a model that nobody asks any more."""
    with connection.cursor() as cursor:
        cursor.execute(f"DROP INDEX IF EXISTS {index_name(model_id, dimension)}")


# One statement, where the ORM would read 100,000 ids to write them back.
_QUEUE_MISSING = """
INSERT INTO runners_waitingchunk (chunk_id, model_id, due_at, attempts, error)
SELECT c.id, %(model)s, now(), 0, ''
FROM runners_messagechunk c
WHERE NOT EXISTS (SELECT FROM runners_chunkvector v WHERE v.chunk_id = c.id AND v.model_id = %(model)s)
ON CONFLICT (chunk_id, model_id) DO NOTHING
"""


# Whoever wrote a vector while the statement above looked has taken the chunk out of the queue, and that put it back.
_UNQUEUE_EMBEDDED = """
DELETE FROM runners_waitingchunk w USING runners_chunkvector v
WHERE w.model_id = %(model)s AND v.model_id = %(model)s AND v.chunk_id = w.chunk_id
"""


def queue_missing(model_id: int) -> int:
    """Have every chunk wait that has no vector of the model, and does not wait yet; return how many."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_QUEUE_MISSING, {"model": model_id})
        queued = cursor.rowcount
        cursor.execute(_UNQUEUE_EMBEDDED, {"model": model_id})
        return int(queued - cursor.rowcount)


@dataclass(frozen=True)
class Claimed:
    """A chunk that is this worker's to embed until its lease ends; without text its message is gone."""

    id: int
    chunk_id: int
    attempts: int
    text: str | None


# UPDATE ... FROM (SELECT ... FOR UPDATE SKIP LOCKED) RETURNING: several workers share, and none waits for another. The
# newest first: they are looked for most. Those that failed come one by one, after all others.
_CLAIM = """
WITH batch AS (
    SELECT id FROM runners_waitingchunk
    WHERE model_id = %(model)s AND due_at <= clock_timestamp() AND {kind}
    ORDER BY chunk_id DESC
    LIMIT %(room)s
    FOR UPDATE SKIP LOCKED
), taken AS (
    UPDATE runners_waitingchunk w SET due_at = clock_timestamp() + make_interval(secs => %(lease)s)
    FROM batch WHERE w.id = batch.id
    RETURNING w.id, w.chunk_id, w.attempts
)
SELECT taken.id, taken.chunk_id, taken.attempts, c.text
FROM taken LEFT JOIN runners_messagechunk c ON c.id = taken.chunk_id
ORDER BY taken.chunk_id DESC
"""


def claim(model_id: int, *, room: int, lease_seconds: float) -> list[Claimed]:
    """Lease due chunks: at most `room` that never failed, or else one that did."""
    for kind, most in (("attempts = 0", room), ("attempts > 0", 1)):
        with connection.cursor() as cursor:
            cursor.execute(_CLAIM.format(kind=kind), {"model": model_id, "room": most, "lease": lease_seconds})
            if rows := cursor.fetchall():
                return [Claimed(*row) for row in rows]
    return []


# The join drops chunks that were deleted meanwhile, and the lock keeps the others until the vectors stand.
_INSERT_VECTORS = """
INSERT INTO runners_chunkvector (chunk_id, model_id, embedding)
SELECT c.id, %s, v.embedding::halfvec
FROM unnest(%s::bigint[], %s::text[]) AS v(chunk_id, embedding)
JOIN (SELECT id FROM runners_messagechunk WHERE id = ANY(%s) FOR KEY SHARE) c ON c.id = v.chunk_id
ON CONFLICT (chunk_id, model_id) DO NOTHING
"""


def insert_vectors(model_id: int, chunk_ids: Sequence[int], vectors: Sequence[Vector]) -> None:
    """Write the vectors of chunks in one statement; of a chunk that has one already it stays."""
    ids = list(chunk_ids)
    with connection.cursor() as cursor:
        cursor.execute(_INSERT_VECTORS, [model_id, ids, [literal(vector) for vector in vectors], ids])


# The ORM would read the ids first.
_DELETE_SOME = """
DELETE FROM runners_chunkvector WHERE id IN (SELECT id FROM runners_chunkvector WHERE model_id = %s LIMIT %s)
"""


def delete_some_vectors(model_id: int, count: int) -> int:
    """Delete some of a model's vectors; return how many. In one go they would hold up what is written meanwhile."""
    with connection.cursor() as cursor:
        cursor.execute(_DELETE_SOME, [model_id, count])
        return int(cursor.rowcount)


def literal(vector: Vector) -> str:
    """Return a vector as PostgreSQL reads it. Seven digits are more than half precision keeps."""
    return "[" + ",".join(f"{x:.7g}" for x in vector) + "]"
