"""Facts of past events that filters read: each as of the event's own time."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db.models import Q

from ingestion.models import CustomerProfile
from screening.events import EVENT_SOURCES
from tests.screening.batch.conftest import START, transaction_store

pytestmark = pytest.mark.django_db


def facts(*names: str) -> list[tuple[Any, ...]]:
    found = EVENT_SOURCES["transaction"].events(
        Q(), facts=frozenset(names), known_at=START + timedelta(days=99)
    )
    return [tuple(event[name] for name in names) for event in found]


def profile(at_day: int, **given: Any) -> None:
    CustomerProfile.objects.create(
        user_id="U1",
        kyc_status="verified",
        updated_at=START + timedelta(days=at_day),
        arrival=1,
        payload_digest=bytes(16),
        **given,
    )


def test_an_age_counts_from_the_first_event_of_the_party() -> None:
    for number, day in enumerate((0, 3, 10)):
        transaction_store(number, occurred_at=START + timedelta(days=day))
    transaction_store(3, user_id="U2", occurred_at=START + timedelta(days=5))
    assert facts("account.age_days", "customer.age_days") == [(0, 0), (3, 3), (5, 0), (10, 10)]


def test_a_late_event_makes_the_party_older() -> None:
    transaction_store(1, occurred_at=START + timedelta(days=4))
    assert facts("account.age_days") == [(0,)]
    transaction_store(2, occurred_at=START)
    assert facts("account.age_days") == [(0,), (4,)]


def test_a_customer_s_age_is_what_the_profile_in_force_says() -> None:
    for number, day in enumerate((1, 6)):
        transaction_store(number, occurred_at=START + timedelta(days=day))
    profile(5, risk_tier="high", customer_since=START - timedelta(days=100))
    assert facts("customer.age_days", "customer.risk_tier") == [
        (Decimal(0), None),
        (Decimal(106), "high"),
    ]
