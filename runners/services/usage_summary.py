"""The ledger summed up: by day, project, model, agent."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Count, F, Q, QuerySet, Sum
from django.db.models.functions import Coalesce, TruncDate

from runners.models import UsageEntry
from runners.models.usage import TOKEN_COLUMNS, UNPRICED

#: What usage can be grouped by, and the column that says it.
GROUPS: Mapping[str, str] = {
    "project": "session__project__name",
    "model": "model",
    "agent": "runner__agent_name",
    "personality": "runner__personality_name",
    "backend": "session__backend",
}
BY_DAY = "day"


@dataclass(frozen=True)
class Sums:
    """Tokens and cost of one group. `cost_usd` is the known part: None if nothing of it is known."""

    key: str
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cost_usd: Decimal | None
    #: Tokens of which nobody knows the cost: with any, the cost is at least `cost_usd`.
    unknown_tokens: int
    entries: int

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens + self.cache_read_tokens + self.cache_write_tokens

    @property
    def is_whole(self) -> bool:
        """The cost is known to the last token."""
        return self.unknown_tokens == 0


def summarize(
    group_by: str, entries: "QuerySet[UsageEntry]", *, time_zone: ZoneInfo, limit: int | None = None
) -> list[Sums]:
    """Return the sums of each group: days oldest first, other groups by cost, then by tokens."""
    if group_by == BY_DAY:
        grouped = entries.order_by().values(group=TruncDate("at", tzinfo=time_zone))
        return [_sums(row) for row in _summed(grouped).order_by("group")]
    grouped = entries.order_by().values(group=F(GROUPS[group_by]))
    return [_sums(row) for row in _summed(grouped).order_by(F("cost").desc(nulls_last=True), "-total", "group")[:limit]]


def total_of(entries: "QuerySet[UsageEntry]") -> Sums:
    """Return the sums of all the entries."""
    return _sums({"group": "", **entries.aggregate(**_columns())})


def used_between(entries: "QuerySet[UsageEntry]", start: datetime, end: datetime) -> Sums:
    """Return the sums of the entries of a stretch of time, its end not included."""
    return total_of(entries.filter(at__gte=start, at__lt=end))


def _summed(grouped: Any) -> Any:
    return grouped.annotate(**_columns()).annotate(
        total=sum((F(f"sum_{column}") for column in TOKEN_COLUMNS), F("n") * 0)
    )


def _columns() -> dict[str, Any]:
    all_tokens = sum((F(column) for column in TOKEN_COLUMNS[1:]), F(TOKEN_COLUMNS[0]))
    return {
        **{f"sum_{column}": Coalesce(Sum(column), 0) for column in TOKEN_COLUMNS},
        "cost": Sum("cost_usd"),
        "unknown": Coalesce(Sum(all_tokens, filter=Q(UNPRICED)), 0),
        "n": Count("pk"),
    }


def _sums(row: Mapping[str, Any]) -> Sums:
    return Sums(
        key=str(row["group"]),
        **{column: row[f"sum_{column}"] for column in TOKEN_COLUMNS},
        cost_usd=row["cost"],
        unknown_tokens=row["unknown"],
        entries=row["n"],
    )
