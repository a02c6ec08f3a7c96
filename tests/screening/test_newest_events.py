"""`last: N` where the log of the newest events does not reach: late payments, and filters that match few."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from ingestion.models import Transaction
from screening.pending import pending_screen
from screening.velocity import plan
from screening.velocity_services import velocity_verify
from tests.clients import ApiClient
from tests.counters import change_script
from tests.screening.payments import payload

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]

NOW = datetime.now(UTC).replace(microsecond=0)
BEFORE = 40
KEPT = 12
ELSEWHERE = [{"field": "merchant_id", "operator": "ne", "value": {"current": "merchant_id"}}]
COMPLETED = [{"field": "status", "operator": "eq", "value": "completed"}]


def newest(n: int, **keys: Any) -> dict[str, Any]:
    aggregate = {"field": "amount", "aggregate_function": "sum", "last": n, "group_by": ["user_id"]}
    return {**aggregate, "operator": "gte", "value": 0, **keys}


CONDITIONS = [
    newest(1, exclude_current=True),
    newest(3),
    newest(2, filters=ELSEWHERE),
    newest(2, filters=COMPLETED, exclude_current=True),
]


class Payments:
    """What was paid, and what each rule should have said of a payment, by a plain list."""

    def __init__(self) -> None:
        self.paid: list[dict[str, Any]] = []

    def add(self, number: int, at: datetime, merchant: str, status: str) -> dict[str, Any]:
        payment = payload(number, amount=str(number), merchant_id=merchant, status=status)
        self.paid.append(payment | {"at": at})
        return payment | {"occurred_at": at.isoformat()}

    def expected(self, number: int) -> list[int]:
        place = next(i for i, each in enumerate(self.paid) if each["transaction_id"] == f"T{number}")
        mine = self.paid[place]
        before = sorted(
            (each for each in self.paid[:place] if each["at"] <= mine["at"]), key=lambda x: x["at"]
        )
        elsewhere = [each for each in before if each["merchant_id"] != mine["merchant_id"]]
        completed = [each for each in before if each["status"] == "completed"]
        found = (before[-1:], [*before, mine][-3:], elsewhere[-2:], completed[-2:])
        return [sum(int(each["amount"]) for each in one) for one in found]


@pytest.fixture
def payments(monkeypatch: pytest.MonkeyPatch) -> Payments:
    """One a minute, those before the last thirty at another merchant; then a rule, whose logs keep twelve."""
    change_script(
        monkeypatch,
        ("IN_FLIGHT_US = 60000000", "IN_FLIGHT_US = 1000000"),
        ("local YOUNG_MOST = 8", "local YOUNG_MOST = 2"),
    )
    monkeypatch.setattr(plan, "KEPT_AT_LEAST", KEPT)
    payments = Payments()
    for number in range(BEFORE):
        at = NOW - timedelta(minutes=BEFORE - number)
        fields = payments.add(
            number, at, "M" if number >= 10 else "N", "completed" if number < 5 else "failed"
        )
        fields |= {"amount": Decimal(number), "occurred_at": at, "currency": "NGN"}
        Transaction.objects.create(**fields, arrival=1_000 + number, payload_digest=bytes(16))
    rule = {"name": "Newest", "rule_type": "t", "conditions": [{"any": CONDITIONS}]}
    answer = ApiClient().post("rules/", rule | {"actions": [{"action_type": "flag"}]})
    assert answer.status_code == 201, answer.content
    return payments


def said(api: ApiClient, number: int) -> list[int]:
    body = api.get(f"transactions/T{number}/screening/").json()
    assert not body["degraded"]
    return [int(each["actual"]) for each in body["results"][0]["details"]["conditions"]]


def test_it_sees_what_filters_choose_however_long_ago(payments: Payments) -> None:
    api = ApiClient()
    for number in range(50, 55):
        assert api.post("transactions/", payments.add(number, NOW, "M", "failed")).status_code == 201
        assert said(api, number) == payments.expected(number)
    assert payments.expected(54)[2:] == [9 + 8, 4 + 3]


@pytest.mark.parametrize("seed", range(3))
def test_late_payments_see_those_before_them(
    payments: Payments, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """One by one and in micro-batches, corrected or not."""
    queued: list[int] = []
    monkeypatch.setattr("screening.services.transactions_enqueue", queued.extend)
    api, choose = ApiClient(), Random(seed)
    number = 100
    for _ in range(25):
        rows = []
        for _ in range(choose.choice((1, 1, 4))):
            late = timedelta(seconds=choose.choice((0, choose.randrange(BEFORE * 60))))
            status = choose.choice(("completed", "failed"))
            rows.append(payments.add(number, NOW - late, choose.choice("MN"), status))
            number += 1
        assert api.post("transactions/bulk/", rows).json()["accepted"] == len(rows)
        pending_screen(queued)
        queued.clear()
        for each in range(number - len(rows), number):
            assert said(api, each) == payments.expected(each), each
        if choose.random() < 0.5:
            corrected = choose.choice(payments.paid[-8:])
            corrected["status"] = choose.choice(("completed", "failed"))
            path = f"transactions/{corrected['transaction_id']}/"
            assert api.patch(path, {"status": corrected["status"]}).status_code == 200
    assert velocity_verify().differences == []


def test_a_late_payment_is_corrected_though_the_log_no_longer_reaches_it(
    payments: Payments, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_script(monkeypatch, ("IN_FLIGHT_US = 1000000", "IN_FLIGHT_US = 0"))
    api = ApiClient()
    for number in range(50, 50 + 2 * KEPT):
        assert api.post("transactions/", payments.add(number, NOW, "M", "completed")).status_code == 201
    for number, minutes in ((100, 30), (101, 20)):
        late = payments.add(number, NOW - timedelta(minutes=minutes), "M", "completed")
        assert api.post("transactions/", late).status_code == 201
        assert said(api, number) == payments.expected(number)
        payments.paid[-1]["status"] = "failed"
        assert api.patch(f"transactions/T{number}/", {"status": "failed"}).status_code == 200
    assert payments.expected(101)[3] == 4 + 3


def test_what_the_next_payments_drop_meanwhile_is_found(
    payments: Payments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are counted before the further pages of the first are read."""
    change_script(monkeypatch, ("IN_FLIGHT_US = 1000000", "IN_FLIGHT_US = 0"))
    for module in ("plan", "results"):
        monkeypatch.setattr(f"screening.velocity.{module}.LOG_PAGE", 5)
    queued: list[int] = []
    monkeypatch.setattr("screening.services.transactions_enqueue", queued.extend)
    api = ApiClient()
    for number in range(KEPT - 1):
        fields = payload(300 + number, user_id="U2", merchant_id="M" if number else "N")
        fields |= {"amount": Decimal(7), "occurred_at": NOW - timedelta(minutes=60 - number)}
        Transaction.objects.create(**fields, currency="NGN", arrival=number + 1, payload_digest=bytes(16))
    rows = [
        payload(400 + n, user_id="U2", merchant_id="M", status="failed", occurred_at=NOW.isoformat())
        for n in range(5)
    ]
    assert api.post("transactions/bulk/", rows).json()["accepted"] == len(rows)
    assert pending_screen(queued) == len(rows)
    assert [said(api, 400 + n)[2] for n in range(5)] == [7] * 5
