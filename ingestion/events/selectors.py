"""What was known of customers and of transactions at a moment."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import QuerySet

from ingestion.events.models import CustomerProfile, Label, LoginEvent
from ingestion.events.payloads import EventKind, EventPayload
from ingestion.models import Transaction

# Known devices are looked for among this many of a customer's newest transactions and logins.
DEVICES_AMONG = 5_000


def profiles_of(user_ids: Iterable[str]) -> dict[str, list[CustomerProfile]]:
    """All profiles of each user, oldest first: for whoever screens many moments at once."""
    found: dict[str, list[CustomerProfile]] = {}
    for profile in CustomerProfile.objects.filter(user_id__in=set(user_ids)).order_by(
        "user_id", "updated_at"
    ):
        found.setdefault(profile.user_id, []).append(profile)
    return found


def profiles_latest(user_ids: Iterable[str]) -> QuerySet[CustomerProfile]:
    """The newest profile of each user that has one."""
    profiles = CustomerProfile.objects.filter(user_id__in=set(user_ids))
    return profiles.order_by("user_id", "-updated_at", "-id").distinct("user_id")


def labels_known(transaction_ids: Iterable[str], *, at: datetime | None = None) -> dict[str, bool]:
    """Whether each transaction is known as fraud; transactions nobody labelled are left out.

    With `at`, what was known then: a label is known from its `labelled_at` where given, else from its arrival.
    Of several the latest known wins.
    """
    labels = Label.objects.filter(transaction_id__in=set(transaction_ids))
    if at is not None:
        labels = labels.filter(known_from__lte=at)
    latest = labels.order_by("transaction_id", "-known_from", "-id").distinct("transaction_id")
    return dict(latest.values_list("transaction_id", "is_fraud"))


_DEVICES = """
SELECT device_id, min(occurred_at), max(occurred_at), sum(payments)::bigint, sum(logins)::bigint FROM (
    (SELECT device_id, occurred_at, 1 AS payments, 0 AS logins FROM ingestion_transaction
      WHERE user_id = %(user)s AND occurred_at <= %(at)s ORDER BY occurred_at DESC LIMIT %(among)s)
    UNION ALL
    (SELECT device_id, occurred_at, 0, success::int FROM ingestion_loginevent
      WHERE user_id = %(user)s AND occurred_at <= %(at)s AND success ORDER BY occurred_at DESC LIMIT %(among)s)
) used WHERE device_id IS NOT NULL GROUP BY device_id ORDER BY max(occurred_at) DESC, device_id
"""


def customer_devices(user_id: str, *, at: datetime) -> list[dict[str, Any]]:
    """The devices a customer paid from or logged in from, newest use first, among the 5,000 newest of each."""
    with connection.cursor() as cursor:
        cursor.execute(_DEVICES, {"user": user_id, "at": at, "among": DEVICES_AMONG})
        return [
            {
                "device_id": device_id,
                "first_seen": first_seen,
                "last_seen": last_seen,
                "transactions": payments,
                "logins": logins,
            }
            for device_id, first_seen, last_seen, payments, logins in cursor.fetchall()
        ]


def customer_is_known(user_id: str) -> bool:
    of_user: dict[str, Any] = {"user_id": user_id}
    return (
        CustomerProfile.objects.filter(**of_user).exists()
        or Transaction.objects.filter(**of_user).exists()
        or LoginEvent.objects.filter(**of_user).exists()
    )


def stored_body(kind: EventKind, payload: EventPayload) -> dict[str, Any]:
    """The stored event, profile or label that `payload` is, as the API answers it."""
    rows = kind.model._default_manager
    if kind.name == "kyc":
        row = rows.get(user_id=payload.id, updated_at=payload.values["updated_at"])
    elif kind.name == "label":
        same = {name: payload.values.get(name) for name in ("is_fraud", "labelled_at")}
        same["source"] = payload.values.get("source", "")
        row = rows.filter(transaction_id=payload.id, **same).latest("id")
    else:
        row = rows.get(**{kind.id_field: payload.id})
    return {name: _plain(getattr(row, name)) for name in (*kind.names, "received_at")}


def _plain(value: Any) -> Any:
    return value.normalize() if isinstance(value, Decimal) else value
