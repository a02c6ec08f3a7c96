"""From what clients send to what investigators get: signals, alerts, own alerts as events, cases, labels, snoozes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingestion.models import AlertEvent, Label, LoginEvent
from rules.pack.selectors import entries_in_use
from rules.services import rule_create
from screening.alerts.selectors import snoozes
from screening.counting import fence, store
from screening.engine import engines
from screening.models import Alert, Case, RiskSignal
from screening.outbox.worker import outbox_work
from screening.storing import Effects
from tests.clients import ApiClient
from tests.events.bodies import login

NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=30)


@pytest.fixture
def pack(db: None) -> Iterator[None]:
    """The rules a fresh installation has live, Redis empty, nothing remembered of other tests."""
    store.forget_everything()
    _forget()
    for entry in entries_in_use():
        if entry.is_enabled:
            rule_create(document=entry.document, principal="system:tests", pack_key=entry.key)
    yield
    _forget()


def _forget() -> None:
    engines.forget()
    fence.forget()
    snoozes.forget()


def pay(api: ApiClient, number: int, *, seconds: float = 0, **given: Any) -> dict[str, Any]:
    body = {
        "transaction_id": f"T{number}",
        "user_id": "U1",
        "account_id": "A1",
        "amount": "120.00",
        "transaction_type": "debit",
        "channel": "pos",
        "occurred_at": (NOW + timedelta(seconds=seconds)).isoformat(),
    }
    response = api.post("transactions/", body | given)
    assert response.status_code == 201, response.content
    return response.json()["screening"]


def fail_to_log_in(api: ApiClient, number: int, *, seconds: float = 0, **given: Any) -> None:
    at = (NOW + timedelta(seconds=seconds)).isoformat()
    response = api.post("events/login/", login(event_id=f"L{number}", occurred_at=at, **given))
    assert response.status_code == 201, response.content


def signals() -> list[tuple[str, str | None]]:
    return list(RiskSignal.objects.order_by("id").values_list("signal", "account_id"))


def test_it_holds_a_signal_for_its_horizon_from_the_events_own_time(api: ApiClient, pack: None) -> None:
    for number in range(5):
        pay(api, number, seconds=number)
    for number in range(3):
        fail_to_log_in(api, number, seconds=number)
    held = {each.signal: (each.raised_at, each.holds_until) for each in RiskSignal.objects.order_by("id")}
    last_payment, last_login = NOW + timedelta(seconds=4), NOW + timedelta(seconds=2)
    assert held["velocity"] == (last_payment, last_payment + timedelta(minutes=10))
    assert held["brute_force"] == (last_login, last_login + timedelta(minutes=5))


def test_it_turns_a_burst_into_one_alert_with_repeats_one_signal_and_one_case(
    pack: None, api: ApiClient
) -> None:
    outcomes = [pay(api, number, seconds=number)["decision"] for number in range(8)]
    assert outcomes == ["approve"] * 4 + ["review"] * 4
    assert signals() == [("velocity", "A1")] * 4
    outbox_work()
    (opened,) = Case.objects.all()
    assert (opened.alert_count, opened.account_id, opened.priority) == (1, "A1", "medium")
    assert Alert.objects.filter(repeat_of=None).get().repeat_count == 3
    at = (NOW + timedelta(seconds=10)).isoformat()
    body = api.get("risk/accounts/A1/", at=at).json()
    assert (body["risk_score"], body["tier"]) == (0.35, "medium")
    assert body["signals"][0]["times_raised"] == 4


def test_it_sees_a_burst_across_the_turn_of_a_minute(pack: None, api: ApiClient) -> None:
    turn = 60 - NOW.second
    for number in range(5):
        pay(api, number, seconds=turn - 50 + number * 14)
    assert signals() == [("velocity", "A1")]


def test_it_raises_a_login_storm_on_the_accounts_of_the_user(pack: None, api: ApiClient) -> None:
    pay(api, 0, seconds=-60)
    for number in range(3):
        fail_to_log_in(api, number, seconds=number * 10)
    assert signals() == [("brute_force", None)]
    raised = Alert.objects.get()
    assert (raised.event_kind, raised.event_id, raised.user_id) == ("login", "L2", "U1")
    at = (NOW + timedelta(seconds=30)).isoformat()
    assert api.get("risk/accounts/A1/", at=at).json()["risk_score"] == 0.45


def test_it_raises_nothing_twice_for_a_login_sent_twice(pack: None, api: ApiClient) -> None:
    for number in range(3):
        fail_to_log_in(api, number, seconds=number)
    again = login(event_id="L2", occurred_at=(NOW + timedelta(seconds=2)).isoformat())
    assert api.post("events/login/", again).status_code == 200
    assert len(signals()) == 1
    assert Alert.objects.count() == 1


def test_it_counts_own_alerts_as_alert_events_and_finds_them_compound(pack: None, api: ApiClient) -> None:
    for number in range(3):
        fail_to_log_in(api, number, seconds=number)
    for number in range(5):
        pay(api, number, seconds=10 + number)
    own = AlertEvent.objects.filter(is_own=True)
    assert {"brute_force", "velocity"} <= set(own.values_list("alert_type", flat=True))
    assert own.filter(arrival=None).count() == 0
    assert "compound_fraud" in {name for name, _ in signals()}
    outbox_work()
    (opened,) = Case.objects.all()
    assert opened.priority == "critical"
    assert Alert.objects.filter(kind="risk", case=opened).exists()


def test_it_counts_an_outside_alert_together_with_its_own(pack: None, api: ApiClient) -> None:
    for number in range(5):
        pay(api, number, seconds=number)
    assert "compound_fraud" not in {name for name, _ in signals()}
    at = (NOW + timedelta(seconds=30)).isoformat()
    body = {"alert_id": "X1", "user_id": "U1", "alert_type": "device_risk", "occurred_at": at}
    assert api.post("events/alert/", body).status_code == 201
    assert "compound_fraud" in {name for name, _ in signals()}


def test_it_makes_up_for_own_alerts_whose_process_died(
    pack: None, api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("screening.aftermath.own_alerts_of_decisions", lambda pks: 0)
    for number in range(5):
        pay(api, number, seconds=number)
    assert AlertEvent.objects.count() == 0
    outbox_work()
    assert AlertEvent.objects.get().alert_type == "velocity"
    outbox_work()
    assert AlertEvent.objects.count() == 1


def test_it_raises_no_alert_and_no_signal_while_snoozed_but_records_the_hit(
    pack: None, api: ApiClient
) -> None:
    rule_id = api.get("rules/?name=on one account").json()["items"]
    velocity = next(rule["id"] for rule in rule_id if rule["name"].startswith("Velocity"))
    made = api.post(
        "snoozes/",
        {
            "rule_id": velocity,
            "entity_type": "account_id",
            "entity_id": "A1",
            "until": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
            "reason": "Payroll.",
        },
    )
    assert made.status_code == 201, made.content
    screened = [pay(api, number, seconds=number) for number in range(5)][-1]
    assert screened["decision"] == "review"
    assert velocity in [each["rule_id"] for each in screened["results"] if each["status"] == "flagged"]
    assert (signals(), Alert.objects.count()) == ([], 0)
    for number in range(5):
        pay(api, 10 + number, seconds=number, account_id="A2", user_id="U2")
    assert signals() == [("velocity", "A2")]


def test_it_lets_a_disposition_become_what_rules_know(pack: None, api: ApiClient) -> None:
    api.post(
        "rules/",
        {
            "name": "Proven before",
            "rule_type": "pattern",
            "conditions": [
                {
                    "field": "transaction_id",
                    "operator": "gte",
                    "value": 1,
                    "aggregate_function": "count",
                    "time_window": "30d",
                    "group_by": ["account_id"],
                    "filters": [{"field": "label.is_fraud", "operator": "eq", "value": True}],
                }
            ],
            "actions": [
                {"action_type": "block", "parameters": {"risk_score": 90, "reason": "Proven before"}}
            ],
        },
    )
    for number in range(5):
        pay(api, number, seconds=number)
    outbox_work()
    opened = Case.objects.get()
    disposed = api.post(f"cases/{opened.case_id}/dispose/", {"disposition": "confirmed_fraud"})
    assert disposed.status_code == 200, disposed.content
    assert Label.objects.get().transaction_id == "T4"
    later = datetime.now(UTC).isoformat()
    assert pay(api, 9, occurred_at=later)["decision"] == "block"


def test_it_screens_a_long_list_of_events_by_the_sweep(
    pack: None, api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from screening.events_api import services

    monkeypatch.setattr("screening.events_api.api.events_enqueue", lambda **given: None)
    bodies = [
        login(event_id=f"L{number}", user_id=f"U{number % 40}", occurred_at=NOW.isoformat())
        for number in range(120)
    ]
    assert api.post("events/login/", bodies).json()["accepted"] == 120
    assert signals() == []
    assert services.events_sweep() == 0
    monkeypatch.setattr(services, "SWEEP_AFTER", timedelta(0))
    assert services.events_sweep() == 120
    assert signals() == [("brute_force", None)] * 40
    assert services.events_sweep() == 0


def test_one_event_that_cannot_be_stored_keeps_none_of_its_neighbours_waiting(
    pack: None, api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from screening import event_screening

    def spoilt(draft: Any, shadow: Any, event: dict[str, Any]) -> Effects:
        made = effects_of(draft, shadow, event)
        if event.get("event_id") == "L5":
            made.alerts.append({"severity": "longer than its column"})
        return made

    effects_of = event_screening.effects_of
    monkeypatch.setattr(event_screening, "effects_of", spoilt)
    bodies = [login(event_id=f"L{number}", user_id=f"U{number % 4}") for number in range(16)]
    assert api.post("events/login/", bodies).json()["accepted"] == 16
    assert [each.event_id for each in LoginEvent.objects.filter(arrival=None)] == ["L5"]
    # The third and the fourth login of each of four users, but for its own.
    assert signals() == [("brute_force", None)] * 7
