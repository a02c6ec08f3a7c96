"""Reading transactions with their decisions, and rule results."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import QuerySet

from fraudsite.errors import Gone
from ingestion.models import RetiredTransaction, Transaction
from ingestion.payloads import FIELD_NAMES
from ingestion.retired.selectors import retired_find
from ingestion.selectors import transaction_get
from rules.core.evidence import instant_text
from rules.models import RulesetVersion, RuleVersion
from screening.compiled import versions
from screening.decisions import (
    RESULTS_A_DECISION,
    STATUS_LETTERS,
    DecisionFacts,
    decision_body,
    result_body,
)
from screening.events import event_of
from screening.models import Decision, ScreeningType

_PENDING = {"status": "pending"}


# Large, and nothing that a list of payments shows.
_NOT_LISTED = ("metadata", "decision__results", "decision__facts")


def payments_of(**party: str | None) -> QuerySet[Transaction]:
    """The payments of one party (`user_id=…` or `account_id=…`) with their decisions, newest first. Those that came
    without a time and are not decided yet are left out; metadata and evidence are read only where they are used."""
    of_party = Transaction.objects.filter(**party, occurred_at__isnull=False)
    return of_party.select_related("decision").defer(*_NOT_LISTED).order_by("-occurred_at", "-id")


def event_fields_of(row: Transaction) -> dict[str, Any]:
    return {
        **{name: getattr(row, name) for name in FIELD_NAMES},
        "base_amount": row.base_amount,
        "received_at": row.received_at,
    }


def event_decided_on(row: Transaction, decision: Decision) -> dict[str, Any]:
    """The transaction as the rules saw it: with what derives from it, and what was looked up beside it."""
    facts = {
        name: Decimal(value) if type(value) is int else value
        for name, value in (decision.facts or {}).items()
    }
    return {**event_of(event_fields_of(row)), **facts}


def decision_of(row: Transaction) -> Decision | None:
    return Decision.objects.filter(transaction_id=row.pk).first()


def decision_facts_of(decision: Decision) -> DecisionFacts:
    stored = decision.results
    return DecisionFacts(
        decision_id=decision.decision_id,
        outcome=decision.outcome,
        overall_status=decision.overall_status,
        total_risk_score=decision.total_risk_score,
        ruleset=decision.ruleset,
        allowed_by=decision.allowed_by,
        degraded=decision.degraded,
        results=stored["live"],
        shadow=stored["shadow"],
        duration_ms=decision.duration_ms,
        created_at=decision.created_at,
        pk=decision.pk,
    )


def screening_body(row: Transaction, *, replayed: bool) -> dict[str, Any]:
    """The stored decision of a transaction, or `{"status": "pending"}`."""
    decision = decision_of(row)
    if decision is None:
        # It may have left after it was read.
        retired = None if row.arrival is None else retired_find(row.transaction_id)
        if retired is not None:
            return retired_screening_body(retired, replayed=replayed)
        return {"transaction_id": row.transaction_id, **_PENDING, "replayed": replayed}
    if row.arrival is None:
        # Read while it was pending, decided since: the decision is of the time and amounts that it was given then.
        row.refresh_from_db()
    return decision_body(decision_facts_of(decision), event_decided_on(row, decision), replayed=replayed)


def screening_get(transaction_id: str) -> dict[str, Any]:
    """The decision on a transaction, also on one that has left. Raises Missing."""
    try:
        return screening_body(transaction_get(transaction_id), replayed=True)
    except Gone:
        retired = RetiredTransaction.objects.get(transaction_id=transaction_id)
        return retired_screening_body(retired, replayed=True)


def retired_screening_body(retired: RetiredTransaction, *, replayed: bool) -> dict[str, Any]:
    """The same of a transaction that has left: without the evidence, which left with it."""
    return {
        "transaction_id": retired.transaction_id,
        "decision_id": str(retired.decision_id),
        "overall_status": retired.overall_status,
        "decision": retired.outcome,
        "total_risk_score": float(retired.total_risk_score),
        "results": [],
        "allowed_by": retired.allowed_by,
        "ruleset_version": retired.ruleset,
        "degraded": retired.degraded,
        "replayed": replayed,
        "created_at": instant_text(retired.decided_at),
        "archived": True,
        "archived_at": instant_text(retired.retired_at),
    }


class RealTimeResults:
    """Rule results of real-time decisions, newest decision first (or `oldest_first`), as the paginator takes them:
    sliced and counted. `in_shadow`: those of the versions that were in shadow, instead of those in force.

    What is flagged or failed is found by the hits, a rule by the rulesets it was in, and what is not asked for by
    status is counted by ruleset. Only `clean` and `not_applicable` are looked for in every decision's verdicts.
    """

    def __init__(
        self,
        *,
        transaction_id: str | None,
        rule_id: int | None,
        status: str | None,
        in_shadow: bool = False,
        oldest_first: bool = False,
    ) -> None:
        self._way = "ASC" if oldest_first else "DESC"
        self._in_shadow = in_shadow
        self._is_by_hits = transaction_id is None and status in ("flagged", "error")
        self._is_by_ruleset = transaction_id is None and status is None
        self._values = {
            "transaction": transaction_id,
            "rule": None if rule_id is None else str(rule_id),
            "status": status,
            "letter": None if status is None else STATUS_LETTERS[status],
            "in_shadow": in_shadow,
            "rulesets": _rulesets_with(rule_id, in_shadow=in_shadow) if rule_id is not None else [],
        }
        self._verdicts = "d.shadow_verdicts" if in_shadow else "d.verdicts"
        self._where = self._conditions()

    def _conditions(self) -> str:
        values, conditions = self._values, []
        if self._in_shadow:
            # Few decisions have any, and those have an index.
            conditions.append("d.shadow_verdicts <> ''")
        if values["transaction"] is not None:
            conditions.append(
                "d.transaction_id = (SELECT id FROM ingestion_transaction WHERE transaction_id = %(transaction)s)"
            )
        if values["rule"] is not None:
            conditions += ["d.ruleset = ANY(%(rulesets)s)", "left(r.verdict, -1) = %(rule)s"]
        if values["status"] is not None:
            conditions.append("right(r.verdict, 1) = %(letter)s")
        return "WHERE " + " AND ".join(conditions) if conditions else ""

    @property
    def _from(self) -> str:
        return f"""FROM screening_decision d
            CROSS JOIN LATERAL string_to_table({self._verdicts}, ' ') WITH ORDINALITY AS r(verdict, place)"""

    def __getitem__(self, wanted: slice) -> list[dict[str, Any]]:
        order = f"ORDER BY d.id {self._way}, r.place LIMIT %(limit)s OFFSET %(offset)s"
        sql = f"SELECT d.id, r.place - 1 {self._from} {self._where} {order}"
        if self._is_by_hits:
            sql = f"""SELECT d.id, r.place - 1 FROM (
                    SELECT decision_id, rule_id {self._hits()}
                    ORDER BY decision_id {self._way} FETCH FIRST %(last)s ROWS WITH TIES
                ) h JOIN screening_decision d ON d.id = h.decision_id
                CROSS JOIN LATERAL string_to_table({self._verdicts}, ' ') WITH ORDINALITY AS r(verdict, place)
                WHERE r.verdict = h.rule_id || %(letter)s {order}"""  # noqa: S608 - our own words
        places = self._rows(sql, limit=wanted.stop - wanted.start, offset=wanted.start, last=wanted.stop)
        return _result_bodies([(int(pk), int(place)) for pk, place in places], in_shadow=self._in_shadow)

    def count(self) -> int:
        sql = f"SELECT count(*) {self._from} {self._where}"
        # Hits in shadow were kept before their verdicts were, and are few.
        if self._is_by_hits and not self._in_shadow:
            sql = f"SELECT count(*) {self._hits()}"
        if self._is_by_ruleset and not self._in_shadow:
            sql = _COUNT_BY_RULESET
        return int(self._rows(sql)[0][0])

    def _hits(self) -> str:
        of_rule = "" if self._values["rule"] is None else "AND rule_id = %(rule)s::bigint"
        return f"FROM screening_rulehit WHERE is_shadow = %(in_shadow)s AND status = %(status)s {of_rule}"

    def _rows(self, sql: str, **more: int) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(sql, {**self._values, **more})
            return list(cursor.fetchall())


# All decisions made with a ruleset have a verdict of each of its rules for payments: one of them tells of all. It is
# the first one from there on in the index's order: for "any one with it" the planner may read the whole table.
_COUNT_BY_RULESET = """
WITH made AS (
    SELECT ruleset, count(*) AS n FROM screening_decision
    WHERE %(rule)s::text IS NULL OR ruleset = ANY(%(rulesets)s) GROUP BY ruleset
)
SELECT coalesce(sum(made.n * one.n), 0) FROM made CROSS JOIN LATERAL (
    SELECT count(*) AS n FROM (
        SELECT verdicts FROM screening_decision WHERE ruleset >= made.ruleset ORDER BY ruleset LIMIT 1
    ) d
    CROSS JOIN LATERAL string_to_table(d.verdicts, ' ') AS verdict
    WHERE %(rule)s::text IS NULL OR left(verdict, -1) = %(rule)s
) one
"""


def _rulesets_with(rule_id: int, *, in_shadow: bool) -> list[int]:
    """The numbers of the rulesets that any version of the rule was in."""
    versions_of_rule = list(RuleVersion.objects.filter(rule_id=rule_id).values_list("pk", flat=True))
    members = {"shadow__overlap" if in_shadow else "live__overlap": versions_of_rule}
    return list(RulesetVersion.objects.filter(**members).order_by().values_list("number", flat=True))


def _result_bodies(places: list[tuple[int, int]], *, in_shadow: bool) -> list[dict[str, Any]]:
    decisions = Decision.objects.select_related("transaction").in_bulk({pk for pk, _ in places})
    # Some may have left since their places were read.
    found = [(decisions[pk], place) for pk, place in places if pk in decisions]
    kept = "shadow" if in_shadow else "live"
    chosen = [(decision, place, decision.results[kept][place]) for decision, place in found]
    wordings = versions.get((packed[0], packed[1]) for _, _, packed in chosen)
    return [
        result_body(
            packed,
            wordings[packed[0], packed[1]],
            event_decided_on(decision.transaction, decision),
            # Behind those of the rules in force.
            result_id=decision.pk * RESULTS_A_DECISION
            + place
            + (len(decision.results["live"]) if in_shadow else 0),
            created_at=instant_text(decision.created_at),
            screening_type=ScreeningType.SHADOW if in_shadow else ScreeningType.REAL_TIME,
        )
        for decision, place, packed in chosen
    ]
