"""Cases and alerts over HTTP: the queue, and what investigators do."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from fraudsite.errors import Invalid
from ingestion.models import Label
from screening.cases.services import BulkItem, cases_bulk
from screening.cases.transitions import TRANSITIONS
from screening.models import Alert, Case, CaseEntry
from tests.cases.making import alert, case, rule, transaction
from tests.clients import ApiClient, assert_problem
from tests.threads import in_threads

ALL = ("open", "in_review", "escalated", "closed")


def put_into(status: str) -> Case:
    opened = case()
    closed = {"disposition": "inconclusive", "closed_at": timezone.now()} if status == "closed" else {}
    Case.objects.filter(pk=opened.pk).update(status=status, **closed)
    opened.refresh_from_db()
    return opened


def test_it_lists_the_queue_by_priority_and_age(api: ApiClient) -> None:
    for number, severity in enumerate(("low", "critical", "medium", "critical")):
        case(user_id=f"U{number}", account_id=f"A{number}", severity=severity)
    answer = api.get("cases/?is_open=true").json()
    assert [each["account_id"] for each in answer["items"]] == ["A1", "A3", "A2", "A0"]
    assert answer["total"] == 4


def test_it_filters_cases(api: ApiClient) -> None:
    opened = case()
    case(user_id="U2", account_id="A2", severity="high")
    Case.objects.filter(pk=opened.pk).update(due_at=timezone.now() - timedelta(minutes=1))
    for query, accounts in (
        ("account_id=A2", ["A2"]),
        ("user_id=U1", ["A1"]),
        ("is_overdue=true", ["A1"]),
        ("is_overdue=false", ["A2"]),
        ("priority=high", ["A2"]),
        ("status=closed", []),
        ("is_assigned=true", []),
        ("ordering=-priority", ["A2", "A1"]),
    ):
        items = api.get(f"cases/?{query}").json()["items"]
        assert [each["account_id"] for each in items] == accounts, query
    assert_problem(api.get("cases/?colour=red"), 400, "colour")
    assert_problem(api.get("cases/?status=lost"), 400, "status")


def test_a_closed_case_is_not_overdue(api: ApiClient) -> None:
    opened = case()
    Case.objects.update(due_at=timezone.now() - timedelta(minutes=1))
    api.post(f"cases/{opened.case_id}/dispose/", {"disposition": "inconclusive"})
    assert api.get("cases/?is_overdue=true").json()["items"] == []
    assert api.get(f"cases/{opened.case_id}/").json()["is_overdue"] is False


def test_it_shows_a_case_with_alerts_notes_and_history(api: ApiClient) -> None:
    paid = transaction()
    opened = case(transaction=paid, signal="velocity")
    api.post(f"cases/{opened.case_id}/note/", {"text": "Called the customer."})
    body = api.get(f"cases/{opened.case_id}/").json()
    assert body["alerts"][0]["transaction_id"] == paid.transaction_id
    assert body["alerts"][0]["case_id"] == body["case_id"]
    assert body["notes"][0]["text"] == "Called the customer."
    assert body["notes"][0]["author"] == api.principal
    assert [each["kind"] for each in body["history"]] == ["opened", "noted"]
    assert body["version"] == 2
    assert body["may_become"] == ["escalated", "in_review"]


@pytest.mark.parametrize("before", ALL)
@pytest.mark.parametrize("to", ALL)
def test_it_moves_a_case_as_the_table_says_and_no_other_way(api: ApiClient, before: str, to: str) -> None:
    opened = put_into(before)
    response = api.post(f"cases/{opened.case_id}/transition/", {"to": to})
    opened.refresh_from_db()
    if to in TRANSITIONS[before]:
        assert response.status_code == 200, response.content
        assert (opened.status, opened.version) == (to, 2)
        assert CaseEntry.objects.filter(case=opened).last().details["from"] == before
    else:
        assert_problem(response, 409)
        assert (opened.status, opened.version) == (before, 1)


def test_it_never_closes_a_case_without_a_disposition(api: ApiClient) -> None:
    for before, may_become in TRANSITIONS.items():
        assert "closed" not in may_become, before
    assert_problem(api.post(f"cases/{case().case_id}/dispose/", {}), 400, "disposition")


@pytest.mark.parametrize(
    ("disposition", "label"), [("confirmed_fraud", True), ("false_positive", False), ("inconclusive", None)]
)
def test_it_labels_the_transactions_of_a_disposed_case(
    api: ApiClient, disposition: str, label: bool | None
) -> None:
    opened = case(transaction=transaction(transaction_id="T1"))
    case(transaction=transaction(transaction_id="T2", arrival=2))
    case(account_id=None, rule=rule("login"), event_kind="login", event_id="L1")
    response = api.post(f"cases/{opened.case_id}/dispose/", {"disposition": disposition, "note": "As found."})
    assert response.status_code == 200, response.content
    body = response.json()
    assert (body["status"], body["disposition"], body["closed_by"]) == ("closed", disposition, api.principal)
    expected = {} if label is None else {"T1": label, "T2": label}
    assert dict(Label.objects.values_list("transaction_id", "is_fraud")) == expected
    assert set(Alert.objects.values_list("status", flat=True)) == {"closed"}


def test_it_labels_many_transactions_with_as_many_queries_as_one(
    api: ApiClient, django_assert_max_num_queries: Any
) -> None:
    opened = case(transaction=transaction(transaction_id="T0"))
    for number in range(1, 60):
        alert(transaction=transaction(transaction_id=f"T{number}"), case=opened)
    with django_assert_max_num_queries(15):
        response = api.post(f"cases/{opened.case_id}/dispose/", {"disposition": "confirmed_fraud"})
    assert response.status_code == 200, response.content
    labels = Label.objects.filter(is_fraud=True, source=f"case:{opened.case_id}", created_by=api.principal)
    assert set(labels.values_list("transaction_id", flat=True)) == {f"T{number}" for number in range(60)}
    assert opened.entries.get(kind="disposed").details["labelled"] == 60


def test_it_tells_the_second_of_two_who_close_one_case(api: ApiClient) -> None:
    opened = case(transaction=transaction())
    other = ApiClient("cases:write")
    assert api.post(f"cases/{opened.case_id}/dispose/", {"disposition": "confirmed_fraud"}).status_code == 200
    problem = assert_problem(
        other.post(f"cases/{opened.case_id}/dispose/", {"disposition": "false_positive"}), 409
    )
    assert "confirmed_fraud" in problem["detail"]
    assert api.principal in problem["detail"]
    opened.refresh_from_db()
    assert opened.disposition == "confirmed_fraud"
    assert list(Label.objects.values_list("is_fraud", flat=True)) == [True]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_versioned", [True, False])
def test_it_lets_one_of_two_investigators_close_a_case_at_once(is_versioned: bool) -> None:
    opened = case(transaction=transaction())
    keys = [ApiClient("cases:write").raw_key for _ in range(2)]
    dispositions = ["confirmed_fraud", "false_positive"]

    def close(number: int) -> int:
        body = {"disposition": dispositions[number]} | ({"version": 1} if is_versioned else {})
        client = ApiClient(raw_key=keys[number])
        return client.post(f"cases/{opened.case_id}/dispose/", body).status_code

    codes = in_threads(2, close, range(2))
    assert sorted(codes) == [200, 409]
    opened.refresh_from_db()
    assert opened.disposition == dispositions[codes.index(200)]
    assert Label.objects.count() == 1
    assert CaseEntry.objects.filter(case=opened, kind="disposed").count() == 1


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("assign", {"assignee": "user:ada"}),
        ("note", {"text": "Seen."}),
        ("transition", {"to": "in_review"}),
        ("dispose", {"disposition": "inconclusive"}),
    ],
)
def test_it_refuses_a_change_made_on_an_older_version(api: ApiClient, action: str, body: dict) -> None:
    opened = case()
    api.post(f"cases/{opened.case_id}/note/", {"text": "Meanwhile."})
    stale = api.post(f"cases/{opened.case_id}/{action}/", body | {"version": 1})
    assert "version 2" in assert_problem(stale, 409)["detail"]
    assert api.post(f"cases/{opened.case_id}/{action}/", body | {"version": 2}).status_code in (200, 201)


def test_it_does_not_take_a_case_from_somebody_unseen(api: ApiClient) -> None:
    opened = case()
    path = f"cases/{opened.case_id}/assign/"
    assert api.post(path, {"assignee": "user:ada"}).json()["assignee"] == "user:ada"
    assert api.post(path, {"assignee": "user:ada"}).status_code == 200
    assert "user:ada" in assert_problem(api.post(path, {"assignee": "user:bob"}), 409)["detail"]
    assert api.post(path, {"assignee": "user:bob", "version": 2}).json()["assignee"] == "user:bob"
    assert api.post(path, {"assignee": None, "version": 3}).json()["assignee"] is None
    assert_problem(api.post(path, {"assignee": "x" * 161}), 400, "assignee")


def test_it_takes_a_disposition_back_when_a_case_is_opened_again(api: ApiClient) -> None:
    opened = case(transaction=transaction())
    api.post(f"cases/{opened.case_id}/dispose/", {"disposition": "false_positive"})
    body = api.post(f"cases/{opened.case_id}/transition/", {"to": "in_review"}).json()
    assert (body["status"], body["disposition"], body["closed_at"]) == ("in_review", None, None)
    api.post(f"cases/{opened.case_id}/dispose/", {"disposition": "confirmed_fraud"})
    assert Label.objects.latest("id").is_fraud is True
    assert [each.kind for each in opened.entries.all()] == ["opened", "disposed", "reopened", "disposed"]


def test_it_acts_on_many_cases_each_by_itself(api: ApiClient) -> None:
    first, second = case(), case(user_id="U2", account_id="A2")
    api.post(f"cases/{second.case_id}/note/", {"text": "Changed."})
    answer = api.post(
        "cases/bulk/",
        {
            "action": "dispose",
            "cases": [
                {"case_id": str(first.case_id), "version": 1},
                {"case_id": str(second.case_id), "version": 1},
                {"case_id": str(uuid.uuid4())},
            ],
            "given": {"disposition": "false_positive"},
        },
    )
    assert answer.status_code == 200, answer.content
    body = answer.json()
    assert body["done"] == 1
    assert [each["done"] for each in body["results"]] == [True, False, False]
    assert Case.objects.get(pk=second.pk).status == "open"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"action": "delete", "cases": [{"case_id": str(uuid.uuid4())}], "given": {}}, "action"),
        ({"action": "note", "cases": [], "given": {"text": "x"}}, "cases"),
        ({"action": "note", "cases": [{"case_id": "x"}], "given": {"text": "x"}}, "cases[0].case_id"),
        ({"action": "note", "cases": [{"case_id": str(uuid.uuid4())}], "given": {}}, "given.text"),
        (
            {
                "action": "note",
                "cases": [{"case_id": str(uuid.uuid4())}],
                "given": {"text": "x", "version": 1},
            },
            "given.version",
        ),
    ],
)
def test_it_refuses_bulk_actions_it_does_not_understand(api: ApiClient, body: dict, path: str) -> None:
    assert_problem(api.post("cases/bulk/", body), 400, path)


@pytest.mark.parametrize("action", ["assign", "note", "transition", "dispose"])
def test_it_refuses_the_wrong_key_the_wrong_scope_and_garbage(api: ApiClient, action: str) -> None:
    opened = case()
    path = f"cases/{opened.case_id}/{action}/"
    assert_problem(ApiClient(raw_key="fs_0000000000_x").post(path, {}), 401)
    assert_problem(ApiClient("read", "transactions:write").post(path, {}), 403)
    for garbage in (b"", b"[]", b'"x"', b"{", b'{"version": "one"}', b'{"unknown": 1}', b'{"version": -1}'):
        assert_problem(api.post(path, garbage), 400)
    assert_problem(api.post(f"cases/{uuid.uuid4()}/note/", {"text": "x"}), 404)
    assert_problem(api.post("cases/not-a-uuid/note/", {"text": "x"}), 404)
    assert_problem(ApiClient("cases:write").get(f"cases/{opened.case_id}/"), 403)
    opened.refresh_from_db()
    assert opened.version == 1


def test_it_refuses_a_note_without_words_or_with_too_many(api: ApiClient) -> None:
    path = f"cases/{case().case_id}/note/"
    assert_problem(api.post(path, {"text": "  "}), 400, "text")
    assert_problem(api.post(path, {"text": "x" * 10_001}), 400, "text")


def test_it_lists_and_shows_alerts(api: ApiClient) -> None:
    opened = case(signal="velocity", severity="high")
    alert(signal="velocity", severity="high")
    alert(user_id="U2", account_id="A2", rule=rule("Ring"))
    for query, count in (
        ("", 3),
        ("?severity=high", 2),
        ("?signal=velocity", 2),
        (f"?rule_id={rule('Ring').pk}", 1),
        (f"?case_id={opened.case_id}", 1),
        ("?status=closed", 0),
        ("?account_id=A2", 1),
        ("?is_repeat=false", 3),
        ("?rule_id=9223372036854775807", 0),
    ):
        assert api.get(f"alerts/{query}").json()["total"] == count, query
    shown = api.get("alerts/?ordering=created_at").json()["items"][0]
    assert api.get(f"alerts/{shown['alert_id']}/").json() == shown
    assert_problem(api.get(f"alerts/{uuid.uuid4()}/"), 404)
    assert_problem(api.get("alerts/?case_id=x"), 400, "case_id")
    for odd in ("1.5", "0", "one", "NaN"):
        assert_problem(api.get(f"alerts/?rule_id={odd}"), 400, "rule_id")
    assert_problem(ApiClient("cases:write").get("alerts/"), 403)


def test_it_takes_two_hundred_cases_at_once_and_no_more(api: ApiClient) -> None:
    items = [BulkItem(uuid.uuid4()) for _ in range(201)]
    results = cases_bulk(items=items[1:], action="note", principal="tests", given={"text": "x"})
    assert [each["done"] for each in results] == [False] * 200
    with pytest.raises(Invalid) as refused:
        cases_bulk(items=items, action="note", principal="tests", given={"text": "x"})
    assert [each.path for each in refused.value.errors] == ["cases"]
    cases = [{"case_id": str(each.case_id)} for each in items]
    asked = {"action": "note", "cases": cases, "given": {"text": "x"}}
    assert_problem(api.post("cases/bulk/", asked), 400, "cases")
