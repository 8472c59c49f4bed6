"""Pages of a list that only grows."""

from typing import Any

from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination, PageNumberPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from runners.states import SearchMode

MAX_ID = 2**63 - 1


class AfterPagination(BasePagination):
    """Oldest first, `after` the last id that was read: nothing shifts while the list grows.

    `next_after` is always given: a reader who has read all asks again with it later.
    """

    default_page_size = 100
    max_page_size = 500

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        size = self._number(request, "page_size", self.default_page_size, minimum=1)
        self.after = self._number(request, "after", 0, minimum=0)
        self.request = request
        rows = list(queryset.filter(pk__gt=self.after).order_by("pk")[: min(size, self.max_page_size) + 1])
        self.has_more = len(rows) > min(size, self.max_page_size)
        self.rows = rows[: min(size, self.max_page_size)]
        return self.rows

    def get_paginated_response(self, data: Any) -> Response:
        last = self.rows[-1].pk if self.rows else self.after
        here = self.request.build_absolute_uri()
        following = replace_query_param(here, "after", last) if self.has_more else None
        return Response({"next": following, "next_after": last, "results": data})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["next", "next_after", "results"],
            "properties": {
                "next": {"type": "string", "format": "uri", "nullable": True},
                "next_after": {"type": "integer"},
                "results": schema,
            },
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        return [
            _parameter("after", "Only what has a greater id."),
            _parameter("page_size", f"At most {self.max_page_size}."),
        ]

    def _number(self, request: Request, name: str, default: int, *, minimum: int) -> int:
        text = request.query_params.get(name, "")
        if not text:
            return default
        if not (text.isascii() and text.isdigit() and minimum <= int(text[:20]) <= MAX_ID):
            raise ValidationError({name: [f"A whole number from {minimum} is wanted."]})
        return int(text)


class SearchPagination(PageNumberPagination):
    """Pages of what was found, and how it was searched. Small: each hit's text is read and marked."""

    page_size = 10
    page_size_query_param = "page_size"
    max_page_size = 50

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any] | None:
        self.how = {"mode": queryset.mode, "note": queryset.note, "cut": queryset.cut}
        return super().paginate_queryset(queryset, request, view)

    def get_paginated_response(self, data: Any) -> Response:
        answer = super().get_paginated_response(data)
        return Response({**self.how, **answer.data})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        page = super().get_paginated_response_schema(schema)
        how = {
            "mode": {"type": "string", "enum": SearchMode.values, "description": "What the search went by."},
            "note": {"type": "string", "description": "Why not as asked for, or not in all; empty: it was."},
            "cut": {"type": "boolean", "description": "More matched than was ranked: older ones are left out."},
        }
        return {**page, "required": [*how, *page["required"]], "properties": {**how, **page["properties"]}}


def _parameter(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": description, "schema": {"type": "integer"}}
