"""Profiles, ages and labels in columns: the same as what real time looks up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ingestion.models import CustomerProfile, Transaction
from rules.core.compile import CompiledRuleset, compile_rule
from rules.core.lists import NO_LISTS
from rules.core.parse import parse_rule
from screening.batch.columns.engine import ColumnRun
from screening.batch.columns.scope import AsOf, Scope
from screening.batch.columns.stage import Memory
from screening.events import event_of
from screening.facts import facts_of_all
from screening.selectors import event_fields_of
from tests.screening.batch.conftest import START, rule_document, transaction_store

NAMES = (
    "customer.risk_tier",
    "customer.kyc_status",
    "customer.account_type",
    "customer.country_of_residence",
    "customer.age_days",
    "account.age_days",
)


def profile(user_id: str, days: int, tier: str, *, arrival: int = 1, since: datetime | None = None) -> None:
    CustomerProfile.objects.create(
        user_id=user_id,
        risk_tier=tier,
        kyc_status="verified",
        account_type="personal",
        country_of_residence="NG",
        customer_since=since,
        updated_at=START + timedelta(days=days),
        arrival=arrival,
        payload_digest=bytes(16),
    )


def columns_facts(as_of: AsOf, directory: Path) -> dict[str, dict[str, object]]:
    conditions = [{"field": name, "operator": "is_not_null"} for name in NAMES]
    rule = parse_rule(rule_document(conditions=conditions)).rule
    ids = dict(Transaction.objects.values_list("pk", "transaction_id"))
    with ColumnRun(
        CompiledRuleset([compile_rule(rule)]), NO_LISTS, Scope(as_of=as_of), Memory(directory)
    ) as run:
        run.prepare()
        rows = run.database.execute(
            f"SELECT s.id, s.us, s.arrival, {', '.join(run.event_sql())} FROM screened s"
        ).fetchall()
        return {ids[pk]: run.event_of(us, arrival, values) for pk, us, arrival, *values in rows}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("as_of", ["event", "arrival"])
def test_they_are_what_real_time_looks_up(as_of: AsOf, tmp_path: Path) -> None:
    for number, (days, user, account) in enumerate(
        [(0, "U1", "A1"), (3, "U1", "A2"), (5, "U2", "A1"), (9, "U1", "A1"), (12, "U3", "A3")]
    ):
        transaction_store(
            number,
            user_id=user,
            account_id=account,
            occurred_at=START + timedelta(days=days),
            arrival=100 + number,
        )
    profile("U1", 2, "low")
    profile("U1", 8, "high", since=datetime(2025, 1, 1, tzinfo=UTC))
    profile("U2", 6, "pep")
    found = columns_facts(as_of, tmp_path)
    for row in Transaction.objects.all():
        (expected,) = facts_of_all([event_of(event_fields_of(row))], NAMES)
        assert {name: found[row.transaction_id][name] for name in NAMES} == expected


@pytest.mark.django_db(transaction=True)
def test_as_of_arrival_knows_no_profile_and_no_payment_that_came_later(tmp_path: Path) -> None:
    transaction_store(1, occurred_at=START + timedelta(days=5), arrival=100)
    transaction_store(2, occurred_at=START, arrival=200)
    profile("U1", 1, "high", arrival=150)
    then, now = columns_facts("arrival", tmp_path)["T1"], columns_facts("event", tmp_path)["T1"]
    assert (then["customer.risk_tier"], now["customer.risk_tier"]) == (None, "high")
    assert (then["account.age_days"], now["account.age_days"]) == (0, 5)
