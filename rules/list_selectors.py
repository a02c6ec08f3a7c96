"""Reading named lists as the API answers them; `rules.list_snapshots` has them as the rules see them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import Count

from fraudsite.errors import Missing
from rules.models import NamedList, NamedListEntry


def list_names() -> set[str]:
    return set(NamedList.objects.filter(removed_in=None).values_list("name", flat=True))


def list_get(name: str) -> NamedList:
    named_list = NamedList.objects.filter(name=name, removed_in=None).first()
    if named_list is None:
        raise Missing(f"There is no list named {name!r}.")
    return named_list


def list_bodies(named_lists: Iterable[NamedList]) -> list[dict[str, Any]]:
    """Lists as the API answers them; `entries` counts what has not been removed, expired or not."""
    shown = list(named_lists)
    holding = NamedListEntry.objects.filter(named_list__in=shown, removed_in=None).order_by()
    counted = holding.values("named_list").annotate(entries=Count("pk"))
    counts = {row["named_list"]: row["entries"] for row in counted}
    return [_list_body(each, counts.get(each.pk, 0)) for each in shown]


def list_body(named_list: NamedList) -> dict[str, Any]:
    return list_bodies([named_list])[0]


def _list_body(named_list: NamedList, entries: int) -> dict[str, Any]:
    return {
        "name": named_list.name,
        "description": named_list.description,
        "case_sensitive": named_list.case_sensitive,
        "entries": entries,
        "created_by": named_list.created_by,
        "created_at": named_list.created_at,
        "updated_at": named_list.updated_at,
    }


def entry_body(entry: NamedListEntry) -> dict[str, Any]:
    return {
        "id": entry.pk,
        "value": entry.value,
        "note": entry.note,
        "expires_at": entry.expires_at,
        "added_by": entry.added_by,
        "created_at": entry.created_at,
    }
