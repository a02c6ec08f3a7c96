"""Changing named lists. Every change publishes a ruleset, so that it holds from the next evaluation on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from django.db import connection, transaction
from django.utils import timezone

from fraudsite.errors import Conflict, FieldError, Invalid, Missing
from fraudsite.postgresql.deferred import deferred_now
from rules.list_selectors import list_get
from rules.models import (
    LIST_NAME_LENGTH,
    LIST_NOTE_LENGTH,
    LIST_VALUE_LENGTH,
    NamedList,
    NamedListEntry,
    RuleVersion,
)
from rules.references import lists_referred
from rules.ruleset import lists_version_next, ruleset_lock, ruleset_publish

_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.-]{{0,{LIST_NAME_LENGTH - 1}}}")
_CHUNK = 5_000
# So many entries of the audit trail are left to the commit, for which every payment waits (see `_chunks`).
_LEFT_TO_COMMIT = 100
_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class NewEntry:
    value: str
    note: str = ""
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class EntriesChanged:
    """How many entries were added, had their note or expiry changed, were there already, were taken out."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0


def list_create(
    *, name: str, principal: str, description: str = "", case_sensitive: bool = True
) -> NamedList:
    if not _NAME.fullmatch(name):
        message = "takes letters, digits, '_', '-' and '.', at most 80, and begins with a letter or digit"
        raise Invalid("The list's name is not valid.", [FieldError("name", message)])
    with transaction.atomic():
        ruleset_lock()
        if NamedList.objects.filter(name=name, removed_in=None).exists():
            raise Conflict(f"There is a list named {name!r} already.", [FieldError("name", "is taken")])
        named_list = NamedList.objects.create(
            name=name,
            description=description,
            case_sensitive=case_sensitive,
            created_by=principal,
            added_in=lists_version_next(),
        )
        ruleset_publish(principal=principal, reason=f"list {name} created", lists_changed=True)
    return named_list


def list_update(
    *, name: str, principal: str, description: str | None = None, case_sensitive: bool | None = None
) -> NamedList:
    """Change the description; case sensitivity only while the list never had an entry (their keys follow it)."""
    with transaction.atomic():
        ruleset_lock()
        named_list = list_get(name)
        if description is not None:
            named_list.description = description
        if case_sensitive is not None and case_sensitive != named_list.case_sensitive:
            if named_list.entries.exists():
                message = "cannot change once the list has had entries; make a new list"
                raise Conflict(f"List {name!r} has entries.", [FieldError("case_sensitive", message)])
            named_list.case_sensitive = case_sensitive
            ruleset_publish(principal=principal, reason=f"list {name} changed", lists_changed=True)
        named_list.updated_at = timezone.now()
        named_list.save(update_fields=["description", "case_sensitive", "updated_at"])
    return named_list


def list_delete(*, name: str, principal: str) -> None:
    """Take a list away; refused while a version that is or may come in force looks it up."""
    with transaction.atomic():
        ruleset_lock()
        named_list = list_get(name)
        if users := _rules_using(name):
            raise Conflict(f"List {name!r} is used by {', '.join(users)}; change those first.")
        version = lists_version_next()
        holding = named_list.entries.filter(removed_in=None).values_list("pk", flat=True)
        _remove(list(holding), version=version, principal=principal)
        NamedList.objects.filter(pk=named_list.pk).update(removed_in=version, updated_at=timezone.now())
        ruleset_publish(principal=principal, reason=f"list {name} deleted", lists_changed=True)


def _rules_using(name: str) -> list[str]:
    state = RuleVersion.State
    # A rule that was switched off is checked again before it is switched on.
    versions = RuleVersion.objects.exclude(state=state.LIVE, is_active=False).filter(
        state__in=[state.LIVE, state.SHADOW, state.DRAFT, state.PENDING_APPROVAL]
    )
    return [
        f"rule {version.rule_id} ({version.rule.name}, version {version.number})"
        for version in versions.select_related("rule")
        if name in {reference for _, reference in lists_referred(version.definition)}
    ]


def entries_put(
    *, name: str, entries: Sequence[NewEntry], principal: str, is_replacing: bool = False
) -> EntriesChanged:
    """Add entries, or change the note and expiry of those there; with `is_replacing` take out all others.

    The whole call is one change: rules see all of it or nothing. Of values given twice the last one counts.
    """
    with transaction.atomic():
        ruleset_lock()
        named_list = list_get(name)
        wanted = {match_key(named_list, each.value): each for each in entries}
        present = _present(named_list, None if is_replacing else wanted.keys())
        new = {key: each for key, each in wanted.items() if key not in present}
        changed = {
            key: each for key, each in wanted.items() if key in present and _differs(present[key], each)
        }
        gone = [row for key, row in present.items() if key not in wanted] if is_replacing else []
        if new or changed or gone:
            version = lists_version_next()
            ids = [row.pk for row in (*gone, *(present[key] for key in changed))]
            _remove(ids, version=version, principal=principal)
            _insert(named_list, new | changed, version=version, principal=principal)
            _publish_entries(named_list, principal)
    return EntriesChanged(len(new), len(changed), len(wanted) - len(new) - len(changed), len(gone))


