"""The risk of accounts, now or at any moment: a question to the signals that were raised.

A signal of a user's event (a login) has no account; it counts for the accounts the user paid from, found among the
user's 1,000 newest transactions up to the moment asked about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

from django.db import connection
from django.db.models import QuerySet

from fraudsite.errors import Missing
from ingestion.models import CardEvent, Transaction
from screening.models import RiskSignal
from screening.risk.tiers import BASE, BOUNDS, HIGHEST, RECOMMENDATIONS, score_of, tier_of

ACCOUNTS_AMONG = 1_000


@dataclass(frozen=True)
class HeldSignal:
    """A signal that holds: the largest weight and the latest end of those raised under its name."""

    signal: str
    weight: Decimal
    raised_at: datetime
    holds_until: datetime
    rule_ids: tuple[int, ...]
    times_raised: int


@dataclass(frozen=True)
class AccountRisk:
    account_id: str
    signals: tuple[HeldSignal, ...]

    @property
    def score(self) -> Decimal:
        return score_of(each.weight for each in self.signals)

    @property
    def tier(self) -> str:
        return tier_of(self.score)


_PAID_FROM = """AND s.user_id IN (
            SELECT user_id FROM ingestion_transaction
            WHERE account_id = ANY(%(accounts)s) AND occurred_at <= %(at)s
        )"""


def _holding(*, of_accounts: bool) -> str:
    """The signals that hold at %(at)s, those of users once for each of their accounts, then merged by name.

    Of all accounts, or of %(accounts)s alone: the same, only that no other user's transactions are read.
    """
    return f"""
