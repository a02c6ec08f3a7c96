"""Accounts that became high or critical raise an alert, which opens a case or joins the one there is."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from screening.alerts.models import Alert, AlertKind
from screening.cases.models import Case
from screening.live_first import live_first
from screening.models import RiskSignal
from screening.risk.selectors import AccountRisk, account_risk, accounts_of_user
from screening.risk.tiers import OPENS_CASE, TIERS


def signals_assess(*, limit: int) -> int:
    """Look at the accounts of signals nobody looked at yet, at the moments they were raised; returns how many."""
    signals = live_first(RiskSignal.objects.filter(is_assessed=False).order_by("id"), "raised_at", limit)
    moments: dict[str, tuple[datetime, RiskSignal]] = {}
    for signal in signals:
        for account_id in _accounts_of(signal):
            known = moments.get(account_id)
            if known is None or signal.raised_at >= known[0]:
                moments[account_id] = (signal.raised_at, signal)
    for account_id, (at, signal) in moments.items():
        _raise_alert(account_risk(account_id, at), signal)
    RiskSignal.objects.filter(pk__in=[each.pk for each in signals]).update(is_assessed=True)
    return len(signals)


def _accounts_of(signal: RiskSignal) -> Iterable[str]:
    if signal.account_id is not None:
        return [signal.account_id]
    return accounts_of_user(signal.user_id, signal.raised_at) if signal.user_id else []


def _raise_alert(risk: AccountRisk, signal: RiskSignal) -> None:
    if risk.tier not in OPENS_CASE or _is_known(risk):
        return
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


def _is_known(risk: AccountRisk) -> bool:
    """Whether an open case, or an alert on its way to one, says already that the account is at least that risky."""
    severities = TIERS[TIERS.index(risk.tier) :]
    said = Alert.objects.filter(kind=AlertKind.RISK, account_id=risk.account_id, severity__in=severities)
    return said.exclude(case__status=Case.Status.CLOSED).exists()
