"""What a webhook is told of each topic."""

from __future__ import annotations

from typing import Any

from screening.alerts.selectors import alert_body, alerts_shown
from screening.cases.models import Case
from screening.cases.selectors import case_body
from screening.decisions import decision_body
from screening.models import Decision
from screening.outbox.models import OutboxEntry
from screening.selectors import decision_facts_of, event_decided_on
from screening.webhooks.models import Topic


def message_of(entry: OutboxEntry) -> tuple[str, dict[str, Any]] | None:
    """(topic, body) of an outbox entry; None when nobody is told of it."""
    data = _data_of(entry)
    if data is None:
        return None
    topic, inner = data
    return topic, {
        "id": f"evt_{entry.pk}",
        "topic": topic,
        "subject": entry.subject,
        "created_at": entry.created_at.isoformat(),
        "data": inner,
    }


def _data_of(entry: OutboxEntry) -> tuple[str, dict[str, Any]] | None:
    payload = entry.payload
    match entry.kind:
        case OutboxEntry.Kind.DECISION:
            return _decision(int(payload["decision_pk"]))
        case OutboxEntry.Kind.ALERT:
            alert = alerts_shown().filter(pk=int(payload["alert_pk"])).first()
            return None if alert is None else (Topic.ALERT.value, alert_body(alert))
        case OutboxEntry.Kind.CASE:
            case = Case.objects.filter(pk=int(payload["case_pk"])).first()
            if case is None:
                return None
            return Topic.CASE.value, case_body(case) | {"action": payload["action"]}
    return None


def _decision(pk: int) -> tuple[str, dict[str, Any]] | None:
    """The decision with the rules that hit or failed; clean ones are read with `GET transactions/{id}/screening/`."""
    decision = Decision.objects.select_related("transaction").filter(pk=pk).first()
    if decision is None:
        return None
    body = decision_body(
        decision_facts_of(decision), event_decided_on(decision.transaction, decision), replayed=False
    )
    body["results"] = [each for each in body["results"] if each["status"] in ("flagged", "error")]
    return Topic.DECISION.value, body
