"""Which transactions may leave: looked at in the order of events, a chunk at a time, each with why it has to stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import connection

# Why `t`, decided by `d`, stays: the first that holds; null when it may leave. %(before)s is used in it.
# The oldest of a user and of an account stay for good: ages, and whether a party is known at all, are read from them.
_STAYS = """
CASE
    WHEN t.received_at >= %(before)s THEN 'received later'
    WHEN d.id IS NULL THEN 'not decided'
    WHEN d.created_at >= %(before)s THEN 'decided later'
    WHEN EXISTS (
        SELECT FROM ingestion_transactionrevision r WHERE r.transaction_id = t.id AND r.changed_at >= %(before)s
    ) THEN 'corrected later'
    WHEN EXISTS (SELECT FROM screening_alert a WHERE a.transaction_id = t.id)
        OR EXISTS (SELECT FROM screening_alert a WHERE a.decision_id = d.id) THEN 'alert'
    WHEN EXISTS (SELECT FROM screening_risksignal s WHERE s.decision_id = d.id) THEN 'risk signal'
    WHEN EXISTS (SELECT FROM ingestion_label l WHERE l.transaction_id = t.transaction_id) THEN 'label'
    WHEN EXISTS (
        SELECT FROM ingestion_alertevent e WHERE e.transaction_id = t.transaction_id AND NOT e.is_own
    ) THEN 'alert of another system'
    WHEN EXISTS (SELECT FROM screening_case c WHERE c.user_id = t.user_id AND c.status <> 'closed')
        OR EXISTS (SELECT FROM screening_case c WHERE c.account_id = t.account_id AND c.status <> 'closed')
        THEN 'open case about its user or account'
    WHEN d.id = ANY (%(told_later)s) THEN 'consequences not worked off'
    WHEN NOT EXISTS (
        SELECT FROM ingestion_transaction o
        WHERE o.user_id = t.user_id AND o.occurred_at < t.occurred_at AND o.arrival IS NOT NULL
    ) THEN 'oldest of its user'
    WHEN NOT EXISTS (
        SELECT FROM ingestion_transaction o
        WHERE o.account_id = t.account_id AND o.occurred_at < t.occurred_at AND o.arrival IS NOT NULL
    ) THEN 'oldest of its account'
END
"""
_FROM = "FROM {rows} t LEFT JOIN screening_decision d ON d.transaction_id = t.id"
_LOOK = f"""
WITH rows AS MATERIALIZED (
    SELECT id, transaction_id, user_id, account_id, occurred_at, arrival, received_at FROM ingestion_transaction
    WHERE occurred_at < %(before)s AND arrival IS NOT NULL
        AND (occurred_at, arrival, id) > (%(occurred_at)s, %(arrival)s, %(id)s)
    ORDER BY occurred_at, arrival, id LIMIT %(n)s
)
SELECT t.id, t.occurred_at, t.arrival, {_STAYS} {_FROM.format(rows="rows")} ORDER BY t.occurred_at, t.arrival, t.id
"""  # noqa: S608 - constants
_STILL = f"""
SELECT t.id, d.id {_FROM.format(rows="ingestion_transaction")} WHERE t.id = ANY (%(pks)s) AND ({_STAYS}) IS NULL
"""
_TOLD_LATER = """
SELECT coalesce(array_agg((payload ->> 'decision_pk')::bigint), '{}') FROM screening_outboxentry
WHERE processed_at IS NULL AND payload ? 'decision_pk'
"""


@dataclass(frozen=True, slots=True)
class Place:
    """In the order of events: what is behind it has not been looked at."""

    occurred_at: datetime = datetime(1, 1, 2, tzinfo=UTC)
    arrival: int = 0
    pk: int = 0


@dataclass(frozen=True, slots=True)
class Looked:
    """A chunk: primary keys of those that may leave, why the others stay, one text each; `end` is None at the end."""

    leaving: list[int]
    staying: list[str]
    end: Place | None


def look(*, before: datetime, after: Place, n: int) -> Looked:
    """The next `n` transactions that occurred before `before`. Those that are pending are not even looked at."""
    values = {
        "before": before,
        "occurred_at": after.occurred_at,
        "arrival": after.arrival,
        "id": after.pk,
        "n": n,
        "told_later": _told_later(),
    }
    with connection.cursor() as cursor:
        cursor.execute(_LOOK, values)
        rows = cursor.fetchall()
    return Looked(
        [pk for pk, _, _, stays in rows if stays is None],
        [stays for _, _, _, stays in rows if stays is not None],
        Place(rows[-1][1], rows[-1][2], rows[-1][0]) if rows else None,
    )


def still_leaving(pks: Sequence[int], *, before: datetime) -> dict[int, int]:
    """Primary keys of the decisions by those of the transactions that may leave; both are locked until the commit."""
    with connection.cursor() as cursor:
        # By a statement of its own: the one after sees all that was committed before the locks were had.
        cursor.execute(
            "SELECT FROM ingestion_transaction WHERE id = ANY (%s) ORDER BY id FOR UPDATE", [list(pks)]
        )
        values = {"before": before, "pks": list(pks), "told_later": _told_later()}
        cursor.execute(_STILL, values)
        return dict(cursor.fetchall())


def _told_later() -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(_TOLD_LATER)
        return list(cursor.fetchone()[0])
