"""Keep the outbox's table small: each row is rewritten twice within milliseconds of its birth."""

import structlog
from django.db import connection

from outbox import prepared, sql

#: Fewer dead rows than this, or than this share of the living, are left to autovacuum.
MIN_DEAD = 20_000
SHARE = 0.1

log = structlog.get_logger(__name__)


def tend() -> bool:
    """Vacuum the table if much of it is dead; return whether that was so. Call it outside a transaction.

    Autovacuum would, but comes round once a minute (autovacuum_naptime), and no setting of a table changes that: at
    thousands of events a second a minute's dead rows are as large as the table. Who does not own the table leaves it
    to autovacuum: PostgreSQL then skips it with a warning.
    """
    rows = prepared.run(sql.DEAD_AND_LIVE, [])
    dead, live = rows[0] if rows else (0, 0)
    if dead < MIN_DEAD or dead < live * SHARE:
        return False
    with connection.cursor() as cursor:
        cursor.execute(sql.VACUUM)
    log.info("outbox_vacuumed", dead=dead, live=live)
    return True
