"""From the outcomes of the rules in force to one decision: the most severe hit, the capped sum of scores."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from rules.core.evaluate import RuleOutcome
from rules.core.model import Action

SEVERITY_OF_OUTCOME = {"approve": 0, "review": 1, "block": 2}
_OUTCOME_OF_ACTION = {
    "flag": "review",
    "alert": "review",
    "block": "block",
    "score": "approve",
    "allow": "approve",
}
MAX_SCORE = Decimal(100)
DEFAULT_ALERT_SEVERITY = "medium"


@dataclass(frozen=True, slots=True)
class AlertDraft:
    """An alert to open, for the `alert` action of a hit."""

    outcome: RuleOutcome
    severity: str
    reason: str
    signal: str | None


@dataclass(frozen=True, slots=True)
class SignalDraft:
    """A signal to raise on the account from the event's time for `horizon_us`, by the first rule that raised it."""

    signal: str
    weight: Decimal
    horizon_us: int
    outcome: RuleOutcome


@dataclass(frozen=True, slots=True)
class DecisionDraft:
    """`allowed_by` is the first rule (in the order given) whose `allow` took effect. `hits` are all that hit, the
    ones without effect too; `errors` those that failed."""

    outcome: str
    overall_status: str
    total_risk_score: Decimal
    allowed_by: RuleOutcome | None
    hits: tuple[RuleOutcome, ...]
    errors: tuple[RuleOutcome, ...]
    alerts: tuple[AlertDraft, ...]
    signals: tuple[SignalDraft, ...]


def decide(outcomes: Iterable[RuleOutcome], *, on_rule_error: str = "review") -> DecisionDraft:
    """The decision over the outcomes of live rules; shadow ones are evaluated apart and never passed in.

    When a hit allows, no other hit has any effect. An error is at least `on_rule_error` ("review" or "block"),
    allowed or not: a rule that could not be evaluated has not been passed.
    """
    everything = tuple(outcomes)
    hits = tuple(outcome for outcome in everything if outcome.status == "flagged")
    errors = tuple(outcome for outcome in everything if outcome.status == "error")
    allowed_by = next((hit for hit in hits if _allows(hit)), None)
    effective = () if allowed_by is not None else hits
    severities = [_OUTCOME_OF_ACTION[action.action_type] for hit in effective for action in _actions(hit)]
    if errors:
        severities.append(on_rule_error)
    return DecisionDraft(
        outcome=max(severities, key=SEVERITY_OF_OUTCOME.__getitem__, default="approve"),
        overall_status="flagged" if hits else "clean",
        total_risk_score=min(MAX_SCORE, sum((hit.risk_score for hit in effective), Decimal(0))),
        allowed_by=allowed_by,
        hits=hits,
        errors=errors,
        alerts=tuple(
            _alert(hit, action) for hit in effective for action in _actions(hit) if _is_alert(action)
        ),
        signals=_signals(effective),
    )


def _actions(hit: RuleOutcome) -> tuple[Action, ...]:
    return hit.rule.rule.actions


def _allows(hit: RuleOutcome) -> bool:
    return any(action.action_type == "allow" for action in _actions(hit))


def _is_alert(action: Action) -> bool:
    return action.action_type == "alert"


def _alert(hit: RuleOutcome, action: Action) -> AlertDraft:
    return AlertDraft(
        hit, action.severity or DEFAULT_ALERT_SEVERITY, action.reason or hit.reason, action.signal
    )


def _signals(hits: Iterable[RuleOutcome]) -> tuple[SignalDraft, ...]:
    """One draft per signal: of several raisers the largest weight and the longest horizon hold."""
    raised: dict[str, SignalDraft] = {}
    for hit in hits:
        for action in _actions(hit):
            if action.signal is None or action.weight is None or action.horizon_us is None:
                continue
            known = raised.get(action.signal)
            raised[action.signal] = SignalDraft(
                action.signal,
                max(action.weight, known.weight) if known else action.weight,
                max(action.horizon_us, known.horizon_us) if known else action.horizon_us,
                known.outcome if known else hit,
            )
    return tuple(raised.values())
