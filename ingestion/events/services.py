"""Storing events, profiles and labels, each exactly once whatever is sent twice, retried or sent at the same time."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone
from psycopg2.extras import execute_values

from fraudsite.errors import FieldError, Invalid, rejection
from ingestion.events.models import Label
from ingestion.events.payloads import KYC, EventKind, EventPayload, payload_read

MAX_ITEMS = 5_000
CREATED, REPLAYED, CONFLICT = "created", "replayed", "conflict"
# One label of a transaction at a time: what is newest must not change between looking and adding.
LABEL_LOCK = "label:"
LABEL_SOURCE_STAFF = "staff"


@dataclass(frozen=True)
class Stored:
    """What became of one payload: created, replayed (it was there, the same) or conflict (it was there, different)."""

    payload: EventPayload
    status: str


@dataclass
class BulkResult:
    """`rejected` is [{index, errors}], by position in the list that was sent; `stored` has the rest."""

    stored: list[Stored] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)

    @property
    def accepted(self) -> int:
        return sum(each.status == CREATED for each in self.stored)

    @property
    def replayed(self) -> int:
        return sum(each.status == REPLAYED for each in self.stored)

    def body(self) -> dict[str, Any]:
        return {"accepted": self.accepted, "replayed": self.replayed, "rejected": self.rejected}


def events_store(*, kind: EventKind, payloads: Sequence[EventPayload], principal: str) -> list[Stored]:
    """Store payloads of one kind; the result is in their order. All in one transaction, nothing half stored."""
    if kind.name == "label":
        with transaction.atomic():
            _lock_labels({payload.id for payload in payloads})
            return [_label_store(payload, principal) for payload in payloads]
    return _rows_store(kind, payloads)


def events_store_bulk(*, kind: EventKind, bodies: Any, principal: str) -> BulkResult:
    """Validate and store a list of at most 5,000 decoded bodies; bad ones never sink good ones."""
    _check_size(bodies)
    result, now = BulkResult(), timezone.now()
    valid: list[tuple[int, EventPayload]] = []
    for index, body in enumerate(bodies):
        try:
            valid.append((index, payload_read(kind, body, now=now)))
        except Invalid as error:
            result.rejected.append(rejection(index, error.errors))
    stored = events_store(kind=kind, payloads=[payload for _, payload in valid], principal=principal)
    for (index, payload), each in zip(valid, stored, strict=True):
        if each.status == CONFLICT:
            result.rejected.append(rejection(index, [conflict_error(payload)]))
        else:
            result.stored.append(each)
    result.rejected.sort(key=lambda each: each["index"])
    return result


def conflict_error(payload: EventPayload) -> FieldError:
    kind = payload.kind
    if kind.name == "kyc":
        return FieldError("updated_at", "another profile of this user with this moment is stored")
    if kind.name == "label":
        return FieldError("labelled_at", "another label of this source with this moment is stored")
    return FieldError(kind.id_field, "is taken by an event with another payload")


def _check_size(bodies: Any) -> None:
    if not isinstance(bodies, list) or not bodies:
        raise Invalid("Give an event or a list of events.", [FieldError("$", "must be an object or a list")])
    if len(bodies) > MAX_ITEMS:
        raise Invalid(
            "Too many events at once.", [FieldError("$", f"has {len(bodies)} items; {MAX_ITEMS} are allowed")]
        )


def _rows_store(kind: EventKind, payloads: Sequence[EventPayload]) -> list[Stored]:
    """INSERT … ON CONFLICT DO NOTHING, then compare the digests of what was there already.

    Rows go in by id, so that two lists with the same ids cannot wait for each other in a circle.
    """
    first: dict[Any, EventPayload] = {}
    for payload in payloads:
        first.setdefault(_key(kind, payload.values), payload)
    with transaction.atomic():
        created = _insert(kind, [first[key] for key in sorted(first)])
        known = _digests(kind, [key for key in first if key not in created])
    results = []
    for payload in payloads:
        key = _key(kind, payload.values)
        if payload is first[key] and key in created:
            results.append(Stored(payload, CREATED))
            continue
        digest = first[key].digest if key in created else known.get(key)
        results.append(Stored(payload, REPLAYED if digest == payload.digest else CONFLICT))
    return results


def _key(kind: EventKind, values: Mapping[str, Any]) -> Any:
    """What is unique: an event's id, for a profile the user and the moment."""
    return tuple(values[name] for name in _key_fields(kind))


def _key_fields(kind: EventKind) -> tuple[str, ...]:
    return ("user_id", "updated_at") if kind is KYC else (kind.id_field,)


