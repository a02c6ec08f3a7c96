"""Rows that tests of alerts, cases and risk start from."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.utils import timezone

from ingestion.models import Transaction
from rules.models import Rule
from screening.models import Alert, Case, RiskSignal
from screening.outbox.worker import outbox_work

AT = datetime(2026, 3, 4, 10, 0, tzinfo=UTC)


def transaction(**given: Any) -> Transaction:
    fields = {
        "transaction_id": f"T-{uuid.uuid4()}",
        "user_id": "U1",
        "account_id": "A1",
        "amount": Decimal("100"),
        "currency": "NGN",
        "transaction_type": "debit",
        "channel": "web",
        "occurred_at": AT,
        "arrival": 1,
        "payload_digest": b"0" * 16,
    }
    return Transaction.objects.create(**fields | given)


def rule(name: str = "Velocity") -> Rule:
    return Rule.objects.get_or_create(name=name)[0]


def alert(**given: Any) -> Alert:
    fields = {
        "rule": rule(),
        "rule_version": 1,
        "user_id": "U1",
        "account_id": "A1",
        "severity": "medium",
        "reason": "Burst of transactions",
        "occurred_at": AT,
    }
    return Alert.objects.create(**fields | given)


def case(**given: Any) -> Case:
    """The case that a new alert opened."""
    raised = alert(**given)
    outbox_work()
    raised.refresh_from_db()
    assert raised.case is not None
    return raised.case


def signal(name: str = "velocity", weight: str = "0.25", **given: Any) -> RiskSignal:
    raised_at = given.pop("raised_at", timezone.now() - timedelta(seconds=1))
    horizon = given.pop("horizon", timedelta(minutes=10))
    fields = {
        "account_id": "A1",
        "user_id": "U1",
        "signal": name,
        "weight": Decimal(weight),
        "raised_at": raised_at,
        "holds_until": raised_at + horizon,
        "event_id": f"T-{uuid.uuid4()}",
    }
    return RiskSignal.objects.create(**fields | given)