def entries_remove(*, name: str, values: Iterable[str], principal: str) -> int:
    """Take entries out by their values; returns how many there were."""
    with transaction.atomic():
        ruleset_lock()
        named_list = list_get(name)
        rows = list(_present(named_list, {match_key(named_list, value) for value in values}).values())
        if rows:
            _remove([row.pk for row in rows], version=lists_version_next(), principal=principal)
            _publish_entries(named_list, principal)
    return len(rows)


def entry_remove(*, name: str, entry_id: int, principal: str) -> None:
    with transaction.atomic():
        ruleset_lock()
        named_list = list_get(name)
        row = named_list.entries.filter(pk=entry_id, removed_in=None).first()
        if row is None:
            raise Missing(f"List {name!r} has no entry {entry_id}.")
        _remove([row.pk], version=lists_version_next(), principal=principal)
        _publish_entries(named_list, principal)


def match_key(named_list: NamedList, value: str) -> str:
    """What makes two values of a list the same."""
    return value if named_list.case_sensitive else value.casefold()


def entry_errors(entry: NewEntry) -> list[FieldError]:
    """Why it cannot be an entry, by field; empty where it can."""
    errors = []
    if problem := _value_problem(entry.value):
        errors.append(FieldError("value", problem))
    if len(entry.note) > LIST_NOTE_LENGTH or "\0" in entry.note:
        errors.append(FieldError("note", f"takes at most {LIST_NOTE_LENGTH} characters, no NUL"))
    return errors


def _value_problem(value: str) -> str | None:
    if not value:
        return "must not be empty"
    if "\0" in value:
        return "holds a NUL character"
    # Folding case can make a text longer, and it is the folded one that is indexed.
    if len(value) > LIST_VALUE_LENGTH or len(value.casefold()) > 2 * LIST_VALUE_LENGTH:
        return f"is longer than {LIST_VALUE_LENGTH} characters"
    return None


def _present(named_list: NamedList, keys: Iterable[str] | None) -> dict[str, NamedListEntry]:
    """The entries by match key; of all keys (None) or of those given."""
    holding = named_list.entries.filter(removed_in=None)
    if keys is None:
        return {row.match_key: row for row in holding}
    wanted = list(keys)
    found: dict[str, NamedListEntry] = {}
    for start in range(0, len(wanted), _CHUNK):
        part = holding.filter(match_key__in=wanted[start : start + _CHUNK])
        found |= {row.match_key: row for row in part}
    return found


def _differs(row: NamedListEntry, wanted: NewEntry) -> bool:
    return (row.value, row.note, row.expires_at) != (wanted.value, wanted.note, wanted.expires_at)


def _remove(ids: Sequence[int], *, version: int, principal: str) -> None:
    for part in _chunks(ids):
        NamedListEntry.objects.filter(pk__in=part).update(removed_in=version, removed_by=principal)


def _chunks(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    """Parts to be changed one after the other, each with what the audit trail says of it: were all of that left to the
    commit, 200,000 entries would be one step of ten seconds, which the web server's statements may not take, and every
    payment would wait for it, since by then the ruleset is published."""
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        yield part
        if len(part) > _LEFT_TO_COMMIT:
            deferred_now()


# Columns as arrays: a list may have 100,000 entries, and everybody who changes a rule waits for this.
_INSERT = """
INSERT INTO rules_namedlistentry
    (named_list_id, match_key, value, note, expires_at, added_by, created_at, added_in, removed_by)
SELECT %s, new.*, %s, now(), %s, ''
FROM unnest(%s::text[], %s::text[], %s::text[], %s::timestamptz[]) AS new
"""


def _insert(named_list: NamedList, new: dict[str, NewEntry], *, version: int, principal: str) -> None:
    rows = [(key, each.value, each.note, each.expires_at) for key, each in new.items()]
    with connection.cursor() as cursor:
        for part in _chunks(rows):
            columns = [list(column) for column in zip(*part, strict=True)]
            cursor.execute(_INSERT, [named_list.pk, principal, version, *columns])


def _publish_entries(named_list: NamedList, principal: str) -> None:
    NamedList.objects.filter(pk=named_list.pk).update(updated_at=timezone.now())
    ruleset_publish(principal=principal, reason=f"list {named_list.name}: entries", lists_changed=True)
