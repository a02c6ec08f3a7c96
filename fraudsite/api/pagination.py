"""Lists in pages: `?page=&page_size=` → `{"items", "total", "page", "page_size", "total_pages"}`."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

from fraudsite.api.whole_numbers import query_number

PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000
# Past this PostgreSQL's OFFSET is not a whole number any more; no table has as many pages.
MAX_PAGE = 10**12
# So many rows passed over cost more than a second query.
DEEP = 10_000


class PagePagination(BasePagination):
    """`total` is exact. It costs a COUNT only when the page itself does not already show where the list ends."""

    def paginate_queryset(
        self, queryset: QuerySet[Any] | list[Any], request: Request, view: Any = None
    ) -> list[Any]:
        self.page = query_number(request, "page", default=1, maximum=MAX_PAGE)
        self.page_size = query_number(request, "page_size", default=PAGE_SIZE, maximum=MAX_PAGE_SIZE)
        start = (self.page - 1) * self.page_size
        items, found = _rows(queryset, start, start + self.page_size)
        is_last = 0 < found < self.page_size or (not found and start == 0)
        self.total = start + found if is_last else _count(queryset)
        return items

    def get_paginated_response(self, data: Any) -> Response:
        return Response(self.envelope(data))

    def envelope(self, items: Any) -> dict[str, Any]:
        return {
            "items": items,
            "total": self.total,
            "page": self.page,
            "page_size": self.page_size,
            "total_pages": -(-self.total // self.page_size),
        }

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        number = {"type": "integer", "minimum": 0}
        return {
            "type": "object",
            "required": ["items", "total", "page", "page_size", "total_pages"],
            "properties": {
                "items": schema,
                "total": number,
                "page": number | {"minimum": 1},
                "page_size": number | {"minimum": 1, "maximum": MAX_PAGE_SIZE},
                "total_pages": number,
            },
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        def parameter(name: str, default: int, maximum: int, description: str) -> dict[str, Any]:
            schema = {"type": "integer", "minimum": 1, "maximum": maximum, "default": default}
            return {
                "name": name,
                "in": "query",
                "required": False,
                "schema": schema,
                "description": description,
            }

        return [
            parameter("page", 1, MAX_PAGE, "Which page, from 1. Past the end it is empty."),
            parameter("page_size", PAGE_SIZE, MAX_PAGE_SIZE, "How many items a page has."),
        ]


class Chained:
    """Lists one behind the other, as the paginator takes them: sliced and counted."""

    def __init__(self, *parts: Any) -> None:
        self._parts = parts

    def __getitem__(self, wanted: slice) -> list[Any]:
        items: list[Any] = []
        start, stop = wanted.start, wanted.stop
        for part in self._parts:
            found = part[start:stop]
            items += found
            if len(found) == stop - start:
                break
            # The next one is read from where this one ended.
            count = _count(part)
            start, stop = max(start - count, 0), stop - count
        return items

    def count(self) -> int:
        return sum(_count(part) for part in self._parts)


class WholePagination(PagePagination):
    """A list that is small by its nature: all of it in one page, unless pages are asked for."""

    def paginate_queryset(
        self, queryset: QuerySet[Any] | list[Any], request: Request, view: Any = None
    ) -> list[Any]:
        items = list(queryset)
        if not {"page", "page_size"}.isdisjoint(request.query_params):
            return super().paginate_queryset(items, request, view)
        self.page, self.page_size, self.total = 1, max(len(items), 1), len(items)
        return items

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        parameters = super().get_schema_operation_parameters(view)
        return [
            each | {"description": f"{each['description']} All in one page unless asked."}
            for each in parameters
        ]


def _rows(queryset: Any, start: int, stop: int) -> tuple[list[Any], int]:
    """The rows from `start` to before `stop`, and how many there were. For a deep page their keys are found first: what
    they are joined with is read for the page alone, not for all that is passed over."""
    if start < DEEP or not isinstance(queryset, QuerySet):
        items = list(queryset[start:stop])
        return items, len(items)
    keys = list(queryset.values_list("pk", flat=True)[start:stop])
    return list(queryset.filter(pk__in=keys)) if keys else [], len(keys)


def _count(items: Any) -> int:
    """The rows of a queryset (their order does not matter for that), of a list, or of what counts itself."""
    if isinstance(items, QuerySet):
        return items.order_by().count()
    return len(items) if isinstance(items, list) else int(items.count())
