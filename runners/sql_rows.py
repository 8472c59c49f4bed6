"""Rows of any model written by the hundred: one prepared statement with an array for each column.

The ORM compiles a statement for each call, and one that grows with the rows.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import connection
from django.db.models import Model

from outbox import prepared

if TYPE_CHECKING:
    from django.db.models import Field

Row = TypeVar("Row", bound=Model)


def insert_all(rows: Sequence[Row]) -> None:
    """Insert new rows that have their ids, in one statement, whatever their number."""
    if rows:
        kind: Any = type(rows[0])
        written = _written(kind, ids=True)
        prepared.run(_insertion(kind, ids=True), _values(written, rows))
        for row in rows:
            row._state.adding = False


def insert_unseen(rows: Sequence[Row], unique: tuple[str, ...]) -> list[Row]:
    """Insert the rows of which nothing has the same `unique` fields, and return those, in order, with their ids.

    Of two alike in `rows` the first counts. One statement: the ORM's bulk_create(ignore_conflicts) does not tell which
    rows were new.
    """
    if not rows:
        return []
    kind: Any = type(rows[0])
    keys = [kind._meta.get_field(name) for name in unique]
    names = ", ".join(key.column for key in keys)
    statement = f"{_insertion(kind)} ON CONFLICT ({names}) DO NOTHING RETURNING {kind._meta.pk.column}, {names}"
    found = prepared.run(statement, _values(_written(kind), rows))
    ids = {tuple(key): row_id for row_id, *key in found}
    new = []
    for row in rows:
        row_id = ids.pop(tuple(getattr(row, key.attname) for key in keys), None)
        if row_id is not None:
            row.pk = row_id
            row._state.adding = False
            new.append(row)
    return new


def update_together(rows: Sequence[Model], names: tuple[str, ...]) -> None:
    """Write these fields of all rows as they are in memory; the caller has locked them.

    One statement. The ORM's bulk_update writes a CASE for each column, which grows with the square of the rows.
    """
    if rows:
        options: Any = rows[0]._meta
        written = [options.pk, *(options.get_field(name) for name in names)]
        prepared.run(_change(type(rows[0]), names), _values(written, rows))


@cache
def _written(kind: Any, *, ids: bool = False) -> "list[Field[Any, Any]]":
    """Return the fields that an INSERT gives."""
    fields = kind._meta.concrete_fields
    return [field for field in fields if not field.generated and (ids or not field.primary_key)]


@cache
def _insertion(kind: Any, *, ids: bool = False) -> str:
    """Return an INSERT that takes each column as one array, in the order of the rows."""
    written = _written(kind, ids=ids)
    columns = ", ".join(str(field.column) for field in written)
    return f"""
        INSERT INTO {kind._meta.db_table} ({columns})
        SELECT {columns} FROM unnest({_arrays(written)}) WITH ORDINALITY AS v({columns}, place) ORDER BY place
    """  # noqa: S608 - only names of our own tables and columns go in


@cache
def _change(kind: Any, names: tuple[str, ...]) -> str:
    """Return an UPDATE that takes ids and columns as one array each."""
    pk, written = kind._meta.pk, [kind._meta.get_field(name) for name in names]
    columns = ", ".join(field.column for field in [pk, *written])
    changes = ", ".join(f"{field.column} = v.{field.column}" for field in written)
    return f"""
        UPDATE {kind._meta.db_table} AS o SET {changes} FROM unnest({_arrays([pk, *written])}) AS v({columns})
        WHERE o.{pk.column} = v.{pk.column}
    """  # noqa: S608 - only names of our own tables and columns go in


def _arrays(fields: "Iterable[Field[Any, Any]]") -> str:
    # Without the length: a cast would cut what is too long, where writing the column refuses it.
    kinds = (str(field.rel_db_type(connection)).partition("(")[0].replace("varchar", "text") for field in fields)
    return ", ".join(f"%s::{kind}[]" for kind in kinds)


def _values(fields: "Sequence[Field[Any, Any]]", rows: Sequence[Model]) -> list[list[Any]]:
    return [
        [field.get_db_prep_save(getattr(row, field.attname), connection=connection) for row in rows] for field in fields
    ]
