"""Named lists as the rules see them: what each held as of a version of the lists."""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from rules.core.lists import ListEntries, Lists, Span
from rules.core.past_lists import ListHistory, PastLists
from rules.models import NamedList, NamedListEntry, RulesetVersion


def lists_snapshot(lists_version: int | None = None) -> Lists:
    """Every named list as of a `LoadedRuleset.lists_version` (None: now).

    The newest one this process has seen is kept, and brought up to date by reading only what changed since; an
    older one (a past decision is explained) is read whole.
    """
    if lists_version is None:
        newest = RulesetVersion.objects.order_by("-number").values_list("lists_version", flat=True).first()
        lists_version = newest or 0
    with _newest_lock:
        known = _newest[0]
        if lists_version < known.version:
            return _read_whole(lists_version).lists
        if lists_version > known.version:
            known = _newest[0] = _brought_up(known, lists_version)
        return known.lists


@dataclass(frozen=True, slots=True)
class _ListState:
    """One list: what `ListEntries` was built from, to build its successor."""

    name: str
    entries: dict[str, datetime | None]
    built: ListEntries


@dataclass(frozen=True, slots=True)
class _Snapshot:
    version: int
    by_id: dict[int, _ListState]
    lists: Lists


_NOTHING = _Snapshot(0, {}, Lists())
_newest_lock = threading.Lock()
_newest = [_NOTHING]


def forget_lists() -> None:
    """Drop what this process knows of lists, e.g. between tests."""
    with _newest_lock:
        _newest[0] = _NOTHING


# (match key, expires_at, whether the entry holds in the new version)
_Change = tuple[str, datetime | None, bool]


def _brought_up(known: _Snapshot, version: int) -> _Snapshot:
    changes = _changes_between(known.version, version)
    lists = NamedList.objects.filter(Q(removed_in=None) | Q(removed_in__gt=version), added_in__lte=version)
    by_id: dict[int, _ListState] = {}
    for list_id, name, case_sensitive in lists.values_list("id", "name", "case_sensitive"):
        old = known.by_id.get(list_id)
        if old is not None and list_id not in changes and old.built.is_case_sensitive == case_sensitive:
            by_id[list_id] = old
            continue
        entries = _applied(old.entries if old else {}, changes.get(list_id, []))
        built = ListEntries(entries, is_case_sensitive=case_sensitive)
        by_id[list_id] = _ListState(name, entries, built)
    return _Snapshot(version, by_id, Lists({state.name: state.built for state in by_id.values()}))


def _changes_between(after: int, until: int) -> dict[int, list[_Change]]:
    """What came and what went by list; entries that did both in between are neither."""
    came = Q(added_in__gt=after, added_in__lte=until) & (Q(removed_in=None) | Q(removed_in__gt=until))
    went = Q(added_in__lte=after, removed_in__gt=after, removed_in__lte=until)
    rows = NamedListEntry.objects.filter(came | went).values_list(
        "named_list_id", "match_key", "expires_at", "added_in"
    )
    changes: dict[int, list[_Change]] = {}
    for list_id, key, expires_at, added_in in rows.order_by().iterator(chunk_size=10_000):
        changes.setdefault(list_id, []).append((key, expires_at, added_in > after))
    return changes


def _applied(entries: dict[str, datetime | None], changes: list[_Change]) -> dict[str, datetime | None]:
    after = dict(entries)
    # Removals first: an entry whose note or expiry was changed is removed and added in one version.
    for key, expires_at, holds in sorted(changes, key=lambda change: change[2]):
        if holds:
            after[key] = expires_at
        else:
            after.pop(key, None)
    return after


def _read_whole(version: int) -> _Snapshot:
    return _brought_up(_NOTHING, version)


def lists_between(after: int, until: int, names: Collection[str]) -> Lists:
    """The lists of version `until`, which also know what those of `names` that have changed since `after` held."""
    newest = lists_snapshot(until)
    holding = Q(removed_in=None) | Q(removed_in__gt=after)
    histories: dict[str, list[ListHistory]] = {}
    changed: set[str] = set()
    for named_list in NamedList.objects.filter(holding, name__in=names, added_in__lte=until):
        spans: dict[str, list[Span]] = {}
        rows = named_list.entries.filter(holding, added_in__lte=until)
        entries = rows.order_by().values_list("match_key", "expires_at", "added_in", "removed_in")
        for key, expires_at, added_in, removed_in in entries.iterator(chunk_size=10_000):
            # What is to come after `until` is not known yet.
            gone = removed_in if removed_in is not None and removed_in <= until else None
            spans.setdefault(key, []).append(Span(expires_at, added_in, gone))
            if added_in > after or gone is not None:
                changed.add(named_list.name)
        histories.setdefault(named_list.name, []).append(ListHistory(named_list.case_sensitive, spans))
        if named_list.removed_in is not None and named_list.removed_in <= until:
            # Also one that was empty: what looked it up then found nothing, and did not fail.
            changed.add(named_list.name)
    known = {name: found for name, found in histories.items() if name in changed}
    return PastLists(newest, known) if known else newest
