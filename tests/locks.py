"""Who waits for a lock: asked of PostgreSQL, of this test's own database alone."""

from django.db import connection


def somebody_waits_for_a_lock() -> bool:
    """Say whether another connection waits for a lock of any kind."""
    return _is_there("SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")


def somebody_waits_for(space: int, key: int) -> bool:
    """Say whether another connection waits for the advisory lock (space, key)."""
    return _is_there(
        "SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = database WHERE datname = current_database() "
        "AND locktype = 'advisory' AND NOT granted AND (classid, objid) = (%s, %s)",
        space,
        key,
    )


def _is_there(query: str, *values: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT EXISTS ({query})", values)
        return bool(cursor.fetchone()[0])
