"""Evidence: what it says, that it is stored compactly, and that it says the same later."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from unittest.mock import patch

import pytest
from hypothesis import given, settings

from rules.core.decide import decide
from rules.core.documents import rule_to_document
from rules.core.evaluate import RuleOutcome
from rules.core.evidence import aggregated_data, evidence_pack, evidence_unpack
from rules.core.lists import ListEntries, Lists
from rules.core.parse import parse_rule
from rules.core.wording import describe_rule
from tests.reference import over_core
from tests.reference.contract import RuleResult
from tests.reference.histories import LISTS
from tests.reference.over_core import CoreEvaluator
from tests.reference.strategies import pair_of_seed, pairs
from tests.rules.core.build import T, before, comparison, counting, outcome, rule, transaction
from tests.rules.documents import high_velocity

D = Decimal


def eleven_payments():
    return [transaction(occurred_at=before(60 * n), amount=D(200_000)) for n in range(10, -1, -1)]


def test_it_tells_a_compliance_officer_what_was_found():
    history = eleven_payments()

    found = outcome(parse_rule(high_velocity()).rule, history[-1], history)

    assert found.status == "flagged"
    assert found.reason == "High velocity"
    (evidence,) = found.evidence
    assert evidence.text == (
        "11 transactions over 100,000 NGN by user U1 in the 24 h to 14:03 (2026-11-22 UTC); the limit is 10"
    )
    assert evidence.as_document() == {
        "path": "conditions[0]",
        "text": evidence.text,
        "actual": "11",
        "threshold": "10",
        "met": True,
        "window": {"start": "2026-11-21T14:03:00Z", "end": "2026-11-22T14:03:00Z", "events": 11},
    }
    assert aggregated_data(found.evidence) == {"count(amount) by user_id in 24h": "11"}


def test_it_is_stored_in_five_values():
    history = eleven_payments()
    found = outcome(parse_rule(high_velocity()).rule, history[-1], history)

    assert json.loads(found.packed()) == [[11, None, 11, True, None]]


@pytest.mark.parametrize(
    ("condition", "fields", "text"),
    [
        (
            comparison("amount", "gt", 100),
            {"amount": D("1500.50")},
            "Amount is 1,500.5 NGN; the limit is 100 NGN",
        ),
        (comparison("amount", "gte", 100), {}, "Amount is 100 NGN; the rule looks for 100 NGN or more"),
        (
            comparison("amount", "between", [90, 110]),
            {},
            "Amount is 100 NGN; the rule looks for 90 to 110 NGN",
        ),
        (comparison("channel", "eq", "web"), {}, 'Channel is "web"; the rule looks for exactly "web"'),
        (
            comparison("channel", "in", ["web", "pos"]),
            {},
            'Channel is "web"; the rule looks for one of "web", "pos"',
        ),
        (
            comparison("is_cnp", "ne", False),
            {"is_cnp": False},
            "It is not card not present; the rule looks for card not present",
        ),
        (
            comparison("label.is_fraud", "ne", True),
            {"label.is_fraud": False},
            "It is known as legitimate; the rule looks for known as legitimate",
        ),
        (
            comparison("metadata.vip", "eq", False),
            {"metadata": {"vip": True}},
            "Metadata.vip is yes; the rule looks for no",
        ),
        (comparison("device_id", "is_null"), {}, "Device is missing; the rule looks for it to be missing"),
        (comparison("device_id", "eq", "D1"), {}, "Device could not be judged: device_id is missing"),
        (
            comparison("amount", "gt", {"field": "base_amount", "times": 2}),
            {"base_amount": D(40)},
            "Amount is 100 NGN; the limit is 80 NGN (2 × amount in the base currency)",
        ),
        (
            comparison("merchant_name", "similar_to", {"text": "ACME", "threshold": 80}),
            {"merchant_name": "ACNE"},
            'Merchant name is "ACNE"; the rule looks for what is similar to "ACME" (80 % or more)',
        ),
        (
            comparison("occurred_at", "lt", "2026-11-23T00:00:00Z"),
            {},
            "Time of the event is 14:03 (2026-11-22 UTC); the rule looks for what is before 00:00 (2026-11-23 UTC)",
        ),
    ],
)
def test_it_tells_of_fields(condition, fields, text):
    assert outcome(rule(condition), transaction(**fields)).evidence[0].text == text


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        (
            counting("gte", 5, aggregate_function="sum", field="amount"),
            "Total amount is 150 NGN, of 2 transactions by user U1 in the 1 h to 14:03 (2026-11-22 UTC); "
            "the rule looks for 5 NGN or more",
        ),
        (
            counting("gt", 5, exclude_current=True, group_by=["account_id"]),
            "1 transaction on account A1 in the 1 h before 14:03 (2026-11-22 UTC); the limit is 5",
        ),
        (
            counting("gt", 5, last=3, group_by=[{"counterparty_account_id": "account_id"}]),
            "0 transactions to account A1 among the last 3 up to 14:03 (2026-11-22 UTC); the limit is 5",
        ),
        (
            counting("gt", 5, time_window="lifetime", filters=[comparison("channel", "eq", "web")]),
            '2 transactions (where the channel is "web") by user U1 ever up to 14:03 (2026-11-22 UTC); the limit is 5',
        ),
        (
            counting("gt", 5, filters=[{"not": comparison("label.is_fraud", "eq", True)}]),
            "0 transactions (where it is known as legitimate) by user U1 in the 1 h to 14:03 (2026-11-22 UTC); "
            "the limit is 5",
        ),
        (
            counting("gt", 5, aggregate_function="distinct_count", field="merchant_id", delay="1d"),
            "0 different values of merchant, in 0 transactions by user U1 in the 1 h to "
            "24 h before 14:03 (2026-11-22 UTC); the limit is 5",
        ),
        (
            counting("gt", 60, aggregate_function="seconds_since_first"),
            "Time since the first is 30 s, of 2 transactions by user U1 in the 1 h to 14:03 (2026-11-22 UTC); "
            "the limit is 60 s",
        ),
        (
            counting("gt", 5, group_by=["device_id"]),
            "count(transaction_id) by device_id in 1h could not be judged: device_id is missing",
        ),
    ],
)
def test_it_tells_of_aggregates(condition, text):
    history = [transaction(occurred_at=before(30), amount=D(50))]

    assert outcome(rule(condition), transaction(), history).evidence[0].text == text


@pytest.mark.parametrize(("is_cnp", "what"), [(True, "card not present"), (False, "not card not present")])
def test_it_tells_of_groups_that_are_something_or_not(is_cnp: bool, what: str) -> None:
    condition = counting("gt", 5, group_by=["user_id", "is_cnp"])
    history = [transaction(occurred_at=before(30), is_cnp=is_cnp), transaction(is_cnp=not is_cnp)]
    assert outcome(rule(condition), transaction(is_cnp=is_cnp), history).evidence[0].text == (
        f"2 transactions that are {what} by user U1 in the 1 h to 14:03 (2026-11-22 UTC); the limit is 5"
    )


def test_it_shows_the_window_of_a_baseline():
    baseline = {"aggregate_function": "max", "field": "amount", "time_window": "90d", "exclude_current": True}
    found = outcome(
        rule(comparison("amount", "gt", {"aggregate": baseline, "times": 1.5})),
        transaction(amount=D(91)),
        [transaction(occurred_at=before(5), amount=D(60))],
    )

    (evidence,) = found.evidence
    assert (evidence.actual, evidence.threshold, evidence.events) == (91, 90, 1)
    assert evidence.start == T - timedelta(days=90)
    assert evidence.text == (
        "Amount is 91 NGN; the limit is 90 NGN (1.5 × max(amount) by user_id in 90d excluding current)"
    )


def test_two_aggregates_of_one_label_are_both_shown():
    found = outcome(
        rule(counting("gt", 1), counting("gt", 1, filters=[comparison("channel", "eq", "pos")])),
        transaction(),
    )

    assert aggregated_data(found.evidence) == {
        "count(transaction_id) by user_id in 1h": "1",
        "count(transaction_id) by user_id in 1h #2": "0",
    }


def test_the_labels_of_an_aggregate():
    labels = {
        "count(transaction_id) by user_id in 24h": counting("gt", 1, time_window="24h"),
        "count(transaction_id) by user_id in 1d": counting("gt", 1, time_window="1d"),
        "login count(event_id) by device_id in 60s": counting(
            "gt", 1, field="event_id", event="login", group_by=["device_id"], time_window="60s"
        ),
        "sum(amount) by account_id, user_id over last 5": counting(
            "gt", 1, aggregate_function="sum", field="amount", last=5, group_by=["user_id", "account_id"]
        ),
        "zscore(count(transaction_id) per 24h) by user_id in 30d excluding current": counting(
            "gt",
            1,
            aggregate_function="zscore",
            of="count",
            bucket="1d",
            time_window="30d",
            exclude_current=True,
        ),
        "count(transaction_id) by counterparty_account_id=account_id in lifetime delayed 7d": counting(
            "gt", 1, group_by=[{"counterparty_account_id": "account_id"}], time_window="lifetime", delay="7d"
        ),
        "distance_km_from_previous by user_id in 2h": counting(
            "gt", 1, aggregate_function="distance_km_from_previous", field=None, time_window="2h"
        ),
    }
    for label, condition in labels.items():
        assert outcome(rule(condition), transaction()).evidence[0].text_left == label


def replayed(parsed, found, event):
    stored = json.loads(json.dumps(evidence_pack(found.evidence)))
    return evidence_unpack(parsed, stored, event)


@pytest.mark.parametrize(
    "value",
    [
        "11",
        D(11),
        D("11.50"),
        D(10) ** 16,
        D("-0.001"),
        True,
        False,
        None,
        ["a", D(1)],
        {"b": None},
        "x" * 5000,
    ],
)
def test_it_says_the_same_when_read_back(value):
    parsed = rule(comparison("metadata.x", "eq", "y"), {"any": [comparison("metadata.x", "is_not_null")]})
    event = transaction(metadata={"x": value})
    found = outcome(parsed, event)

    again = replayed(parsed, found, event)

    assert again == found.evidence
    assert [each.as_document() for each in again] == [each.as_document() for each in found.evidence]


def test_a_patch_does_not_change_what_was_found():
    parsed = rule(counting("gte", 1, group_by=["metadata.shop"]), comparison("status", "eq", "pending"))
    event = transaction(metadata={"shop": "S1"})
    found = outcome(parsed, event)
    stored = json.loads(found.packed())

    patched = {**event, "metadata": {"shop": "S2"}, "status": "refused"}

    assert [each.text for each in evidence_unpack(parsed, stored, patched)] == [
        each.text for each in found.evidence
    ]


def test_evidence_belongs_to_one_wording():
    stored = json.loads(outcome(rule(comparison("amount", "gt", 5)), transaction()).packed())

    with pytest.raises(ValueError, match="1 pieces of evidence for 2 comparisons"):
        evidence_unpack(
            rule(comparison("amount", "gt", 5), comparison("amount", "lt", 9)), stored, transaction()
        )


def test_thresholds_in_the_wording_are_not_stored():
    parsed = rule(comparison("channel", "in", ["c" * 100] * 1000), comparison("account_id", "in_list", "x"))
    found = outcome(parsed, transaction(), lists=Lists({"x": ListEntries(["A1"])}))

    assert [item[1] for item in json.loads(found.packed())] == [None, None]
    assert replayed(parsed, found, transaction())[1].threshold == "x"


def all_outcomes(pair):
    """Every outcome of every event of a history."""
    seen = []

    def spied(outcomes):
        seen.extend(outcomes)
        return decide(outcomes)

    with patch("tests.reference.over_core.decide", spied):
        CoreEvaluator(lists=LISTS).replay(pair.rules, pair.arrivals)
    return seen


@settings(max_examples=150, deadline=None)
@given(pairs())
def test_any_rule_on_any_history_reads_back(pair):
    """Rules: document → rule → document. Evidence: packed both ways, stored as JSON, told again."""
    for written in pair.rules:
        parsed = parse_rule(written).rule
        again = parse_rule(json.loads(json.dumps(rule_to_document(parsed)))).rule
        assert again == parsed
        assert rule_to_document(again) == rule_to_document(parsed)
        assert describe_rule(again) == describe_rule(parsed)
    for found in all_outcomes(pair):
        assert json.loads(found.packed()) == evidence_pack(found.evidence)
        if found.evidence:
            again = replayed(found.rule.rule, found, found.evidence[0].event)
            assert [each.as_document() for each in again] == [each.as_document() for each in found.evidence]


def test_it_tells_the_same_by_the_short_way_and_the_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """`RuleOutcome.documents`, with which payments are answered, against the evidence it stands for."""
    told = []
    result_of = over_core._result

    def compare(outcome: RuleOutcome) -> RuleResult:
        evidence = outcome.evidence
        expected = [each.as_document() for each in evidence], aggregated_data(evidence)
        assert tuple(map(json.loads, outcome.documents())) == expected
        told.extend(expected[0])
        return result_of(outcome)

    monkeypatch.setattr(over_core, "_result", compare)
    for seed in range(300):
        pair = pair_of_seed(seed)
        over_core.CoreEvaluator(lists=LISTS).replay(pair.rules, pair.arrivals)
    assert len(told) > 3_000
    assert any("reason" in document for document in told)
