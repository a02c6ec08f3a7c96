"""Windows over labels and profiles are asked of the database, and count what is under way as any other window does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ingestion.models import Transaction
from rules.core.durations import to_us
from rules.selectors import ruleset_current_number
from screening import realtime
from screening.engine import engines
from screening.events import event_of
from screening.pending import pending_screen
from screening.velocity.errors import StoreUnavailable
from screening.velocity.one_by_one import Turn, asked_for, in_turn, turn_of
from screening.velocity.plan import Asked
from tests.clients import ApiClient
from tests.screening.payments import actual, count_rule, payload
from tests.threads import in_threads

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]

NOW = datetime.now(UTC)
FILTERS = {
    "label": {"field": "label.is_fraud", "operator": "is_null"},
    "profile": {"field": "customer.risk_tier", "operator": "is_null"},
    "age": {"field": "account.age_days", "operator": "lt", "value": 30},
}
AT_ONCE = 12


def rule(what: str = "label", **keys: Any) -> dict[str, Any]:
    document = count_rule(10)
    condition = document["conditions"][0] | {"filters": [FILTERS[what]]} | keys
    return document | {"conditions": [condition]}


def asked_now(days: int = 0) -> list[Asked]:
    """Where a payment of so many days ago is among them."""
    plan = engines.at_least(ruleset_current_number()).plan
    oldest = NOW - timedelta(days=days)
    return asked_for(plan, "transaction", oldest_us=to_us(oldest), now_us=to_us(NOW))


def turn_now(**given: Any) -> Turn:
    return turn_of(asked_now(), event_of(payload(1, currency="NGN", occurred_at=NOW) | given))


@pytest.fixture
def api() -> ApiClient:
    return ApiClient()


def submit_at_once(api: ApiClient) -> list[int]:
    answers = in_threads(
        AT_ONCE, lambda number: api.post("transactions/", payload(number)).json(), range(AT_ONCE)
    )
    return sorted(actual(answer) for answer in answers)


@pytest.mark.parametrize("what", FILTERS)
def test_payments_of_one_micro_batch_see_each_other(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    queued: list[int] = []
    monkeypatch.setattr("screening.services.transactions_enqueue", queued.extend)
    assert api.post("rules/", rule(what)).status_code == 201
    rows = [payload(number, user_id=f"U{number % 2}", account_id=f"A{number % 2}") for number in range(8)]
    assert api.post("transactions/bulk/", rows).json()["accepted"] == len(rows)
    assert pending_screen(queued) == len(rows)
    stored = [api.get(f"transactions/T{number}/screening/").json() for number in range(8)]
    assert [actual({"screening": each}) for each in stored] == [1, 1, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize("what", FILTERS)
def test_of_concurrent_payments_each_sees_another_count(api: ApiClient, what: str) -> None:
    api.post("rules/", rule(what))
    assert submit_at_once(api) == list(range(1, AT_ONCE + 1))


def test_so_it_is_without_redis(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_arguments: Any, **_options: Any) -> Any:
        raise StoreUnavailable("away")

    api.post("rules/", rule())
    monkeypatch.setattr(realtime.store, "count", away)
    monkeypatch.setattr(realtime.store, "ping", away)
    assert submit_at_once(api) == list(range(1, AT_ONCE + 1))


def test_groups_are_let_go_when_a_payment_cannot_be_stored(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: Any, **_options: Any) -> Any:
        raise RuntimeError

    api.post("rules/", rule())
    with monkeypatch.context() as patched:
        patched.setattr(realtime, "decisions_store", broken)
        with pytest.raises(RuntimeError):
            api.post("transactions/", payload(1))
    (answer,) = in_threads(1, lambda number: api.post("transactions/", payload(number)).json(), [2])
    assert actual(answer) == 1
    assert Transaction.objects.count() == 1


def test_who_reads_another_s_group_waits_for_it(api: ApiClient) -> None:
    """Incoming payments of an account, and those of which it is the payer."""
    api.post("rules/", rule(group_by=[{"counterparty_account_id": "account_id"}]))
    turn = turn_now()
    assert not turn.changes
    assert len(turn.waits) == 1
    assert len(turn_now(counterparty_account_id="A2").changes) == 1
    assert turn_now(account_id="A2").is_after(turn_now(counterparty_account_id="A2"))
    assert not turn_now(account_id="A2").is_after(turn_now(counterparty_account_id="A3"))


def test_those_that_count_for_nobody_do_not_wait_for_each_other(api: ApiClient) -> None:
    large = {"field": "amount", "operator": "gt", "value": 100}
    api.post("rules/", rule(filters=[FILTERS["label"], large]))
    small, other = turn_now(amount=Decimal(50)), turn_now(amount=Decimal(500))
    assert not small.is_after(small)
    assert small.waits == other.changes
    assert small.is_after(other)
    assert other.is_after(small)


def test_nobody_waits_for_payments_with_a_label_but_in_a_micro_batch(api: ApiClient) -> None:
    """Few have one before they are decided, and payments to one payee would wait for each other for those alone."""
    api.post("rules/", rule(filters=[{"field": "label.is_fraud", "operator": "eq", "value": True}]))
    ordinary, labelled = turn_now(), turn_now(**{"label.is_fraud": True})
    assert not ordinary.waits
    assert not ordinary.changes
    assert ordinary.is_after(labelled)


def test_nobody_waits_for_windows_that_end_long_ago_but_those_as_old(api: ApiClient) -> None:
    api.post("rules/", rule(delay="7d"))
    assert [len(asked_now(days)) for days in (0, 6, 7, 8)] == [0, 0, 1, 1]


def test_what_has_to_be_tried_again_takes_all_behind_it_along() -> None:
    attempts = []

    def attempt(candidates: list[str]) -> list[str]:
        attempts.append(candidates)
        return [each for each in candidates if each == "d" and len(attempts) < 3]

    turns = [
        Turn(changes=set(changed), reads=set(read)) for changed, read in ("11", "22", "33", "22", "22", "11")
    ]
    assert in_turn("abcdef", turns, attempt) == ["d", "e", "f"]
    assert attempts == [["a", "b", "c"], ["d"]]
