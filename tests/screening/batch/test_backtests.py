"""Backtests end to end: what a rule would have flagged, and how right it would have been."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from ingestion.models import Label, Transaction, TransactionRevision
from rules.models import RulesetVersion, RuleVersion
from screening.batch import advancing, backtesting, tally
from screening.batch.backtesting import backtest_advance
from screening.batch.models import Backtest
from screening.models import Alert, Decision, RuleHit
from tests.clients import ApiClient, assert_problem
from tests.screening.batch.conftest import START, rule_document, transaction_store


def over(value: int | str, name: str = "Large") -> dict[str, Any]:
    return rule_document(name, conditions=[{"field": "amount", "operator": "gt", "value": value}])


def history_store(amounts: list[int]) -> None:
    for number, amount in enumerate(amounts):
        transaction_store(
            number,
            amount=Decimal(amount),
            base_amount=Decimal(amount),
            occurred_at=START + timedelta(hours=12 * number),
        )


def label(transaction_id: str, is_fraud: bool) -> None:
    Label.objects.create(
        transaction_id=transaction_id, is_fraud=is_fraud, known_from=START, arrival=1, labelled_at=START
    )


def finished(api: ApiClient, **body: Any) -> dict[str, Any]:
    response = api.post("backtests/", body)
    assert response.status_code == 202, response.content
    backtest = Backtest.objects.get(backtest_id=response.json()["backtest_id"])
    while backtest_advance(backtest.pk):
        pass
    answered = api.get(f"backtests/{backtest.backtest_id}/").json()
    assert answered["status"] == "completed", answered["error"]
    return dict(answered["result"])


def test_it_tells_hits_per_day_their_share_and_amount(api: ApiClient) -> None:
    history_store([10, 200, 300, 20, 30])
    result = finished(api, rule=over(100))
    assert result["transactions"] == 5
    assert result["hits"] == 2
    assert result["share_of_traffic"] == 0.4
    assert result["amount"] == "500"
    assert result["amount_of_traffic"] == "560"
    assert [(day["day"], day["transactions"], day["hits"]) for day in result["per_day"]] == [
        ("2026-03-02", 1, 0),
        ("2026-03-03", 2, 2),
        ("2026-03-04", 2, 0),
    ]
    sample = result["sample_hits"][0]
    assert sample["transaction_id"] == "T1"
    assert sample["details"]["conditions"][0]["actual"] == "200"
    assert result["labelled"] is None


def test_it_divides_hits_by_the_days_between_the_first_and_the_last_payment(api: ApiClient) -> None:
    history_store([200, 300])
    Transaction.objects.filter(transaction_id="T1").update(occurred_at=START + timedelta(days=9))
    result = finished(
        api, rule=over(100), sweep={"path": "conditions[0].value", "from": 100, "to": 400, "steps": 2}
    )
    assert len(result["per_day"]) == 2
    assert result["hits_per_day"] == 0.2
    assert result["sweep"][0]["hits_per_day"] == 0.2


def test_it_measures_against_labels(api: ApiClient) -> None:
    history_store([10, 200, 300, 20, 400])
    for transaction_id, is_fraud in (("T0", False), ("T1", True), ("T2", False), ("T3", True)):
        label(transaction_id, is_fraud)
    found = finished(api, rule=over(100))["labelled"]
    assert (found["true_positives"], found["false_positives"]) == (1, 1)
    assert (found["false_negatives"], found["true_negatives"]) == (1, 1)
    assert found["precision"] == found["recall"] == found["alert_false_positive_share"] == 0.5
    assert found["fraud_amount"] == "220"
    assert found["fraud_amount_detected"] == "200"
    assert found["value_detected_share"] == 0.909091


def test_a_sweep_gives_the_curve(api: ApiClient) -> None:
    history_store([10, 200, 300, 20, 400])
    label("T4", True)
    result = finished(
        api, rule=over(100), sweep={"path": "conditions[0].value", "values": [0, 15, 250, 1000]}
    )
    assert [(point["value"], point["hits"]) for point in result["sweep"]] == [
        (0, 5),
        (15, 4),
        (250, 2),
        (1000, 0),
    ]
    assert [point["labelled"]["recall"] for point in result["sweep"]] == [1, 1, 1, 0]
    ranged = finished(
        api, rule=over(100), sweep={"path": "conditions[0].value", "from": 0, "to": 400, "steps": 5}
    )
    assert [point["value"] for point in ranged["sweep"]] == [0, 100, 200, 300, 400]
    assert ranged["sweep"][1]["hits"] == result["hits"] == 3


def test_a_sweep_takes_numbers_written_as_text(api: ApiClient) -> None:
    history_store([10, 20, 30, 40])
    result = finished(api, rule=over(0), sweep={"values": ["20.5", 10]})
    assert [(point["value"], point["hits"]) for point in result["sweep"]] == [(20.5, 2), (10, 3)]
    ranged = finished(api, rule=over(0), sweep={"from": "10", "to": "20.5", "steps": 2})
    assert [point["value"] for point in ranged["sweep"]] == [10, 20.5]


def test_a_draft_is_compared_with_the_version_in_force(api: ApiClient) -> None:
    history_store([10, 200, 300])
    rule_id = api.post("rules/", over(100)).json()["id"]
    assert api.patch(f"rules/{rule_id}/?draft=true", over(250)).status_code == 200
    assert RuleVersion.objects.filter(rule_id=rule_id).count() == 2
    result = finished(api, rule_id=rule_id)
    assert result["hits"] == 1
    assert result["in_force"]["hits"] == 2
    assert result["in_force"]["hits_in_both"] == 1
    assert result["in_force"]["hits_only_in_force"] == 1


def test_a_sweep_of_a_draft_is_told_apart_from_the_version_in_force(api: ApiClient) -> None:
    history_store([10, 200, 300])
    rule_id = api.post("rules/", over(100)).json()["id"]
    assert api.patch(f"rules/{rule_id}/?draft=true", over(250)).status_code == 200
    result = finished(api, rule_id=rule_id, sweep={"values": [0, 1000]})
    assert (result["hits"], result["in_force"]["hits"]) == (1, 2)
    assert [(point["value"], point["hits"]) for point in result["sweep"]] == [(0, 3), (1000, 0)]


def test_what_a_shadow_or_the_rule_itself_said_is_no_overlap(api: ApiClient) -> None:
    history_store([200, 300])
    rule_ids = [api.post("rules/", over(250, name)).json()["id"] for name in ("Tried", "In shadow")]
    decision = Decision.objects.create(
        transaction_id=_pk("T1"),
        outcome="review",
        overall_status="flagged",
        total_risk_score=1,
        ruleset=1,
        results={"live": [], "shadow": []},
        duration_ms=1,
    )
    for rule_id, is_shadow in zip(rule_ids, (False, True), strict=True):
        said = {"rule_version": 1, "status": "flagged", "risk_score": 1, "is_shadow": is_shadow}
        RuleHit.objects.create(decision=decision, rule_id=rule_id, **said)
    overlap = finished(api, rule_id=rule_ids[0])["overlap"]
    assert (overlap["rules"], overlap["hits_of_no_other_rule"]) == ([], 1)


def test_it_tells_the_overlap_with_live_rules(api: ApiClient) -> None:
    history_store([10, 200, 300, 400])
    rule_id = api.post("rules/", over(250, "Larger")).json()["id"]
    for number, hits in ((1, False), (2, True)):
        decision = Decision.objects.create(
            transaction_id=_pk(f"T{number}"),
            outcome="review",
            overall_status="flagged",
            total_risk_score=1,
            ruleset=1,
            results={"live": [], "shadow": []},
            duration_ms=1,
        )
        if hits:
            RuleHit.objects.create(
                decision=decision, rule_id=rule_id, rule_version=1, status="flagged", risk_score=1
            )
    overlap = finished(api, rule=over(100))["overlap"]
    assert (overlap["hits_with_a_decision"], overlap["hits_without_a_decision"]) == (2, 1)
    assert overlap["hits_of_no_other_rule"] == 1
    assert overlap["rules"] == [
        {
            "rule_id": rule_id,
            "rule_name": "Larger",
            "hits": 1,
            "hits_in_both": 1,
            "hits_only_of_rule": 0,
            "share_of_candidate": 0.5,
        }
    ]


def _pk(transaction_id: str) -> int:
    from ingestion.models import Transaction

    return int(Transaction.objects.get(transaction_id=transaction_id).pk)


def test_it_has_no_effect(api: ApiClient) -> None:
    history_store([10, 200])
    rulesets = RulesetVersion.objects.count()
    finished(api, rule={**over(100), "actions": [{"action_type": "alert", "parameters": {"risk_score": 90}}]})
    assert Alert.objects.count() == RuleHit.objects.count() == RuleVersion.objects.count() == 0
    assert RulesetVersion.objects.count() == rulesets


def test_chunks_add_up_to_the_same_answer(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    history_store([10, 200, 300, 20, 400, 500, 5])
    label("T4", True)
    label("T2", False)
    rule = rule_document(
        "Two", conditions=[{**rule_document()["conditions"][0], "value": 1, "time_window": "24h"}]
    )
    whole = finished(api, rule=rule, sweep={"values": [0, 1, 2]})
    monkeypatch.setattr(advancing, "CHUNK_ROWS", 2)
    assert finished(api, rule=rule, sweep={"values": [0, 1, 2]}) == whole


def test_it_is_cancelled_and_limited_per_principal(api: ApiClient, settings: Any) -> None:
    settings.BACKTESTS_PER_PRINCIPAL = 2
    history_store([10])
    first = api.post("backtests/", {"rule": over(1)}).json()["backtest_id"]
    assert api.post("backtests/", {"rule": over(1)}).status_code == 202
    refused = api.post("backtests/", {"rule": over(1)})
    assert refused.status_code == 429
    assert refused["Retry-After"]
    assert ApiClient().post("backtests/", {"rule": over(1)}).status_code == 202
    assert api.post(f"backtests/{first}/cancel/").json()["status"] == "cancelled"
    assert api.post(f"backtests/{first}/cancel/").status_code == 409
    assert backtest_advance(Backtest.objects.get(backtest_id=first).pk) is False
    assert api.post("backtests/", {"rule": over(1)}).status_code == 202


@pytest.mark.parametrize(
    ("body", "status", "path"),
    [
        ({}, 400, "rule"),
        ({"rule": {}, "rule_id": 1}, 400, "rule"),
        ({"rule_id": 99}, 400, "rule_id"),
        ({"rule_id": "x"}, 400, "rule_id"),
        ({"rule": over(1), "version": 1}, 400, "version"),
        ({"rule": over(1), "date_from": "2026-03-05", "date_to": "2026-03-01"}, 400, "date_to"),
        ({"rule": over(1), "date_from": "2031-03-05"}, 422, "date_from"),
        ({"rule": over(1), "sweep": {"path": "conditions[3].value", "values": [1]}}, 400, "sweep.path"),
        ({"rule": over(1), "sweep": {"path": "name", "values": [1]}}, 400, "sweep.path"),
        ({"rule": over(1), "sweep": {"values": []}}, 400, "sweep.values"),
        ({"rule": over(1), "sweep": {"values": ["a"]}}, 400, "sweep.values[0]"),
        ({"rule": over(1), "sweep": {"from": 3, "to": 2, "steps": 3}}, 400, "sweep.to"),
        (
            {"rule": over(1), "transaction_filters": {"distance_km_to_current": 5}},
            400,
            "transaction_filters.distance_km_to_current",
        ),
        (
            {"rule": over(1), "transaction_filters": {"label.is_fraud": {"field": "metadata.told"}}},
            400,
            "transaction_filters.label.is_fraud",
        ),
        ({"rule": over(1), "sweep": {"from": 0, "to": "1e40", "steps": 2}}, 400, "sweep.to"),
        ({"rule": over(1), "sweep": {"values": [1e30]}}, 400, "sweep.values[0]"),
        ({"rule": over(1), "thresholds": [1]}, 400, "thresholds"),
    ],
)
def test_it_refuses_bad_requests_and_stores_nothing(
    api: ApiClient, body: Any, status: int, path: str
) -> None:
    history_store([10])
    assert_problem(api.post("backtests/", body), status, path)
    assert not Backtest.objects.exists()


def test_a_bad_rule_is_refused_with_its_paths(api: ApiClient) -> None:
    history_store([10])
    rule = rule_document(conditions=[{"field": "amuont", "operator": "gt", "value": 1}])
    assert_problem(api.post("backtests/", {"rule": rule}), 400, "rule.conditions[0].field")


def test_reading_needs_no_right_to_start(api: ApiClient) -> None:
    history_store([10])
    backtest_id = api.post("backtests/", {"rule": over(1)}).json()["backtest_id"]
    reader = ApiClient("read")
    assert reader.get(f"backtests/{backtest_id}/").status_code == 200
    assert reader.post("backtests/", {"rule": over(1)}).status_code == 403
    assert reader.post(f"backtests/{backtest_id}/cancel/").status_code == 403
    assert reader.get("backtests/").json()["total"] == 1


def test_it_honours_history_before_the_range(api: ApiClient) -> None:
    history_store([10, 10, 10])
    rule = rule_document(
        "Third", conditions=[{**rule_document()["conditions"][0], "value": 2, "time_window": "7d"}]
    )
    assert finished(api, rule=rule, date_from=(START + timedelta(hours=24)).isoformat())["hits"] == 1


def test_it_tells_apart_what_only_the_candidate_and_only_the_version_in_force_hits(api: ApiClient) -> None:
    history_store([10, 200, 300, 400])
    rule_id = api.post("rules/", over(250)).json()["id"]
    under = rule_document("Large", conditions=[{"field": "amount", "operator": "lt", "value": 350}])
    assert api.patch(f"rules/{rule_id}/?draft=true", under).status_code == 200
    result = finished(api, rule_id=rule_id)
    in_force = result["in_force"]
    assert (result["hits"], in_force["hits"], in_force["hits_in_both"]) == (3, 2, 1)
    assert (in_force["hits_only_in_candidate"], in_force["hits_only_in_force"]) == (2, 1)


@pytest.mark.parametrize("said_last", [True, False])
def test_of_several_labels_the_one_that_is_known_latest_counts(api: ApiClient, said_last: bool) -> None:
    history_store([200])
    said = [(START + timedelta(days=2), said_last), (START + timedelta(days=1), not said_last)]
    for known_from, is_fraud in said:
        Label.objects.create(transaction_id="T0", is_fraud=is_fraud, known_from=known_from, arrival=1)
    found = finished(api, rule=over(100))["labelled"]
    assert (found["true_positives"], found["false_positives"]) == (int(said_last), int(not said_last))


def test_its_samples_are_spread_over_the_hits(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backtesting, "MAX_SAMPLES", 3)
    history_store([200, 10, 200, 200, 200, 200, 200, 10])
    samples = finished(api, rule=over(100))["sample_hits"]
    assert [each["transaction_id"] for each in samples] == ["T0", "T3", "T5"]


def test_a_sample_shows_what_the_rule_read(api: ApiClient) -> None:
    transaction_store(0, metadata={"score": 7, "deep": {"er": ["a", "b"]}})
    read = [
        {"field": "metadata.score", "operator": "gt", "value": 5},
        {"field": "metadata.deep.er.1", "operator": "eq", "value": "b"},
        {"field": "location", "operator": "is_null"},
    ]
    (sample,) = finished(api, rule=rule_document("Read", conditions=read))["sample_hits"]
    assert [each["actual"] for each in sample["details"]["conditions"]] == ["7", "b", None]


def test_a_sample_as_of_arrival_shows_what_was_read_then(api: ApiClient) -> None:
    for number in range(2):
        transaction_store(number, metadata={"score": 1}, status="failed")
    TransactionRevision.objects.create(
        transaction_id=_pk("T0"),
        arrival=2_000,
        status_before="completed",
        metadata_before={"score": 7},
        changed_by="user:tests",
    )
    read = [
        {"field": "metadata.score", "operator": "gt", "value": 5},
        {"field": "status", "operator": "eq", "value": "completed"},
    ]
    rule = rule_document("Read", conditions=read)
    (sample,) = finished(api, rule=rule, as_of="arrival")["sample_hits"]
    assert sample["transaction_id"] == "T0"
    told = [(each["actual"], each["met"]) for each in sample["details"]["conditions"]]
    assert told == [("7", True), ("completed", True)]
    assert finished(api, rule=rule)["hits"] == 0


def test_chunks_together_give_no_more_samples_than_one(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (backtesting, tally):
        monkeypatch.setattr(module, "MAX_SAMPLES", 3)
    monkeypatch.setattr(advancing, "CHUNK_ROWS", 2)
    history_store([200, 10, 200, 200, 200, 200])
    samples = finished(api, rule=over(100))["sample_hits"]
    assert [each["transaction_id"] for each in samples] == ["T0", "T2", "T3"]


def test_what_a_worker_counted_that_was_overtaken_is_not_added(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    history_store([10, 200, 300])
    answer = api.post("backtests/", {"rule": over(100)})
    backtest = Backtest.objects.get(backtest_id=answer.json()["backtest_id"])
    count = backtesting._chunk

    def overtaken(*args: Any) -> Any:
        counted = count(*args)
        Backtest.objects.filter(pk=backtest.pk).update(processed_transactions=3)
        return counted

    monkeypatch.setattr(backtesting, "_chunk", overtaken)
    assert not backtest_advance(backtest.pk)
    backtest.refresh_from_db()
    assert (backtest.status, backtest.progress, backtest.processed_transactions) == ("running", {}, 3)
