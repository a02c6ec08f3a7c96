"""Alerts of a case with the evidence of their rules, in the words a decision is told in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rules.core.compile import CompiledRule
from rules.core.wording import describe_rule
from screening.alerts.models import Alert
from screening.cases.models import Case
from screening.compiled import versions
from screening.decisions import result_body
from screening.models import Decision
from screening.selectors import event_decided_on


def alerts_with_evidence(case: Case, *, at_most: int) -> list[dict[str, Any]]:
    """Newest first, repeats left out; four queries however many there are.

    Of a login, a card event or an alert no decision is stored: `looked_for` says then what its rule looks for.
    """
    alerts = list(
        case.alerts.filter(repeat_of=None)
        .select_related("rule", "transaction", "decision")
        .order_by("-id")[:at_most]
    )
    wordings = versions.get(
        (alert.rule_id, alert.rule_version) for alert in alerts if alert.rule_id and alert.rule_version
    )
    rows = [(alert, _result(alert, wordings)) for alert in alerts]
    return [
        {
            "alert": alert,
            "result": result,
            "looked_for": _sentence(alert, wordings) if alert.event_kind != "transaction" else "",
        }
        for alert, result in rows
    ]


def _sentence(alert: Alert, wordings: Mapping[tuple[int, int], CompiledRule]) -> str:
    wording = (
        wordings.get((alert.rule_id, alert.rule_version)) if alert.rule_id and alert.rule_version else None
    )
    return describe_rule(wording.rule) if wording is not None else ""


def _result(alert: Alert, wordings: dict[tuple[int, int], Any]) -> dict[str, Any] | None:
    """What the alert's rule found in its decision; None for alerts of an account's risk or of another event."""
    if alert.decision is None or alert.transaction is None or alert.rule_id is None:
        return None
    packed = _packed(alert.decision, alert.rule_id)
    if packed is None:
        return None
    return result_body(
        packed,
        wordings[alert.rule_id, packed[1]],
        event_decided_on(alert.transaction, alert.decision),
        result_id=0,
        created_at="",
        screening_type="real_time",
    )


def _packed(decision: Decision, rule_id: int) -> list[Any] | None:
    return next((packed for packed in decision.results["live"] if packed[0] == rule_id), None)
