"""Accounts that became high or critical raise an alert, which opens a case or joins the one there is."""

from __future__ import annotations

from collections.abc import Iterable

from screening.alerts.models import Alert, AlertKind
from screening.cases.models import Case
from screening.live_first import live_first
from screening.models import RiskSignal
from screening.risk.selectors import AccountRisk, account_risk, risk_rises
from screening.risk.tiers import BOUNDS, OPENS_CASE, TIERS, tier_of

QUIET_UP_TO = min(bound for tier, bound in BOUNDS if tier in OPENS_CASE)
QUIET_RANK = max(rank for rank, tier in enumerate(TIERS) if tier not in OPENS_CASE)


def signals_assess(*, limit: int) -> int:
    """Look at the accounts of signals nobody looked at yet, at the moments they were raised and at those after them
    that they make riskier; returns how many.

    Which accounts are found depends neither on what is looked at together nor on the order it came in.
    """
    signals = live_first(RiskSignal.objects.filter(is_assessed=False).order_by("id"), "raised_at", limit)
    if not signals:
        return 0
    pks = [each.pk for each in signals]
    rises = risk_rises(pks, above=QUIET_UP_TO)
    said = _ranks_said({each.account_id for each in rises})
    for rise in rises:
        known = said.get(rise.account_id, QUIET_RANK)
        # Asked exactly only where there may be something to say: a burst on a risky account asks nothing.
        if TIERS.index(tier_of(rise.score_at_most)) <= known:
            continue
        risk = account_risk(rise.account_id, rise.at)
        if TIERS.index(risk.tier) > known:
            _raise_alert(risk, RiskSignal.objects.get(pk=rise.signal_pk))
            said[rise.account_id] = TIERS.index(risk.tier)
    RiskSignal.objects.filter(pk__in=pks).update(is_assessed=True)
    return len(signals)


def _ranks_said(account_ids: Iterable[str]) -> dict[str, int]:
    """Of each account the highest tier that an open case, or an alert on its way to one, says already."""
    alerts = Alert.objects.filter(kind=AlertKind.RISK, account_id__in=account_ids, severity__in=TIERS)
    said: dict[str, int] = {}
    for account_id, tier in alerts.exclude(case__status=Case.Status.CLOSED).values_list(
        "account_id", "severity"
    ):
        said[account_id] = max(said.get(account_id, QUIET_RANK), TIERS.index(tier))
    return said


def _raise_alert(risk: AccountRisk, signal: RiskSignal) -> None:
    parts = ", ".join(f"{each.signal} {each.weight.normalize():f}" for each in risk.signals)
    Alert.objects.create(
        kind=AlertKind.RISK,
        account_id=risk.account_id,
        user_id=signal.user_id,
        severity=risk.tier,
        reason=f"Account risk is {risk.tier} ({risk.score.normalize():f}): {parts}",
        event_kind=signal.event_kind,
        event_id=signal.event_id,
        occurred_at=signal.raised_at,
    )