holding AS (
    SELECT account_id, signal, weight, raised_at, holds_until, rule_id
    FROM screening_risksignal
    WHERE account_id IS NOT NULL AND holds_until > %(at)s AND raised_at <= %(at)s
        {"AND account_id = ANY(%(accounts)s)" if of_accounts else ""}
    UNION ALL
    SELECT paid.account_id, s.signal, s.weight, s.raised_at, s.holds_until, s.rule_id
    FROM screening_risksignal s CROSS JOIN LATERAL (
        SELECT DISTINCT account_id FROM (
            SELECT t.account_id FROM ingestion_transaction t
            WHERE t.user_id = s.user_id AND t.occurred_at <= %(at)s
            ORDER BY t.occurred_at DESC, t.id DESC LIMIT %(among)s
        ) newest
        {"WHERE account_id = ANY(%(accounts)s)" if of_accounts else ""}
    ) paid
    WHERE s.account_id IS NULL AND s.holds_until > %(at)s AND s.raised_at <= %(at)s
        {_PAID_FROM if of_accounts else ""}
),
by_signal AS (
    SELECT account_id, signal, max(weight) AS weight, min(raised_at) AS raised_at, max(holds_until) AS holds_until,
        array_agg(DISTINCT rule_id) FILTER (WHERE rule_id IS NOT NULL) AS rule_ids, count(*) AS times
    FROM holding GROUP BY account_id, signal
)
"""  # noqa: S608 - no input


_HELD = f"""
WITH {_holding(of_accounts=True)}
SELECT account_id, signal, weight, raised_at, holds_until, rule_ids, times
FROM by_signal ORDER BY weight DESC, signal
"""  # noqa: S608 - no input
_SCORED = f"""
WITH {_holding(of_accounts=False)}, scored AS (
    SELECT account_id, least(%(highest)s, %(base)s + sum(weight)) AS score FROM by_signal GROUP BY account_id
), found AS (
    SELECT account_id, score FROM scored WHERE score > %(above)s AND score <= %(up_to)s
)
"""  # noqa: S608 - no input


def account_risk(account_id: str, at: datetime) -> AccountRisk:
    """What holds of an account at a moment. An account without signals has the base risk."""
    return account_risks([account_id], at)[0]


def account_risks(account_ids: Sequence[str], at: datetime) -> list[AccountRisk]:
    """The same of many accounts, in their order: one query."""
    found: dict[str, list[HeldSignal]] = {account_id: [] for account_id in account_ids}
    with connection.cursor() as cursor:
        cursor.execute(_HELD, {"at": at, "among": ACCOUNTS_AMONG, "accounts": list(found)})
        for account_id, signal, weight, raised_at, until, rule_ids, times in cursor.fetchall():
            found[account_id].append(
                HeldSignal(signal, weight, raised_at, until, tuple(rule_ids or ()), times)
            )
    return [AccountRisk(account_id, tuple(signals)) for account_id, signals in found.items()]


def accounts_of_user(user_id: str, at: datetime) -> list[str]:
    """The accounts that a signal of this user counts for."""
    newest = Transaction.objects.filter(user_id=user_id, occurred_at__lte=at).order_by("-occurred_at", "-id")
    return sorted(set(newest.values_list("account_id", flat=True)[:ACCOUNTS_AMONG]))


def signals_past(account_id: str, at: datetime) -> QuerySet[RiskSignal]:
    """Those raised on the account itself that no longer hold, the last to end first."""
    return RiskSignal.objects.filter(account_id=account_id, holds_until__lte=at).order_by("-holds_until")


def account_require_known(account_id: str) -> None:
    """Missing for an account nothing was ever heard of: a typing error must not read as "low risk"."""
    named = {"account_id": account_id}
    if not (
        Transaction.objects.filter(**named).exists()
        or RiskSignal.objects.filter(**named).exists()
        or CardEvent.objects.filter(**named).exists()
        or Transaction.objects.filter(counterparty_account_id=account_id).exists()
    ):
        raise Missing(f"There is no account {account_id}.")


# When the accounts of some signals may have risen above a bound: at a signal's own moment, and where, within the
# horizon of one of them, another begins to hold (it may have been there first, and this one come late). What holds
# without a gap is one range, so a burst is one step up; the weights are then summed along time, each row read once.
_RISES = """
WITH fresh AS (
    SELECT account_id, raised_at, holds_until FROM screening_risksignal
    WHERE id = ANY(%(ids)s) AND account_id IS NOT NULL
    UNION ALL
    SELECT paid.account_id, s.raised_at, s.holds_until FROM screening_risksignal s CROSS JOIN LATERAL (
        (SELECT t.account_id FROM ingestion_transaction t WHERE t.user_id = s.user_id AND t.occurred_at <= s.raised_at
            ORDER BY t.occurred_at DESC, t.id DESC LIMIT %(among)s)
        UNION
        (SELECT t.account_id FROM ingestion_transaction t
            WHERE t.user_id = s.user_id AND t.occurred_at > s.raised_at AND t.occurred_at < s.holds_until
            ORDER BY t.occurred_at DESC, t.id DESC LIMIT %(among)s)
    ) paid WHERE s.id = ANY(%(ids)s) AND s.account_id IS NULL
), spans AS (
    SELECT account_id, unnest(range_agg(tstzrange(raised_at, holds_until))) AS span FROM fresh GROUP BY account_id
), held AS (
    SELECT spans.account_id, spans.span, s.* FROM spans CROSS JOIN LATERAL (
        SELECT id, signal, weight, raised_at, holds_until FROM screening_risksignal
        WHERE account_id = spans.account_id AND holds_until > lower(span) AND raised_at < upper(span)
        UNION ALL
        SELECT id, signal, weight, raised_at, holds_until FROM screening_risksignal
        WHERE account_id IS NULL AND holds_until > lower(span) AND raised_at < upper(span) AND user_id IN (
            SELECT user_id FROM ingestion_transaction
            WHERE account_id = spans.account_id AND occurred_at < upper(span)
        )
    ) s
), ranges AS (
    SELECT account_id, unnest(range_agg(tstzrange(raised_at, holds_until))) AS held, weight
    FROM held GROUP BY account_id, signal, weight
), steps AS (
    SELECT account_id, lower(held) AS at, weight FROM ranges
    UNION ALL SELECT account_id, upper(held), -weight FROM ranges
    UNION ALL SELECT account_id, raised_at, 0 FROM fresh
), sums AS (
    SELECT DISTINCT account_id, at, sum(weight) OVER (PARTITION BY account_id ORDER BY at) AS weight FROM steps
)
SELECT sums.account_id, sums.at, least(%(highest)s, %(base)s + sums.weight), max(held.id)
FROM sums JOIN held ON held.account_id = sums.account_id AND held.raised_at = sums.at AND sums.at <@ held.span
WHERE %(base)s + sums.weight > %(above)s GROUP BY 1, 2, 3 ORDER BY 1, 2
"""


@dataclass(frozen=True)
class Rise:
    """A moment at which an account may have reached a score: never less than `account_risk` says, and more only where
    one name has several weights or its user paid from the account later."""

    account_id: str
    at: datetime
    score_at_most: Decimal
    signal_pk: int


def risk_rises(signal_pks: Sequence[int], *, above: Decimal) -> list[Rise]:
    """When the accounts of these signals may be above a score because of them, by account and time: one query."""
    values = {
        "ids": list(signal_pks),
        "among": ACCOUNTS_AMONG,
        "highest": HIGHEST,
        "base": BASE,
        "above": above,
    }
    with connection.cursor() as cursor:
        cursor.execute(_RISES, values)
        return [Rise(*row) for row in cursor.fetchall()]


class RiskyAccounts:
    """Accounts with signals that hold at a moment, riskiest first unless `ordering` (names of `ORDERING`, each with
    whether it is descending) says otherwise, as the paginator takes them: sliced and counted.

    An account without any is `low` and not among them.
    """

    ORDERING: ClassVar = {"risk_score": "score", "account_id": "account_id"}

    def __init__(
        self,
        *,
        at: datetime,
        tier: str | None = None,
        minimum: str | None = None,
        ordering: Sequence[tuple[str, bool]] = (),
    ) -> None:
        above, up_to = _range(tier, minimum)
        self._at = at
        chosen = [*(ordering or [("risk_score", True)]), ("account_id", False)]
        self._order = ", ".join(
            f"{self.ORDERING[name]} {'DESC' if is_descending else 'ASC'}" for name, is_descending in chosen
        )
        self._values = {
            "at": at,
            "among": ACCOUNTS_AMONG,
            "highest": HIGHEST,
            "base": BASE,
            "above": above,
            "up_to": up_to,
        }

    def __getitem__(self, wanted: slice) -> list[AccountRisk]:
        rows = self._rows(
            f"SELECT account_id FROM found ORDER BY {self._order} LIMIT %(limit)s OFFSET %(offset)s",  # noqa: S608
            limit=wanted.stop - wanted.start,
            offset=wanted.start,
        )
        return account_risks([account_id for (account_id,) in rows], self._at)

    def count(self) -> int:
        return int(self._rows("SELECT count(*) FROM found")[0][0])

    def _rows(self, chosen: str, **more: Any) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(_SCORED + chosen, {**self._values, **more})
            return list(cursor.fetchall())


def _range(tier: str | None, minimum: str | None) -> tuple[Decimal, Decimal]:
    """The scores (above, up to] of one tier, or of a tier and all above it."""
    bounds = dict(BOUNDS)
    names = [*reversed([name for name, _ in BOUNDS])]
    if tier is not None:
        place = names.index(tier) if tier in names else -1
        above = bounds[tier] if tier in bounds else Decimal(-1)
        up_to = bounds[names[place + 1]] if place + 1 < len(names) else HIGHEST
        return above, up_to
    return bounds.get(minimum or "", Decimal(-1)), HIGHEST


def risk_body(risk: AccountRisk, *, at: datetime) -> dict[str, Any]:
    recommendation = RECOMMENDATIONS[risk.tier]
    return {
        "account_id": risk.account_id,
        "at": at,
        "risk_score": float(risk.score),
        "tier": risk.tier,
        "recommended_action": recommendation.action,
        "recommendation": recommendation.text,
        "signals": [
            {
                "signal": each.signal,
                "weight": float(each.weight),
                "raised_at": each.raised_at,
                "holds_until": each.holds_until,
                "rule_ids": list(each.rule_ids),
                "times_raised": each.times_raised,
            }
            for each in risk.signals
        ],
    }
