"""Pages of the event stream."""

from typing import Any

from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from outbox.querysets import EntryQuerySet
from outbox.services.number import number_committed

MAX_POSITION = 2**63 - 1


class StreamPagination(BasePagination):
    """In the stream's order, past the position `after`, at most `limit`. Nothing is skipped while the stream grows.

    `next_after` is always given: a reader who has read all asks again with it later.
    """

    default_limit = 100
    max_limit = 1000

    def paginate_queryset(self, queryset: EntryQuerySet, request: Request, view: Any = None) -> list[Any]:  # type: ignore[override]
        self.request = request
        self.after = _number(request, "after", 0, minimum=0)
        limit = min(_number(request, "limit", self.default_limit, minimum=1), self.max_limit)
        # A client that has just changed something finds its events here, even while no relay runs.
        number_committed()
        rows = list(queryset.after(self.after)[: limit + 1])
        self.has_more = len(rows) > limit
        self.rows = rows[:limit]
        return self.rows

    def get_paginated_response(self, data: Any) -> Response:
        last = self.rows[-1].sequence if self.rows else self.after
        here = self.request.build_absolute_uri()
        following = replace_query_param(here, "after", last) if self.has_more else None
        return Response({"next": following, "next_after": last, "results": data})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["next", "next_after", "results"],
            "properties": {
                "next": {"type": "string", "format": "uri", "nullable": True},
                "next_after": {"type": "integer", "format": "int64"},
                "results": schema,
            },
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        return [
            _parameter("after", "Only events past this `sequence`."),
            _parameter("limit", f"At most {self.max_limit}; {self.default_limit} if not given."),
        ]


def _number(request: Request, name: str, default: int, *, minimum: int) -> int:
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and minimum <= int(text[:20]) <= MAX_POSITION):
        raise ValidationError({name: [f"A whole number from {minimum} is wanted."]})
    return int(text)


def _parameter(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": description, "schema": {"type": "integer"}}
