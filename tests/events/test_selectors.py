"""What was known of customers and transactions at a moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.utils import timezone

from ingestion.events.selectors import labels_known, profiles_in_force, profiles_of
from ingestion.models import CustomerProfile, Label
from tests.clients import ApiClient
from tests.events.bodies import kyc, label

MARCH = datetime(2026, 3, 1, tzinfo=UTC)


def test_it_finds_the_profile_in_force_at_a_moment(api: ApiClient) -> None:
    api.post(
        "events/kyc/", [kyc(), kyc(risk_tier="pep", updated_at="2026-03-03T00:00:00Z"), kyc(user_id="U2")]
    )
    tiers = [
        {user: profile.risk_tier for user, profile in profiles_in_force(["U1", "U2", "U3"], at).items()}
        for at in (MARCH - timedelta(microseconds=1), MARCH, MARCH + timedelta(days=2))
    ]
    assert tiers == [{}, {"U1": "medium", "U2": "medium"}, {"U1": "pep", "U2": "medium"}]
    assert [each.risk_tier for each in profiles_of(["U1"])["U1"]] == ["medium", "pep"]


def test_it_leaves_out_profiles_that_came_in_later(api: ApiClient) -> None:
    api.post("events/kyc/", kyc())
    arrival = CustomerProfile.objects.get().arrival
    assert profiles_in_force(["U1"], MARCH, arrived_by=arrival).keys() == {"U1"}
    assert profiles_in_force(["U1"], MARCH, arrived_by=arrival - 1) == {}


def test_it_knows_a_label_from_its_moment_or_else_from_its_arrival(api: ApiClient) -> None:
    api.post("events/label/", label(transaction_id="T1", labelled_at="2026-03-05T00:00:00Z"))
    api.post("events/label/", label(transaction_id="T2", is_fraud=False))
    fifth = datetime(2026, 3, 5, tzinfo=UTC)
    assert labels_known(["T1", "T2", "T3"]) == {"T1": True, "T2": False}
    assert labels_known(["T1", "T2"], at=fifth) == {"T1": True}
    assert labels_known(["T1"], at=fifth - timedelta(microseconds=1)) == {}
    assert labels_known(["T2"], at=timezone.now()) == {"T2": False}


def test_it_lets_the_label_known_latest_win_however_they_arrive(api: ApiClient) -> None:
    api.post("events/label/", label(labelled_at="2026-03-09T00:00:00Z", is_fraud=False))
    api.post("events/label/", label(labelled_at="2026-03-05T00:00:00Z", is_fraud=True))
    assert labels_known(["T1"]) == {"T1": False}
    assert labels_known(["T1"], at=datetime(2026, 3, 6, tzinfo=UTC)) == {"T1": True}
    first = Label.objects.order_by("id").first()
    assert first is not None
    assert labels_known(["T1"], arrived_by=first.arrival) == {"T1": False}
