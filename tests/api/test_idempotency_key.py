"""`Idempotency-Key`: what a POST makes anew is made once, however often it is sent."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.http import HttpResponse
from django.utils import timezone

from fraudsite import idempotency
from fraudsite.idempotency import Answer, answered_once
from fraudsite.models import AnsweredRequest
from fraudsite.tasks import answers_purge
from reporting.models import Report
from screening.models import Backtest, Case, CaseEntry, Webhook
from tests.cases.making import case
from tests.cases.making import transaction as made_transaction
from tests.clients import ApiClient, assert_problem
from tests.rules.documents import high_velocity
from tests.waiting import Beside

WEBHOOK = {"name": "Ours", "url": "https://8.8.8.8/hook", "topics": ["alert"]}
BACKTEST = {"rule": high_velocity()}


@pytest.fixture
def opened(api: ApiClient) -> Case:
    return case()


def note(client: ApiClient, opened: Case, key: str | None, text: str = "Called the customer") -> HttpResponse:
    headers = {} if key is None else {"idempotency-key": key}
    return client.post(f"cases/{opened.case_id}/note/", {"text": text}, headers=headers)


def notes() -> int:
    return CaseEntry.objects.filter(kind=CaseEntry.Kind.NOTED).count()


def test_a_request_sent_again_is_answered_as_it_was(api: ApiClient, opened: Case) -> None:
    first, again = note(api, opened, "k1"), note(api, opened, "k1")

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert "Idempotent-Replayed" not in first
    assert again["Idempotent-Replayed"] == "true"
    assert notes() == 1


def test_another_key_is_another_request_and_so_is_none(api: ApiClient, opened: Case) -> None:
    for key in ("k1", "k2", None, None):
        assert note(api, opened, key).status_code == 201

    assert notes() == 4


def test_a_key_belongs_to_one_request(api: ApiClient, opened: Case) -> None:
    note(api, opened, "k1")

    assert_problem(note(api, opened, "k1", "Another text"), 422)
    other = case(user_id="U2", account_id="A2")
    assert_problem(note(api, other, "k1"), 422)
    assert notes() == 1


def test_clients_do_not_share_keys(api: ApiClient, opened: Case) -> None:
    note(api, opened, "k1")

    answer = note(ApiClient("cases:write"), opened, "k1", "Somebody else's")

    assert answer.status_code == 201
    assert "Idempotent-Replayed" not in answer


def test_it_is_refused_like_any_other(api: ApiClient, opened: Case) -> None:
    note(api, opened, "k1")

    assert_problem(note(ApiClient("read"), opened, "k1"), 403)
    assert_problem(note(ApiClient(raw_key="fs_aa_bb"), opened, "k1"), 401)
    assert_problem(note(api, opened, ""), 400, "Idempotency-Key")
    assert_problem(note(api, opened, "k" * 129), 400, "Idempotency-Key")
    assert notes() == 1


def test_what_was_refused_is_tried_again(api: ApiClient, opened: Case) -> None:
    assert_problem(note(api, opened, "k1", " "), 400, "text")

    assert note(api, opened, "k1", "With a text").status_code == 201
    assert AnsweredRequest.objects.count() == 1


def test_what_failed_half_way_left_nothing(api: ApiClient, opened: Case) -> None:
    def fails(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError

    api.client.raise_request_exception = False
    with patch("screening.cases.selectors.note_body", fails):
        assert note(api, opened, "k1").status_code == 500
    assert notes() == 0

    assert note(api, opened, "k1").status_code == 201
    assert notes() == 1


@pytest.mark.parametrize(
    ("path", "body", "model"),
    [
        ("webhooks/", WEBHOOK, Webhook),
        ("backtests/", BACKTEST, Backtest),
        ("reports/", {"kind": "daily_operations"}, Report),
    ],
)
def test_it_holds_for_what_else_is_made(api: ApiClient, path: str, body: dict[str, Any], model: Any) -> None:
    made_transaction()
    first = api.post(path, body, headers={"idempotency-key": "k1"})
    again = api.post(path, body, headers={"idempotency-key": "k1"})

    assert first.status_code in (201, 202), first.content
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert model.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_second_of_two_at_once_waits_for_the_first() -> None:
    def first() -> Answer:
        second.append(Beside(lambda: once(lambda: pytest.fail("done twice"))))
        second[0].must_wait()
        return Answer(201, '"done"')

    def once(make: Any) -> tuple[Answer, bool]:
        return answered_once(make, principal="key:a", key="k1", digest=b"d")

    second: list[Beside] = []
    assert once(first) == (Answer(201, '"done"'), False)

    assert second[0].answer() == (Answer(201, '"done"'), True)


@pytest.mark.django_db(transaction=True)
def test_a_process_that_died_at_it_left_no_key() -> None:
    class Died(BaseException):
        pass

    def dies() -> Answer:
        raise Died

    with pytest.raises(Died):
        answered_once(dies, principal="key:a", key="k1", digest=b"d")

    assert answered_once(lambda: Answer(200, "1"), principal="key:a", key="k1", digest=b"d")[1] is False


def test_answers_are_forgotten_after_a_day(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "PURGE_AT_ONCE", 2)
    for hours in (1, 23, 25, 26, 27):
        answered_at = timezone.now() - timedelta(hours=hours)
        AnsweredRequest.objects.create(
            principal="key:a", key=f"{hours}", digest=b"d", answered_at=answered_at
        )

    answers_purge()

    assert {each.key for each in AnsweredRequest.objects.all()} == {"1", "23"}
