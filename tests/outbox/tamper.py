"""Change the audit log as somebody may who owns the database: behind the triggers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction

from outbox.models import AuditEntry
from outbox.services import record_act


def act(n: int = 1, **facts: Any) -> AuditEntry:
    """Record one act in a transaction of its own."""
    with transaction.atomic():
        return record_act(
            **{
                "action": "runner.stop",
                "actor": "user:ada",
                "target_type": "runner",
                "target_id": n,
                "target_name": f"demo-{n}",
                **facts,
            }
        )


@contextmanager
def _behind_the_triggers() -> Iterator[Any]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        yield cursor


def tamper(statement: str, *values: object) -> None:
    """Run raw SQL with all triggers off."""
    with _behind_the_triggers() as cursor:
        cursor.execute(statement, values)
