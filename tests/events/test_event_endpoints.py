"""POST events/{login, card, alert, kyc, label}/: one event or a list, exactly once, strictly read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction

from ingestion.events.payloads import KINDS, payload_read
from ingestion.events.selectors import labels_known
from ingestion.events.services import events_store
from ingestion.models import CustomerProfile, Label, LoginEvent
from tests.clients import ApiClient, assert_problem
from tests.events.bodies import ID_FIELD, OF_KIND, alert, card, kyc, label, login
from tests.threads import in_threads
from tests.waiting import Beside

KIND = pytest.mark.parametrize("kind", list(OF_KIND))


def stored(kind: str) -> int:
    return KINDS[kind].model._default_manager.count()


@KIND
def test_it_stores_one_event_and_answers_it(api: ApiClient, kind: str) -> None:
    body = OF_KIND[kind]()
    response = api.post(f"events/{kind}/", body)
    assert response.status_code == 201, response.content
    answer = response.json()
    assert answer["replayed"] is False
    assert {name: answer[name] for name in body} == body
    assert stored(kind) == 1


@KIND
def test_it_answers_a_retry_without_storing_it_again(api: ApiClient, kind: str) -> None:
    body = OF_KIND[kind]()
    first = api.post(f"events/{kind}/", body).json()
    again = api.post(f"events/{kind}/", body)
    assert again.status_code == 200
    assert again.json() == first | {"replayed": True}
    assert stored(kind) == 1


@pytest.mark.parametrize(
    ("kind", "change", "path"),
    [
        ("login", {"success": True}, "event_id"),
        ("card", {"event_type": "block"}, "event_id"),
        ("alert", {"alert_type": "other"}, "alert_id"),
        ("kyc", {"risk_tier": "pep"}, "updated_at"),
        ("label", {"is_fraud": False, "labelled_at": "2026-03-04T10:00:00Z"}, "labelled_at"),
    ],
)
def test_it_refuses_a_known_id_with_another_payload(
    api: ApiClient, kind: str, change: dict[str, Any], path: str
) -> None:
    body = OF_KIND[kind]() | ({"labelled_at": "2026-03-04T10:00:00Z"} if kind == "label" else {})
    assert api.post(f"events/{kind}/", body).status_code == 201
    assert_problem(api.post(f"events/{kind}/", body | change), 409, path)
    assert api.post(f"events/{kind}/", body).status_code == 200
    assert stored(kind) == 1


@KIND
def test_it_takes_a_list_whose_bad_rows_do_not_sink_the_good_ones(api: ApiClient, kind: str) -> None:
    name = ID_FIELD[kind]
    good = [OF_KIND[kind](**{name: f"id-{number}"}) for number in range(3)]
    api.post(f"events/{kind}/", good[0])
    missing = {key: value for key, value in good[0].items() if key != name}
    response = api.post(f"events/{kind}/", [good[0], missing, good[1], "text", good[2], good[2]])
    assert response.status_code == 202, response.content
    answer = response.json()
    assert (answer["accepted"], answer["replayed"]) == (2, 2)
    assert [each["index"] for each in answer["rejected"]] == [1, 3]
    assert answer["rejected"][0]["errors"] == [{"path": name, "message": "is required"}]
    assert answer["rejected"][1]["errors"] == [{"path": "$", "message": "must be an object"}]
    assert stored(kind) == 3


def test_it_rejects_the_second_of_two_different_events_with_one_id_in_a_list(api: ApiClient) -> None:
    answer = api.post("events/login/", [login(), login(success=True), login()]).json()
    assert (answer["accepted"], answer["replayed"]) == (1, 1)
    assert answer["rejected"][0]["index"] == 1
    assert LoginEvent.objects.get().success is False


@KIND
def test_it_refuses_a_caller_without_a_key_or_the_scope(db: None, kind: str) -> None:
    body = OF_KIND[kind]()
    assert_problem(ApiClient(raw_key="fs_0000000000_wrong").post(f"events/{kind}/", body), 401)
    assert_problem(ApiClient("read", "transactions:write").post(f"events/{kind}/", body), 403)
    assert ApiClient("events:write").post(f"events/{kind}/", body).status_code == 201
    assert stored(kind) == 1


@pytest.mark.parametrize(
    ("kind", "change", "path"),
    [
        ("login", {"success": "yes"}, "success"),
        ("login", {"success": None}, "success"),
        ("login", {"event_id": 7}, "event_id"),
        ("login", {"event_id": ""}, "event_id"),
        ("login", {"user_id": " "}, "user_id"),
        ("login", {"user_id": "u" * 129}, "user_id"),
        ("login", {"ip_address": "1.2.3"}, "ip_address"),
        ("login", {"ip_address": "fe80::1%" + "x" * 60}, "ip_address"),
        ("login", {"country_code": "XX"}, "country_code"),
        ("login", {"latitude": 90.1}, "latitude"),
        ("login", {"longitude": "east"}, "longitude"),
        ("login", {"latitude": True}, "latitude"),
        ("login", {"occurred_at": "2026-03-04T10:00:00"}, "occurred_at"),
        ("login", {"occurred_at": "0001-01-01T00:00:00+14:00"}, "occurred_at"),
        ("login", {"occurred_at": 1_700_000_000}, "occurred_at"),
        ("login", {"user_agent": "a\x07b"}, "user_agent"),
        ("login", {"user_agent": "a" * 513}, "user_agent"),
        ("login", {"is_fraud": True}, "is_fraud"),
        ("card", {"event_type": "stolen"}, "event_type"),
        ("card", {"initiated_by": "thief"}, "initiated_by"),
        ("card", {"card_id": "4111 1111 1111 1111"}, "card_id"),
        ("card", {"card_last4": "42"}, "card_last4"),
        ("alert", {"severity": "urgent"}, "severity"),
        ("alert", {"confidence_score": "1e400"}, "confidence_score"),
        ("alert", {"confidence_score": 10**12}, "confidence_score"),
        ("kyc", {"risk_tier": "huge"}, "risk_tier"),
        ("kyc", {"updated_at": None}, "updated_at"),
        ("kyc", {"country_of_residence": "Nigeria"}, "country_of_residence"),
        ("label", {"is_fraud": 1}, "is_fraud"),
        ("label", {"labelled_at": "yesterday"}, "labelled_at"),
    ],
)
def test_it_names_the_path_of_what_is_wrong_and_stores_nothing(
    api: ApiClient, kind: str, change: dict[str, Any], path: str
) -> None:
    assert_problem(api.post(f"events/{kind}/", OF_KIND[kind](**change)), 400, path)
    assert stored(kind) == 0


def test_an_alert_names_one_of_our_rules_by_its_number_too(api: ApiClient) -> None:
    """Our own answers write `rule_id` as a number; what was kept, and is compared by rules, is text."""
    answer = api.post("events/alert/", alert(rule_id=7))
    assert (answer.status_code, answer.json()["rule_id"]) == (201, "7")
    assert api.post("events/alert/", alert(rule_id="7")).status_code == 200
    for number, wrong in enumerate((True, 7.5, [7], "")):
        assert_problem(api.post("events/alert/", alert(alert_id=f"X{number}", rule_id=wrong)), 400, "rule_id")


def test_it_never_repeats_a_card_number_in_an_answer(api: ApiClient) -> None:
    response = api.post("events/card/", card(card_id="4111111111111111"))
    assert b"4111" not in response.content


@KIND
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"7",
        b"{",
        b'{"event_id": NaN}',
        b'{"user_id": "a", "user_id": "b"}',
        b'{"user_id": "\\u0000"}',
        b'{"user_id": "\xff"}',
        b"[" * 10_000,
    ],
)
def test_it_refuses_garbage(api: ApiClient, kind: str, body: bytes) -> None:
    assert_problem(api.post(f"events/{kind}/", body), 400)
    assert stored(kind) == 0


def test_it_refuses_more_than_five_thousand_events_and_ten_megabytes(api: ApiClient) -> None:
    assert_problem(api.post("events/login/", [{}] * 5_001), 400, "$")
    assert_problem(api.post("events/login/", login(user_agent="x" * 10_000_000)), 413)


def test_it_refuses_query_parameters_nobody_reads(api: ApiClient) -> None:
    assert_problem(api.post("events/login/?mode=async", login()), 400, "mode")


def test_it_takes_the_moment_of_reception_for_an_omitted_one_and_knows_the_retry(api: ApiClient) -> None:
    body = login()
    del body["occurred_at"]
    first = api.post("events/login/", body)
    assert first.status_code == 201
    occurred_at = datetime.fromisoformat(first.json()["occurred_at"])
    assert abs(datetime.now(UTC) - occurred_at) < timedelta(seconds=30)
    again = api.post("events/login/", body)
    assert again.status_code == 200
    assert again.json()["occurred_at"] == first.json()["occurred_at"]


def test_it_refuses_events_more_than_five_minutes_ahead(api: ApiClient) -> None:
    ahead = (datetime.now(UTC) + timedelta(minutes=6)).isoformat()
    assert_problem(api.post("events/login/", login(occurred_at=ahead)), 400, "occurred_at")
    assert_problem(api.post("events/kyc/", kyc(updated_at=ahead)), 400, "updated_at")
    near = (datetime.now(UTC) + timedelta(minutes=4)).isoformat()
    assert api.post("events/login/", login(occurred_at=near)).status_code == 201


def test_it_keeps_every_profile_a_user_ever_had(api: ApiClient) -> None:
    api.post("events/kyc/", kyc())
    api.post("events/kyc/", kyc(risk_tier="pep", updated_at="2026-03-02T00:00:00Z"))
    assert list(CustomerProfile.objects.values_list("risk_tier", flat=True)) == ["pep", "medium"]


def test_it_takes_a_label_that_takes_back_an_earlier_one(api: ApiClient) -> None:
    assert api.post("events/label/", label()).status_code == 201
    assert api.post("events/label/", label(is_fraud=False)).status_code == 201
    assert api.post("events/label/", label(is_fraud=False)).status_code == 200
    assert Label.objects.count() == 2


def test_it_takes_a_label_said_again_after_one_with_a_moment_said_otherwise(api: ApiClient) -> None:
    assert api.post("events/label/", label()).status_code == 201
    said_otherwise = label(is_fraud=False, labelled_at=datetime.now(UTC).isoformat())
    assert api.post("events/label/", said_otherwise).status_code == 201
    assert api.post("events/label/", label()).status_code == 201
    assert labels_known([label()["transaction_id"]]) == {label()["transaction_id"]: True}
    again = api.post("events/label/", [label(), said_otherwise, label()]).json()
    assert (again["accepted"], again["replayed"]) == (0, 3)


@pytest.mark.parametrize("minutes", [-60, 1])
def test_it_takes_a_label_for_a_retry_beside_one_that_changes_nothing_known_now(
    api: ApiClient, minutes: int
) -> None:
    """One of the past, and one of a client whose clock is ahead."""
    assert api.post("events/label/", label()).status_code == 201
    moment = (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()
    assert api.post("events/label/", label(is_fraud=False, labelled_at=moment)).status_code == 201
    assert api.post("events/label/", label()).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_it_stores_an_event_once_of_many_sent_at_the_same_time() -> None:
    client = ApiClient("events:write")

    def send(number: int) -> int:
        body = login(success=number % 2 == 0)
        return ApiClient(raw_key=client.raw_key).post("events/login/", body).status_code

    codes = in_threads(8, send, range(16))
    assert LoginEvent.objects.count() == 1
    assert codes.count(201) == 1
    assert set(codes) == {200, 201, 409}
    assert codes.count(409) == 8


@pytest.mark.django_db(transaction=True)
def test_of_two_who_label_a_transaction_at_once_the_second_sees_the_first() -> None:
    api = ApiClient()
    with transaction.atomic():
        events_store(
            kind=KINDS["label"],
            payloads=[payload_read(KINDS["label"], label(), now=datetime.now(UTC))],
            principal="tests",
        )
        beside = Beside(lambda: api.post("events/label/", [label(transaction_id="T0"), label()]))
        beside.must_wait()
    answer = beside.answer().json()
    assert (answer["accepted"], answer["replayed"]) == (1, 1)
    assert Label.objects.filter(transaction_id="T1").count() == 1
