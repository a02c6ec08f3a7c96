"""Windows whose events are read one by one, over more than a page of them, while others are counted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ingestion.models import Transaction
from screening.counting import fence
from screening.selectors import screening_body
from screening.streams import stream_take
from screening.velocity import plan
from tests.clients import ApiClient
from tests.counters import NOTHING_IN_FLIGHT, change_script
from tests.screening.payments import payload

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime.now(UTC).replace(microsecond=0)
A_PAGE = 5
ALIKE = {
    "name": "alike",
    "rule_type": "velocity",
    "conditions": [
        {
            "field": "amount",
            "operator": "gt",
            "value": 1_000,
            "aggregate_function": "count",
            "time_window": "7d",
            "exclude_current": True,
            "filters": [{"field": "amount", "operator": "lte", "value": {"current": "amount"}}],
        }
    ],
    "actions": [{"action_type": "flag", "parameters": {"risk_score": 10}}],
}


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of five, and counters that may drop at once what is too old for any window."""
    change_script(monkeypatch, NOTHING_IN_FLIGHT)
    monkeypatch.setattr(plan, "LOG_PAGE", A_PAGE)
    fence.refresh()
    assert ApiClient("rules:write", "read").post("rules/", ALIKE).status_code == 201


def at(number: int, moment: datetime) -> dict[str, Any]:
    return payload(number) | {"occurred_at": moment.isoformat()}


def take(*documents: dict[str, Any]) -> None:
    assert stream_take("transaction", list(documents), principal="t") == []


def found(number: int) -> int:
    body = screening_body(Transaction.objects.get(transaction_id=f"T{number}"), replayed=True)
    assert not body["degraded"]
    return int(body["results"][0]["details"]["conditions"][0]["actual"])


def test_it_reads_all_pages() -> None:
    take(*(at(n, NOW - timedelta(minutes=60 - n)) for n in range(23)))
    assert found(22) == 22


def test_it_reads_all_events_of_one_moment() -> None:
    take(*(at(n, NOW - timedelta(hours=1)) for n in range(17)), at(17, NOW))
    assert found(17) == 17


def test_it_still_finds_what_the_next_payment_would_have_dropped() -> None:
    """Both are counted before the first one's further pages are read, and the second needs less of the past."""
    long_ago = NOW - timedelta(days=7, hours=2)
    for n in range(20):
        take(at(n, long_ago + timedelta(minutes=n)))
    take(at(20, NOW - timedelta(hours=3)), at(21, NOW))
    assert found(20) == 20
    assert found(21) == 1


def test_it_counts_nothing_twice_when_late_payments_come_between_two_pages() -> None:
    take(*(at(n, NOW - timedelta(minutes=60 - n)) for n in range(12)))
    late = [at(13 + n, NOW - timedelta(minutes=30, seconds=n)) for n in range(6)]
    take(at(12, NOW), *late)
    assert found(12) == 12


DIFFERENT = {
    "field": "merchant_id",
    "operator": "gte",
    "value": 0,
    "aggregate_function": "distinct_count",
    "time_window": "7d",
}


def different(number: int) -> list[int]:
    body = screening_body(Transaction.objects.get(transaction_id=f"T{number}"), replayed=True)
    (result,) = [each for each in body["results"] if each["rule_name"] == "different"]
    return [int(each["actual"]) for each in result["details"]["conditions"]]


def test_different_values_are_counted_beyond_what_the_script_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of late payments under way too, and of what the next payment would have dropped."""
    change_script(monkeypatch, ("local DISTINCT_BOUND = 2000", "local DISTINCT_BOUND = 3"))
    monkeypatch.setattr("screening.velocity.results.LOG_PAGE", A_PAGE)
    conditions = [DIFFERENT, DIFFERENT | {"exclude_current": True}, DIFFERENT | {"delay": "1m"}]
    rule = ALIKE | {"name": "different", "conditions": [{"any": conditions}]}
    assert ApiClient("rules:write", "read").post("rules/", rule).status_code == 201
    long_ago = NOW - timedelta(days=7, hours=2)
    for n in range(20):
        take(at(n, long_ago + timedelta(minutes=n)) | {"merchant_id": f"M{n // 4}"})
    late = NOW - timedelta(hours=3)
    rows = [at(20 + n, late + timedelta(seconds=n)) | {"merchant_id": f"L{n // 2}"} for n in range(4)]
    take(at(30, long_ago + timedelta(minutes=30)), at(24, NOW) | {"merchant_id": "L9"})
    take(*rows)
    assert different(30) == [5, 5, 5]
    assert different(24) == [1, 0, 0]
    assert [different(20 + n) for n in range(4)] == [[6, 5, 5], [6, 6, 5], [7, 6, 5], [7, 7, 5]]


FAR_AWAY = {
    "name": "far away",
    "rule_type": "velocity",
    "conditions": [
        {
            "operator": "gt",
            "value": 300,
            "aggregate_function": "distance_km_from_previous",
            "time_window": "7d",
        }
    ],
    "actions": [{"action_type": "flag", "parameters": {"risk_score": 10}}],
}
LAGOS = {"latitude": Decimal("6.5244"), "longitude": Decimal("3.3792")}
ABUJA = {"latitude": Decimal("9.0765"), "longitude": Decimal("7.3986")}


def test_the_previous_place_is_known_without_a_look_at_payments_that_have_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_page(*given: Any, **named: Any) -> None:
        raise AssertionError("a page was read")

    api = ApiClient("rules:write", "read")
    assert api.post("rules/", FAR_AWAY).status_code == 201
    (alike,) = [each for each in api.get("rules/").json()["items"] if each["name"] == "alike"]
    assert api.put(f"rules/{alike['id']}/", ALIKE | {"is_active": False}).status_code == 200
    monkeypatch.setattr("screening.velocity.store.VelocityStore.log_page", no_page)

    nowhere = [at(1 + n, NOW - timedelta(minutes=60 - n)) for n in range(20)]
    take(at(0, NOW - timedelta(hours=2)) | LAGOS, *nowhere, at(21, NOW) | ABUJA, at(22, NOW))

    from_lagos, from_nowhere = (
        screening_body(Transaction.objects.get(transaction_id=f"T{number}"), replayed=True)["results"][0]
        for number in (21, 22)
    )
    (condition,) = from_lagos["details"]["conditions"]
    assert (from_lagos["status"], round(float(condition["actual"]))) == ("flagged", 526)
    assert condition["window"]["events"] == 21
    (condition,) = from_nowhere["details"]["conditions"]
    assert (from_nowhere["status"], condition["actual"]) == ("not_applicable", None)
    assert condition["window"]["events"] == 22
