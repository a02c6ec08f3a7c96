"""How many values begin with which digit is kept, not looked up one by one, and comes to what the reference says."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from screening.velocity import encoding
from tests.reference.contract import Arrival, PatchArrival
from tests.reference.evaluator import ReferenceEvaluator
from tests.reference.over_redis import RedisEvaluator
from tests.reference.test_meaning import NOON, aggregate, rule, transaction

pytestmark = pytest.mark.django_db(transaction=True)

SCORE = "metadata.score"
BENFORD = rule(
    {
        "any": [
            aggregate("benford_chi2", SCORE, time_window="1h", exclude_current=leaves_itself_out)
            for leaves_itself_out in (False, True)
        ]
    },
    aggregate("benford_chi2", SCORE, time_window="90s"),
    aggregate("benford_chi2", SCORE, time_window="1h", delay="30s"),
)


def test_late_missing_negative_and_corrected_values_count_as_the_reference_says() -> None:
    arrivals: list[Arrival] = []
    for n in range(220):
        score = None if n % 11 == 0 else Decimal((-1) ** n * (n * 7919 % 9973)) / 1000
        arrivals.append(transaction(n, 37 * n % 199, metadata={"score": score}))
        if n % 7 == 6:
            corrected = {"score": Decimal(n * 31 % 97)}
            arrivals.append(PatchArrival(f"T{n - 3}", {"metadata": corrected}, NOON + timedelta(days=1)))

    expected = ReferenceEvaluator().replay([BENFORD], arrivals)
    found = RedisEvaluator().replay([BENFORD], arrivals)

    due = [[(each.actual, each.events) for each in one.results[0].comparisons] for one in expected]
    assert [[(each.actual, each.events) for each in one.results[0].comparisons] for one in found] == due
    assert len({actual for one in due for actual, _ in one}) > 200


def test_more_events_than_are_told_apart_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "MOST_OF_A_DIGIT", 60)
    arrivals = [transaction(n, n, metadata={"score": Decimal(1 + n % 9)}) for n in range(60)]

    screened = RedisEvaluator().replay([rule(aggregate("benford_chi2", SCORE, time_window="1h"))], arrivals)

    assert [one.results[0].status for one in screened[-2:]] == ["flagged", "error"]
