"""Accounts connected with an account or a device, found outward hop by hop.

One hop leads from an account to every account that used the same device or address, or that it paid or was paid by.
Bounded: newest transactions only, `MAX_SHARED` accounts for one shared value (more make it a hub, e.g. a public
address, which is named but not followed), `MAX_ACCOUNTS` in all; `is_truncated` says that a bound was met.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection

MAX_HOPS = 3
MAX_ACCOUNTS = 500
MAX_SHARED = 50
# An account's newest transactions that are looked at, and a shared value's.
ACCOUNT_READS = 1_000
VALUE_READS = 2_000

LINKS = {"device": "device_id", "address": "ip_address"}
COUNTERPARTY = "counterparty"


@dataclass
class Shared:
    """A device or address, with the accounts that used it."""

    kind: str
    value: str
    accounts: set[str] = field(default_factory=set)
    is_hub: bool = False


@dataclass
class Connections:
    """`hops` by account id (the asked one 0); `payments` are (payer, payee, count, first, last)."""

    hops: dict[str, int] = field(default_factory=dict)
    shared: dict[tuple[str, str], Shared] = field(default_factory=dict)
    payments: dict[tuple[str, str], tuple[int, datetime, datetime]] = field(default_factory=dict)
    is_truncated: bool = False


_NEWEST = """
FROM unnest(%(accounts)s::text[]) asked(id) CROSS JOIN LATERAL (
    SELECT device_id, ip_address, counterparty_account_id, occurred_at FROM ingestion_transaction
    WHERE account_id = asked.id AND occurred_at > %(since)s AND occurred_at <= %(until)s
    ORDER BY occurred_at DESC LIMIT %(reads)s
) t
"""
_VALUES_OF = f"SELECT DISTINCT asked.id, t.device_id, t.ip_address {_NEWEST}"
_PAYEES_OF = f"""
SELECT asked.id, t.counterparty_account_id, count(*), min(t.occurred_at), max(t.occurred_at) {_NEWEST}
WHERE t.counterparty_account_id IS NOT NULL GROUP BY 1, 2
"""
_BY_VALUE = """
SELECT asked.id, t.account_id, count(*), min(t.occurred_at), max(t.occurred_at)
FROM unnest(%(values)s::text[]) asked(id) CROSS JOIN LATERAL (
    SELECT account_id, occurred_at FROM ingestion_transaction
    WHERE {column} = asked.id AND occurred_at > %(since)s AND occurred_at <= %(until)s
    ORDER BY occurred_at DESC LIMIT %(reads)s
) t GROUP BY 1, 2
"""


def connections_of(
    *, accounts: Iterable[str], hops: int, since: datetime, until: datetime, first_hop: int = 0
) -> Connections:
    """The accounts within `hops` of the given ones, by what happened in (since, until].

    The given ones count as `first_hop` away.
    """
    found = Connections()
    frontier = sorted(accounts)
    for account in frontier:
        found.hops[account] = first_hop
    for hop in range(first_hop + 1, hops + 1):
        reached = _neighbours(found, frontier, since=since, until=until)
        frontier = []
        for account in sorted(reached - found.hops.keys()):
            if len(found.hops) >= MAX_ACCOUNTS:
                found.is_truncated = True
                break
            found.hops[account] = hop
            frontier.append(account)
        if not frontier:
            break
    return found


def accounts_on(device_id: str, *, since: datetime, until: datetime) -> list[str]:
    rows = _by_value("device_id", [device_id], since=since, until=until)
    return sorted({account for _, account, *_ in rows})


def _neighbours(found: Connections, frontier: list[str], *, since: datetime, until: datetime) -> set[str]:
    values: dict[str, set[str]] = {kind: set() for kind in LINKS}
    reached: set[str] = set()
    for account, device, address in _values_of(frontier, since=since, until=until):
        for kind, value in (("device", device), ("address", address)):
            if value is not None:
                _shared(found, kind, value).accounts.add(account)
                values[kind].add(value)
    for account, payee, *seen in _payees_of(frontier, since=since, until=until):
        _pay(found, account, payee, seen)
        reached.add(payee)
    for payee, payer, *seen in _by_value("counterparty_account_id", frontier, since=since, until=until):
        _pay(found, payer, payee, seen)
        reached.add(payer)
    for kind, column in LINKS.items():
        for value, account, *_ in _by_value(column, sorted(values[kind]), since=since, until=until):
            _shared(found, kind, value).accounts.add(account)
    return reached | set(_through_shared(found, values))


def _through_shared(found: Connections, values: dict[str, set[str]]) -> Iterator[str]:
    for kind, those in values.items():
        for value in those:
            shared = found.shared[kind, value]
            if len(shared.accounts) > MAX_SHARED:
                shared.is_hub = True
                found.is_truncated = True
            else:
                yield from shared.accounts


def _shared(found: Connections, kind: str, value: str) -> Shared:
    return found.shared.setdefault((kind, value), Shared(kind, value))


def _pay(found: Connections, payer: str, payee: str, seen: list[Any]) -> None:
    """One direction is read from both ends; what the payer's side says and the payee's are the same payments."""
    count, first, last = seen
    known = found.payments.get((payer, payee))
    if known is None or known[0] < count:
        found.payments[payer, payee] = (count, first, last)


def _values_of(accounts: Collection[str], *, since: datetime, until: datetime) -> list[tuple[Any, ...]]:
    return _rows(_VALUES_OF, accounts=list(accounts), since=since, until=until, reads=ACCOUNT_READS)


def _payees_of(accounts: Collection[str], *, since: datetime, until: datetime) -> list[tuple[Any, ...]]:
    return _rows(_PAYEES_OF, accounts=list(accounts), since=since, until=until, reads=ACCOUNT_READS)


def _by_value(
    column: str, values: Collection[str], *, since: datetime, until: datetime
) -> list[tuple[Any, ...]]:
    if not values:
        return []
    sql = _BY_VALUE.format(column=column)
    return _rows(sql, values=list(values), since=since, until=until, reads=VALUE_READS)


def _rows(sql: str, **given: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, given)
        return list(cursor.fetchall())


def connections_body(found: Connections) -> dict[str, Any]:
    """Accounts by distance, what they share (by at least two of them), and the payments among them."""
    return {
        "accounts": [
            {"account_id": account, "hops": hops}
            for account, hops in sorted(found.hops.items(), key=lambda each: (each[1], each[0]))
        ],
        "shared": [
            {
                "kind": shared.kind,
                "value": shared.value,
                "is_hub": shared.is_hub,
                "account_count": len(shared.accounts),
                "accounts": sorted(shared.accounts)[:MAX_SHARED],
            }
            for _, shared in sorted(found.shared.items())
            if len(shared.accounts) > 1
        ],
        "payments": [
            {"from": payer, "to": payee, "count": count, "first_at": first, "last_at": last}
            for (payer, payee), (count, first, last) in sorted(found.payments.items())
            if payer in found.hops and payee in found.hops
        ],
        "is_truncated": found.is_truncated,
    }
