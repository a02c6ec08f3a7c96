"""The audit trail: reading it, and proving that nothing of it was changed, removed or slipped in.

Entries are written by triggers (`reporting_audit_row`, on every table that people or keys change) when a change is
committed. Each entry's digest covers the digest before it, so the newest digest stands for all of the trail;
reports carry it out of the database (`head`), which is how the removal of the newest entries is noticed too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from reporting.models import AuditEntry, Report

_CHUNK = 5_000


@dataclass(frozen=True, slots=True)
class Head:
    """The newest entry: its number (0: none yet) and digest in hexadecimal."""

    number: int
    digest: str


@dataclass(frozen=True, slots=True)
class BrokenLink:
    """The first entry that does not follow from the one before, and what is wrong with it."""

    number: int
    problem: str


@dataclass(frozen=True, slots=True)
class Verified:
    entries: int
    head: Head
    broken: BrokenLink | None = None


def head() -> Head:
    newest = AuditEntry.objects.order_by("-number").values_list("number", "digest").first()
    return Head(0, "") if newest is None else Head(newest[0], bytes(newest[1]).hex())


def verify(*, expected: Head | None = None) -> Verified:
    """Walk the whole chain. `expected` is a head noted earlier (on a report, say), which must be in it unchanged.

    Every report stored in this database is compared too; a report on paper says more, since whoever can change
    this trail can change those as well.
    """
    wanted = {number: (digest, "a report") for number, digest in _heads_of_reports()}
    if expected is not None:
        wanted[expected.number] = (expected.digest, "the digest given")
    number, digest = 0, b""
    with transaction.atomic():
        for row in _rows():
            problem = _problem(row, number, digest, wanted)
            if problem:
                return Verified(number, Head(number, digest.hex()), BrokenLink(row[0], problem))
            number, digest = row[0], bytes(row[7])
    missing = sorted(each for each in wanted if each > number)
    broken = None
    if missing:
        source = wanted[missing[-1]][1]
        broken = BrokenLink(
            number + 1, f"is gone: {source} names entry {missing[-1]} as the newest of its time"
        )
    return Verified(number, Head(number, digest.hex()), broken)


_Row = tuple[int, datetime, str, str, str, str, str, Any]


def _rows() -> Iterator[_Row]:
    fields = ("number", "at", "actor", "action", "table_name", "row_id", "body", "digest")
    yield from AuditEntry.objects.order_by("number").values_list(*fields).iterator(chunk_size=_CHUNK)


def _heads_of_reports() -> list[tuple[int, str]]:
    return list(Report.objects.filter(audit_number__gt=0).values_list("audit_number", "audit_digest"))


def _problem(row: _Row, number: int, digest: bytes, wanted: dict[int, tuple[str, str]]) -> str:
    if row[0] != number + 1:
        return f"follows entry {number}: what was between them is gone"
    if hashlib.sha256(digest + row[6].encode()).digest() != bytes(row[7]):
        return "does not match its digest: it, or an entry before it, was changed, or it was slipped in"
    if row[0] in wanted and wanted[row[0]][0] != bytes(row[7]).hex():
        return f"is not the one that {wanted[row[0]][1]} names"
    return _column_problem(row)


def _column_problem(row: _Row) -> str:
    """The columns that are searched must say what the hashed body says."""
    body = json.loads(row[6])
    at = row[1].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    said = {"number": row[0], "at": at, "actor": row[2], "action": row[3], "table": row[4]}
    for name, value in said.items():
        if body.get(name) != value:
            return f"says {name} {value!r} where what was hashed says {body.get(name)!r}"
    return "" if body["row"][:80] == row[5] else f"says row {row[5]!r}, what was hashed {body['row']!r}"


def entries_chosen(
    *,
    actor: str = "",
    table: str = "",
    row: str = "",
    first: date | None = None,
    last: date | None = None,
    before: int = 0,
) -> QuerySet[AuditEntry]:
    """Newest first, of what is given: days are UTC and included, `before` is the number of a later entry."""
    entries = AuditEntry.objects.order_by("-number")
    if actor:
        # A name alone is a person's or a key's.
        entries = entries.filter(
            actor__in=[actor] if ":" in actor else [actor, f"user:{actor}", f"key:{actor}"]
        )
    if table:
        entries = entries.filter(table_name=table)
    if row:
        entries = entries.filter(row_id=row)
    if first is not None:
        entries = entries.filter(at__gte=datetime.combine(first, time.min, tzinfo=UTC))
    if last is not None:
        entries = entries.filter(at__lte=datetime.combine(last, time.max, tzinfo=UTC))
    if before:
        entries = entries.filter(number__lt=before)
    return entries


def entry_body(entry: AuditEntry) -> dict[str, Any]:
    """An entry as the API and the page show it: who did what when, old and new values of what changed."""
    body = json.loads(entry.body)
    return {
        "number": entry.number,
        "at": entry.at,
        "actor": entry.actor,
        "action": entry.action,
        "table": entry.table_name,
        "row": entry.row_id,
        "old": body["old"],
        "new": body["new"],
        "digest": bytes(entry.digest).hex(),
    }
