"""A decision as it is stored (compact, by rule version) and as it is answered (in words).

Stored is one list per rule, `[rule id, version, status letter, risk score, evidence, reason]`; everything else
follows from the rule's immutable wording and the transaction, so the first answer and every later one say the same
(rules/core/telling.py puts the first one together from text; the tests hold it against the others).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson

from rules.core.compile import CompiledRule
from rules.core.decide import DecisionDraft
from rules.core.evaluate import RuleOutcome
from rules.core.evidence import aggregated_data, evidence_unpack, instant_text
from rules.core.telling import quoted
from screening.compiled import versions
from screening.engine import Engine

STATUS_LETTERS = {"flagged": "f", "clean": "c", "not_applicable": "n", "error": "e"}
STATUSES = {letter: status for status, letter in STATUS_LETTERS.items()}
# Ids of results are made of their decision's and their place in it; no ruleset has more rules than this.
RESULTS_A_DECISION = 10_000

Packed = list[Any]


@dataclass(slots=True)
class DecisionFacts:
    """A decision, read back or just made. `results` and `shadow` are its rules' results, packed; one just made has
    `outcomes` instead, of the live rules and of the shadow ones."""

    decision_id: uuid.UUID
    outcome: str
    overall_status: str
    total_risk_score: Decimal
    ruleset: int
    allowed_by: int | None
    degraded: bool
    results: Sequence[Packed]
    duration_ms: float
    created_at: datetime
    pk: int = 0
    shadow: Sequence[Packed] = ()
    outcomes: tuple[Sequence[RuleOutcome], Sequence[RuleOutcome]] = ((), ())

    def stored(self) -> str:
        """The column `results` of a decision just made, as JSON."""
        live, shadow = self.outcomes
        return f'{{"live":[{",".join(map(packed, live))}],"shadow":[{",".join(map(packed, shadow))}]}}'


def packed(outcome: RuleOutcome) -> str:
    """A rule's result as it is stored, as JSON."""
    rule, status = outcome.rule, outcome.status
    score = f'"{outcome.risk_score}"' if status == "flagged" else "0"
    reason = quoted(outcome.reason) if status in ("not_applicable", "error") else "null"
    return f'[{rule.rule_id},{rule.version},"{STATUS_LETTERS[status]}",{score},{outcome.packed()},{reason}]'


def decision_facts(
    engine: Engine,
    draft: DecisionDraft,
    outcomes: tuple[Sequence[RuleOutcome], Sequence[RuleOutcome]],
    *,
    degraded: bool,
    duration_ms: float,
    created_at: datetime,
) -> DecisionFacts:
    return DecisionFacts(
        decision_id=uuid.uuid4(),
        outcome=draft.outcome,
        overall_status=draft.overall_status,
        total_risk_score=draft.total_risk_score,
        ruleset=engine.number,
        allowed_by=None if draft.allowed_by is None else int(draft.allowed_by.rule.rule_id or 0),
        degraded=degraded,
        results=(),
        duration_ms=round(duration_ms, 3),
        created_at=created_at,
        outcomes=outcomes,
    )


def decision_body(facts: DecisionFacts, event: Mapping[str, Any], *, replayed: bool) -> dict[str, Any]:
    """The API's `screening` object of a decision read back. `event` is the transaction as the rules see it."""
    wordings = versions.get((packed[0], packed[1]) for packed in facts.results)
    created_at = instant_text(facts.created_at)
    results = [
        result_body(
            packed,
            wordings[packed[0], packed[1]],
            event,
            result_id=facts.pk * RESULTS_A_DECISION + place,
            created_at=created_at,
            screening_type="real_time",
        )
        for place, packed in enumerate(facts.results)
    ]
    return _decision_body(facts, event, results, created_at=created_at, replayed=replayed)


def fresh_decision_body(facts: DecisionFacts, event: Mapping[str, Any]) -> dict[str, Any]:
    """The same of a decision just made and stored, its results as JSON text: what a payment waits for."""
    created_at = instant_text(facts.created_at)
    first_id = facts.pk * RESULTS_A_DECISION
    transaction_id = quoted(event["transaction_id"])
    results = [
        _fresh_result(outcome, first_id + place, transaction_id, created_at)
        for place, outcome in enumerate(facts.outcomes[0])
    ]
    fragment = orjson.Fragment(f"[{','.join(results)}]")
    return _decision_body(facts, event, fragment, created_at=created_at, replayed=False)


def _decision_body(
    facts: DecisionFacts, event: Mapping[str, Any], results: Any, *, created_at: str, replayed: bool
) -> dict[str, Any]:
    return {
        "transaction_id": event["transaction_id"],
        "decision_id": str(facts.decision_id),
        "overall_status": facts.overall_status,
        "decision": facts.outcome,
        "total_risk_score": float(facts.total_risk_score),
        "results": results,
        "allowed_by": facts.allowed_by,
        "ruleset_version": facts.ruleset,
        "degraded": facts.degraded,
        "replayed": replayed,
        "screening_duration_ms": facts.duration_ms,
        "created_at": created_at,
    }


def _fresh_result(outcome: RuleOutcome, result_id: int, transaction_id: str, created_at: str) -> str:
    """`result_body` as JSON."""
    conditions, aggregated = outcome.documents()
    status, reason = outcome.status, outcome.reason
    if status == "flagged":
        reason = reason or outcome.rule.rule.name
    return (
        f'{{"id":{result_id},"transaction_id":{transaction_id},{outcome.rule.identity_json},"status":"{status}",'
        f'"risk_score":{float(outcome.risk_score)},"details":{{"reason":{quoted(reason)},"conditions":{conditions}}},'
        f'"aggregated_data":{aggregated},"screening_type":"real_time","created_at":"{created_at}"}}'
    )


def result_body(
    packed: Packed,
    rule: CompiledRule,
    event: Mapping[str, Any],
    *,
    result_id: int,
    created_at: str,
    screening_type: str,
) -> dict[str, Any]:
    """One rule's result with its evidence in words."""
    rule_id, version, letter, score, packed_evidence, reason = packed
    evidence = evidence_unpack(rule.rule, packed_evidence, event)
    status = STATUSES[letter]
    if status == "flagged":
        reason = next((action.reason for action in rule.rule.actions if action.reason), rule.rule.name)
    return {
        "id": result_id,
        "transaction_id": event["transaction_id"],
        "rule_id": rule_id,
        "rule_name": rule.rule.name,
        "rule_version": version,
        "status": status,
        "risk_score": float(score),
        "details": {"reason": reason or "", "conditions": [each.as_document() for each in evidence]},
        "aggregated_data": aggregated_data(evidence),
        "screening_type": screening_type,
        "created_at": created_at,
    }
