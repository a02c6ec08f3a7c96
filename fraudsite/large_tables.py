"""Lists of tables with millions of rows: counted up to a limit, searched by exact values through their indexes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db import connection
from django.db.models import QuerySet
from django.utils.functional import cached_property

from fraudsite.models import RecordView
from fraudsite.record_views import view_note

COUNT_LIMIT = 10_000


class LimitedPaginator(Paginator):
    """Says at most COUNT_LIMIT: counting a million rows takes longer than the page may, and nobody pages that far."""

    @cached_property
    def count(self) -> int:
        return self.object_list.order_by()[:COUNT_LIMIT].count()


# Of a search, from each column that it looks in.
NEWEST = 500


def newest_with_value(table: str, columns: Sequence[str], value: str, *, order: str) -> list[int]:
    """Ids of the newest rows of which one column is `value`: one index look-up a column, whatever the table's size."""
    quote = connection.ops.quote_name
    parts = " UNION ".join(
        f"(SELECT id FROM {quote(table)} WHERE {quote(column)} = %s ORDER BY {quote(order)} DESC LIMIT {NEWEST})"  # noqa: S608
        for column in columns
    )
    with connection.cursor() as cursor:
        cursor.execute(parts, [value] * len(columns))
        return [int(row[0]) for row in cursor.fetchall()]


class LargeTableAdmin(admin.ModelAdmin):
    """Mixin: `exact_search` are the columns a search compares; no count of the whole table, no date hierarchy."""

    paginator = LimitedPaginator
    show_full_result_count = False
    list_max_show_all = 200
    exact_search: Sequence[str] = ()
    search_order = "id"
    search_fields: Any = ("pk",)

    @property
    def search_help_text(self) -> str:
        return "A whole id: " + ", ".join(
            name.removesuffix("_id").replace("_", " ") for name in self.exact_search
        )

    def get_search_results(self, request: Any, queryset: Any, search_term: str) -> tuple[Any, bool]:
        term = search_term.strip()
        if not term or "\0" in term:
            return queryset, False
        view_note(request, RecordView.Kind.SEARCH, term)
        return self.found(queryset, term), False

    def found(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
        ids = newest_with_value(self.opts.db_table, self.exact_search, term, order=self.search_order)
        return queryset.filter(pk__in=ids)
