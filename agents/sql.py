"""The raw SQL of the app, each with a line saying why it is not the ORM."""

from collections.abc import Sequence
from datetime import date

from django.db import connection

# One statement that is right under concurrency without a retry: the row lock makes the next one wait for this commit,
# so numbers have no gaps but those of transactions that were rolled back. The ORM has no upsert that returns.
_TAKE_NUMBERS = """
INSERT INTO agents_jobday AS d (day, last_number) VALUES (%(day)s, %(count)s)
ON CONFLICT (day) DO UPDATE SET last_number = d.last_number + %(count)s
RETURNING last_number
"""


def take_job_numbers(day: date, count: int) -> range:
    """Return `count` numbers of the day that nobody else gets."""
    with connection.cursor() as cursor:
        cursor.execute(_TAKE_NUMBERS, {"day": day, "count": count})
        last = int(cursor.fetchone()[0])
    return range(last - count + 1, last + 1)


# All edges reachable from some jobs, in one query: the ORM has no recursive ones. UNION drops repeats, so that the work
# grows with the edges, not with the paths along them.
_REACHABLE = """
WITH RECURSIVE walk (job, needs) AS (
    SELECT job_id, needs_id FROM agents_dependency WHERE job_id = ANY(%s)
    UNION
    SELECT d.job_id, d.needs_id FROM walk w JOIN agents_dependency d ON d.job_id = w.needs
)
SELECT job, needs FROM walk
"""


def reachable_edges(starts: Sequence[str]) -> list[tuple[str, str]]:
    """Return every edge (job, what it needs) on the way from `starts` along what each needs."""
    with connection.cursor() as cursor:
        cursor.execute(_REACHABLE, [list(starts)])
        return [(job, needs) for job, needs in cursor.fetchall()]


# The ORM's slicing cannot delete what is past the newest n of a group in one statement.
_PRUNE_THOUGHTS = """
DELETE FROM agents_thought WHERE agent_id = %(agent)s AND id NOT IN (
    SELECT id FROM agents_thought WHERE agent_id = %(agent)s ORDER BY at DESC, id DESC LIMIT %(kept)s
)
"""


def prune_thoughts(agent_id: int, *, kept: int) -> None:
    """Delete all but the newest thoughts of an agent."""
    with connection.cursor() as cursor:
        cursor.execute(_PRUNE_THOUGHTS, {"agent": agent_id, "kept": kept})
