"""The transaction that wrote a row: by it, what was changed is matched with who changed it."""

from django.db.models import BigIntegerField, Func


class CurrentTransaction(Func):
    """PostgreSQL's number of the running transaction, as a column's default: it costs no statement."""

    function = "pg_current_xact_id"
    template = "%(function)s()::text::bigint"
    output_field = BigIntegerField()
