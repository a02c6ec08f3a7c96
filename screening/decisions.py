"""A decision as it is stored (compact, by rule version) and as it is answered (in words).

Stored is one list per rule, `[rule id, version, status letter, risk score, evidence, reason]`; everything else
follows from the rule's immutable wording and the transaction, so the first answer and every later one are told by
the same code from the same facts.
"""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import Q

from rules.core.compile import CompiledRule
from rules.core.decide import DecisionDraft
from rules.core.evaluate import RuleOutcome, aggregated_data, evidence_unpack, instant_text
from rules.models import RuleVersion
from screening.engine import Engine, compile_version, outcomes_split

STATUS_LETTERS = {"flagged": "f", "clean": "c", "not_applicable": "n", "error": "e"}
STATUSES = {letter: status for status, letter in STATUS_LETTERS.items()}
# Ids of results are made of their decision's and their place in it; no ruleset has more rules than this.
RESULTS_A_DECISION = 10_000
KNOWN_VERSIONS = 5_000

Packed = list[Any]


@dataclass(slots=True)
class DecisionFacts:
    """A decision about to be stored, or read back. `results` and `shadow` are packed."""

    decision_id: uuid.UUID
    outcome: str
    overall_status: str
    total_risk_score: Decimal
    ruleset: int
    allowed_by: int | None
    degraded: bool
    results: list[Packed]
    shadow: list[Packed]
    duration_ms: float
    created_at: datetime
    pk: int = 0
    # Of a decision just made: what `results` was packed from.
    outcomes: list[RuleOutcome] | None = None

    def stored(self) -> dict[str, Any]:
        return {"live": self.results, "shadow": self.shadow}


def pack(outcome: RuleOutcome) -> Packed:
    rule = outcome.rule
    reason = outcome.reason if outcome.status in ("not_applicable", "error") else None
    return [
        rule.rule_id,
        rule.version,
        STATUS_LETTERS[outcome.status],
        str(outcome.risk_score) if outcome.status == "flagged" else 0,
        outcome.pack(),
        reason,
    ]


def decision_facts(
    engine: Engine,
    draft: DecisionDraft,
    outcomes: Sequence[RuleOutcome],
    *,
    degraded: bool,
    duration_ms: float,
    created_at: datetime,
) -> DecisionFacts:
    live, shadow = outcomes_split(engine, outcomes)
    return DecisionFacts(
        decision_id=uuid.uuid4(),
        outcome=draft.outcome,
        overall_status=draft.overall_status,
        total_risk_score=draft.total_risk_score,
        ruleset=engine.number,
        allowed_by=None if draft.allowed_by is None else int(draft.allowed_by.rule.rule_id or 0),
        degraded=degraded,
        results=[pack(outcome) for outcome in live],
        shadow=[pack(outcome) for outcome in shadow],
        duration_ms=round(duration_ms, 3),
        created_at=created_at,
        outcomes=live,
    )


class VersionsKnown:
    """Compiled rule versions by (rule id, version), kept by this process: a wording never changes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[int, int], CompiledRule] = OrderedDict()

    def add(self, rules: Iterable[CompiledRule]) -> None:
        with self._lock:
            for rule in rules:
                self._known[int(rule.rule_id or 0), int(rule.version or 0)] = rule
            while len(self._known) > KNOWN_VERSIONS:
                self._known.popitem(last=False)

    def get(self, wanted: Iterable[tuple[int, int]]) -> dict[tuple[int, int], CompiledRule]:
        """All that are wanted, the unknown ones read with one query."""
        wanted = set(wanted)
        found = {key: self._known[key] for key in wanted if key in self._known}
        missing = wanted - found.keys()
        if missing:
            condition = Q()
            for rule_id, version in missing:
                condition |= Q(rule_id=rule_id, number=version)
            read = [compile_version(version) for version in RuleVersion.objects.filter(condition)]
            self.add(read)
            found.update({(int(rule.rule_id or 0), int(rule.version or 0)): rule for rule in read})
        return found

    def forget(self) -> None:
        self._known.clear()


versions = VersionsKnown()


def decision_body(
    facts: DecisionFacts, event: Mapping[str, Any], *, replayed: bool, screening_type: str = "real_time"
) -> dict[str, Any]:
    """The API's `screening` object. `event` is the transaction as the rules see it."""
    wordings = versions.get((packed[0], packed[1]) for packed in facts.results)
    created_at = instant_text(facts.created_at)
    return {
        "transaction_id": event["transaction_id"],
        "decision_id": str(facts.decision_id),
        "overall_status": facts.overall_status,
        "decision": facts.outcome,
        "total_risk_score": float(facts.total_risk_score),
        "results": [
            result_body(
                packed,
                wordings[packed[0], packed[1]],
                event,
                result_id=facts.pk * RESULTS_A_DECISION + place,
                created_at=created_at,
                screening_type=screening_type,
                outcome=facts.outcomes[place] if facts.outcomes else None,
            )
            for place, packed in enumerate(facts.results)
        ],
        "allowed_by": facts.allowed_by,
        "ruleset_version": facts.ruleset,
        "degraded": facts.degraded,
        "replayed": replayed,
        "screening_duration_ms": facts.duration_ms,
        "created_at": created_at,
    }


def result_body(
    packed: Packed,
    rule: CompiledRule,
    event: Mapping[str, Any],
    *,
    result_id: int,
    created_at: str,
    screening_type: str,
    outcome: RuleOutcome | None = None,
) -> dict[str, Any]:
    """One rule's result with its evidence in words."""
    rule_id, version, letter, score, packed_evidence, reason = packed
    if outcome is None:
        evidence = evidence_unpack(rule.rule, packed_evidence, event)
        conditions, aggregated = [each.as_document() for each in evidence], aggregated_data(evidence)
    else:
        conditions, aggregated = outcome.documents()
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
        "details": {"reason": reason or "", "conditions": conditions},
        "aggregated_data": aggregated,
        "screening_type": screening_type,
        "created_at": created_at,
    }
