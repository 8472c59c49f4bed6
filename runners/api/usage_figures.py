"""Tokens and cost of many runners in one query."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, TypedDict
from uuid import UUID

from django.db.models import Count, Q, Sum

from runners.models import Session, UsageEntry
from runners.models.usage import TOKEN_COLUMNS, UNPRICED
from runners.states import CostSource


class Figures(TypedDict):
    """Tokens are null when the program reported none; `cost_usd` is null when no cost is known."""

    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    total_tokens: int | None
    cost_usd: Decimal | None
    cost_source: str


UNKNOWN: Figures = {
    "input_tokens": None,
    "output_tokens": None,
    "cache_read_tokens": None,
    "cache_write_tokens": None,
    "total_tokens": None,
    "cost_usd": None,
    "cost_source": CostSource.UNKNOWN.value,
}


def usage_of_runners(ids: Iterable[UUID]) -> dict[UUID, Figures]:
    """Return the figures of those runners that have any.

    A session may span several runners: each has its own share of the ledger. A share is known if each of its entries
    has a cost, or a later entry holds it.
    """
    rows = (
        UsageEntry.objects.filter(runner__in=list(ids))
        .order_by()
        .values("runner_id")
        .annotate(
            **{f"sum_{column}": Sum(column) for column in TOKEN_COLUMNS},
            cost=Sum("cost_usd"),
            without_cost=Count("pk", filter=UNPRICED),
            priced=Count("pk", filter=Q(source=CostSource.PRICED, settled_by=None)),
        )
    )
    return {row["runner_id"]: _figures_of_row(row) for row in rows}


def usage_of_session(session: Session) -> Figures:
    """Return the totals that the session keeps."""
    if session.total_tokens == 0 and session.cost_usd is None:
        return UNKNOWN
    return {
        "input_tokens": session.input_tokens,
        "output_tokens": session.output_tokens,
        "cache_read_tokens": session.cache_read_tokens,
        "cache_write_tokens": session.cache_write_tokens,
        "total_tokens": session.total_tokens,
        "cost_usd": session.cost_usd,
        "cost_source": session.cost_source,
    }


def _figures_of_row(row: Mapping[str, Any]) -> Figures:
    tokens: dict[str, int] = {column: row[f"sum_{column}"] for column in TOKEN_COLUMNS}
    return {
        "input_tokens": tokens["input_tokens"],
        "output_tokens": tokens["output_tokens"],
        "cache_read_tokens": tokens["cache_read_tokens"],
        "cache_write_tokens": tokens["cache_write_tokens"],
        "total_tokens": sum(tokens.values()),
        "cost_usd": row["cost"],
        "cost_source": _source(row),
    }


def _source(row: Mapping[str, Any]) -> str:
    if row["cost"] is None:
        return CostSource.UNKNOWN.value
    if row["without_cost"]:
        return CostSource.UNKNOWN.value
    return (CostSource.PRICED if row["priced"] else CostSource.REPORTED).value
