"""Statements that run often enough to be worth preparing: the server parses and plans each once a connection."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import transaction

if TYPE_CHECKING:
    # What the other is with psycopg 3; django's stubs know only that of psycopg 2.
    from psycopg import Cursor as ServerBindingCursor
else:
    from django.db.backends.postgresql.base import ServerBindingCursor


class _PreparedCursor(ServerBindingCursor):
    """Sends values apart from the statement, and has the server keep the statement."""

    def execute(self, query: Any, params: Any = None) -> Any:  # type: ignore[override]
        # Off behind a PgBouncer that hands each transaction another session.
        return super().execute(query, params, prepare=settings.DATABASE_PREPARED_STATEMENTS)


def run(statement: str, values: Sequence[Any] | dict[str, Any]) -> list[tuple[Any, ...]]:
    """Run a statement on Django's connection, inside its transaction, and return the rows it answers with."""
    connection: Any = transaction.get_connection()
    connection.ensure_connection()
    make = connection.make_debug_cursor if connection.queries_logged else connection.make_cursor
    with make(_PreparedCursor(connection.connection)) as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall()) if cursor.description else []
