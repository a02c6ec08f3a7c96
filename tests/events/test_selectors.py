"""What was known of customers and transactions at a moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.utils import timezone

from ingestion.events.selectors import labels_known, profiles_latest, profiles_of
from tests.clients import ApiClient
from tests.events.bodies import kyc, label


def test_it_finds_the_profiles_of_each_customer_oldest_first(api: ApiClient) -> None:
    api.post(
        "events/kyc/", [kyc(risk_tier="pep", updated_at="2026-03-03T00:00:00Z"), kyc(), kyc(user_id="U2")]
    )
    found = profiles_of(["U1", "U2", "U3"])
    assert {user: [each.risk_tier for each in profiles] for user, profiles in found.items()} == {
        "U1": ["medium", "pep"],
        "U2": ["medium"],
    }


def test_the_latest_profile_of_each_customer_is_the_newest_however_they_arrived(api: ApiClient) -> None:
    newest = kyc(risk_tier="pep", updated_at="2026-03-03T00:00:00Z")
    api.post("events/kyc/", [newest, kyc(), kyc(user_id="U2")])
    latest = profiles_latest(["U1", "U2", "U3"])
    assert {each.user_id: each.risk_tier for each in latest} == {"U1": "pep", "U2": "medium"}


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
