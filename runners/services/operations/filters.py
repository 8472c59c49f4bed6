"""What the items of an operation may be narrowed by: the pieces that verbs of all nouns share."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from django.db.models import Q, QuerySet
from django.utils.dateparse import parse_datetime

from runners.exceptions import InvalidRequest

#: Name to what makes a condition of its value; it raises TypeError or ValueError for one that makes no sense.
Conditions = Mapping[str, Callable[[Any], Q]]
Rows = TypeVar("Rows", bound=QuerySet[Any])


def narrow(rows: Rows, wanted: Mapping[str, Any], conditions: Conditions, *, items: str) -> Rows:
    """Return `rows` narrowed by a filter. Raises InvalidRequest, also for an unknown name: it might have meant less."""
    for name, value in wanted.items():
        if name not in conditions:
            known = ", ".join(conditions)
            raise InvalidRequest(f"{items} are not narrowed by {name}; there are {known}.", field="filter")
        try:
            rows = rows.filter(conditions[name](value))
        except (TypeError, ValueError) as error:
            raise InvalidRequest(f"{name} cannot be {value!r}: {error}", field="filter") from None
    return rows


def texts(value: Any) -> list[str]:
    """Return one text or a list of them as a list."""
    found = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in found):
        raise TypeError("a text or a list of texts is wanted.")
    return found


def exactly(column: str, value: Any) -> Q:
    """Return the condition that a column is this text."""
    if not isinstance(value, str):
        raise TypeError("a text is wanted.")
    return Q(**{column: value})


def moment(lookup: str, value: Any) -> Q:
    """Return the condition on a time, given with its zone."""
    at = value if isinstance(value, datetime) else parse_datetime(str(value))
    if at is None or at.tzinfo is None:
        raise ValueError("a time with its zone is wanted, as in 2026-05-04T10:00:00Z.")
    return Q(**{lookup: at})