def _insert(kind: EventKind, payloads: Sequence[EventPayload]) -> set[Any]:
    if not payloads:
        return set()
    has_arrival = kind is KYC
    columns = [*kind.names, "payload_digest", *(["arrival"] if has_arrival else [])]
    arrival = _arrival_now()
    rows = [
        (
            *(payload.values.get(name) for name in kind.names),
            payload.digest,
            *([arrival + position] if has_arrival else []),
        )
        for position, payload in enumerate(payloads)
    ]
    keys = _key_fields(kind)
    sql = (
        f"INSERT INTO {kind.model._meta.db_table} ({', '.join(columns)}) VALUES %s "  # noqa: S608 - names of ours
        f"ON CONFLICT DO NOTHING RETURNING {', '.join(keys)}"
    )
    # psycopg2 is asked past Django's cursor, which would say its errors as Django does.
    with connection.wrap_database_errors, connection.cursor() as cursor:
        inserted = execute_values(cursor.cursor, sql, rows, page_size=len(rows), fetch=True)
    return {tuple(row) for row in inserted}


def _digests(kind: EventKind, keys: Sequence[tuple[Any, ...]]) -> dict[Any, bytes]:
    if not keys:
        return {}
    # For profiles this also reads other pairs of these users and moments; they are not asked for by key.
    names = _key_fields(kind)
    condition = {f"{name}__in": [key[place] for key in keys] for place, name in enumerate(names)}
    rows = kind.model._default_manager.filter(**condition).values_list(*names, "payload_digest")
    return {tuple(row[:-1]): bytes(row[-1]) for row in rows}


def _arrival_now() -> int:
    """Microseconds since 1970: profiles and labels are ordered among the transactions' arrivals by it."""
    return time.time_ns() // 1_000


def _lock_labels(transaction_ids: Collection[str]) -> None:
    """Until the end of the transaction, in a fixed order so that two lists never wait in a circle."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_advisory_xact_lock(number)) FROM"
            " (SELECT DISTINCT hashtextextended(%s || name, 0) AS number FROM unnest(%s::text[]) name"
            " ORDER BY number) locks",
            [LABEL_LOCK, sorted(transaction_ids)],
        )


def _label_store(payload: EventPayload, principal: str) -> Stored:
    """With a moment, a label is identified by transaction, source and moment. Without one, saying again what is
    known from the same source is a retry; anything else, as taking back what it said with a moment, is news."""
    values = payload.values
    source, labelled_at = values.get("source", ""), values.get("labelled_at")
    earlier = Label.objects.filter(transaction_id=payload.id, source=source)
    if labelled_at is not None:
        known = earlier.filter(labelled_at=labelled_at).first()
        if known is not None:
            return Stored(payload, REPLAYED if known.is_fraud == values["is_fraud"] else CONFLICT)
    else:
        begun = earlier.filter(Q(labelled_at=None) | Q(labelled_at__lte=timezone.now()))
        known = begun.order_by("-known_from", "-id").first()
        if known is not None and known.labelled_at is None and known.is_fraud == values["is_fraud"]:
            return Stored(payload, REPLAYED)
    label_add(
        transaction_id=payload.id,
        is_fraud=values["is_fraud"],
        labelled_at=labelled_at,
        source=source,
        principal=principal,
    )
    return Stored(payload, CREATED)


def label_say(*, transaction_id: str, is_fraud: bool, principal: str) -> Label | None:
    """What a member of staff finds a transaction to be, from now on; None where that is what is known already."""
    with transaction.atomic():
        _lock_labels([transaction_id])
        known = Label.objects.filter(transaction_id=transaction_id, known_from__lte=timezone.now()).first()
        if known is not None and known.is_fraud == is_fraud:
            return None
        return label_add(
            transaction_id=transaction_id, is_fraud=is_fraud, source=LABEL_SOURCE_STAFF, principal=principal
        )


def label_add(
    *, transaction_id: str, is_fraud: bool, source: str, principal: str, labelled_at: datetime | None = None
) -> Label:
    (label,) = labels_add(
        transaction_ids=[transaction_id],
        is_fraud=is_fraud,
        source=source,
        principal=principal,
        labelled_at=labelled_at,
    )
    return label


def labels_add(
    *,
    transaction_ids: Sequence[str],
    is_fraud: bool,
    source: str,
    principal: str,
    labelled_at: datetime | None = None,
) -> list[Label]:
    """Say the same of many transactions at once."""
    now, arrival = timezone.now(), _arrival_now()
    return Label.objects.bulk_create(
        (
            Label(
                transaction_id=transaction_id,
                is_fraud=is_fraud,
                labelled_at=labelled_at,
                source=source,
                known_from=labelled_at or now,
                arrival=arrival,
                received_at=now,
                created_by=principal,
            )
            for transaction_id in transaction_ids
        ),
        batch_size=1_000,
    )
