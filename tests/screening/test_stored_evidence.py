"""Evidence as it is stored: compressed, or as the text it was before that; and asked for in lists."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import orjson
import pytest
from django.db import connection

from fraudsite.compressed_json import json_text
from rules.models import Rule, RulesetVersion
from screening.alerts.models import Alert
from screening.events import derivation_settings
from screening.models import Decision
from tests.cases.making import transaction as row
from tests.clients import ApiClient, assert_problem
from tests.rows_read import rows_read
from tests.screening.payments import payload

pytestmark = pytest.mark.django_db(transaction=True)


def rule(name: str, over: int, *, by: str = "user_id") -> dict[str, Any]:
    return {
        "name": name,
        "rule_type": "velocity",
        "conditions": [
            {
                "field": "amount",
                "operator": "gt",
                "value": over,
                "aggregate_function": "count",
                "time_window": "24h",
                "group_by": [by],
            }
        ],
        "actions": [{"action_type": "flag", "parameters": {"risk_score": 10}}],
    }


@pytest.fixture
def rule_ids(api: ApiClient) -> list[int]:
    """Never hit; hit from the second payment on; not applicable without a device."""
    rules = (rule("Never", 1000), rule("Second", 1), rule("By device", 1000, by="device_id"))
    ids = [api.post("rules/", each).json()["id"] for each in rules]
    for number in (1, 2):
        body = payload(number)
        body.pop("device_id", None)
        assert api.post("transactions/", body).status_code == 201
    return ids


def listed(api: ApiClient, **wanted: Any) -> set[tuple[str, int, str]]:
    body = api.get("screening/results/", **wanted).json()
    # A first page that is full has the database count the rest.
    assert api.get("screening/results/", page_size=1, **wanted).json()["total"] == len(body["items"])
    return {(each["transaction_id"], each["rule_id"], each["status"]) for each in body["items"]}


def test_it_lists_results_by_transaction_rule_and_status(api: ApiClient, rule_ids: list[int]) -> None:
    never, second, by_device = rule_ids
    first_id, second_id = payload(1)["transaction_id"], payload(2)["transaction_id"]
    statuses = {(never, "clean"), (by_device, "not_applicable")}
    of_first = {(first_id, rule_id, status) for rule_id, status in (statuses | {(second, "clean")})}
    of_second = {(second_id, rule_id, status) for rule_id, status in (statuses | {(second, "flagged")})}
    assert listed(api) == of_first | of_second
    assert listed(api, transaction_id=first_id) == of_first
    assert listed(api, rule_id=second) == {(first_id, second, "clean"), (second_id, second, "flagged")}
    assert listed(api, status="flagged") == {(second_id, second, "flagged")}
    assert listed(api, status="not_applicable", transaction_id=second_id) == {
        (second_id, by_device, "not_applicable")
    }
    assert listed(api, status="flagged", rule_id=never) == set()


def test_it_lists_results_page_by_page_as_in_one(api: ApiClient, rule_ids: list[int]) -> None:
    """Two rules hit in each of the later payments, and pages end between them."""
    api.post("rules/", rule("Second too", 1))
    for number in range(3, 7):
        assert api.post("transactions/", payload(number)).status_code == 201
    for wanted in ({}, {"status": "flagged"}, {"rule_id": rule_ids[1]}, {"status": "error"}):
        whole = api.get("screening/results/", **wanted).json()["items"]
        pages = [
            api.get("screening/results/", page=page, page_size=3, **wanted).json()
            for page in range(1, len(whole) // 3 + 2)
        ]
        assert [each["id"] for page in pages for each in page["items"]] == [each["id"] for each in whole]
        assert {page["total"] for page in pages} == {len(whole)}


def test_it_lists_results_of_the_oldest_decision_first_if_asked(api: ApiClient, rule_ids: list[int]) -> None:
    of_type = {"screening_type": "real_time"}
    for wanted in (of_type, of_type | {"rule_id": rule_ids[1]}, of_type | {"status": "flagged"}):
        newest = api.get("screening/results/", **wanted).json()["items"]
        oldest = api.get("screening/results/", ordering="created_at", **wanted).json()["items"]
        assert api.get("screening/results/", ordering="-created_at", **wanted).json()["items"] == newest
        moments = [each["created_at"] for each in oldest]
        assert moments == sorted(moments)
        assert sorted(each["id"] for each in oldest) == sorted(each["id"] for each in newest)
    assert_problem(api.get("screening/results/", ordering="created_at"), 400, "ordering")
    assert_problem(api.get("screening/results/", ordering="score", **of_type), 400, "ordering")


@pytest.mark.django_db
def test_it_finds_the_few_results_asked_for_without_reading_all_decisions(
    api: ApiClient, rule_ids: list[int]
) -> None:
    """A year has millions of decisions, each with a verdict of every rule."""
    api.post("rules/", rule("Never asked", 1000))
    newest = RulesetVersion.objects.latest("number").number
    shared = {"overall_status": "clean", "total_risk_score": 0, "results": {"live": [], "shadow": []}}
    shared |= {"outcome": "approve", "duration_ms": 1, "verdicts": " ".join(f"{each}c" for each in rule_ids)}
    decisions = [
        Decision(transaction=row(transaction_id=f"OLD{number}"), ruleset=newest - 1, **shared)
        for number in range(2_000)
    ]
    Decision.objects.bulk_create(decisions)
    never_asked = Rule.objects.get(name="Never asked").pk
    of_few = (
        {"status": "flagged"},
        {"status": "error"},
        {"status": "flagged", "rule_id": rule_ids[1]},
        {"rule_id": never_asked},
        {"rule_id": 10**12},
    )
    for wanted in of_few:
        with rows_read(Decision) as read:
            total = api.get("screening/results/", page_size=1, **wanted).json()["total"]
        assert total == (1 if "flagged" in wanted.values() else 0), wanted
        assert read.number < 100, wanted
    for wanted, expected in (({}, 2_002 * 3), ({"rule_id": rule_ids[0]}, 2_002)):
        # Past the end there are no items to tell, and these have no evidence.
        assert api.get("screening/results/", page=1_000, **wanted).json()["total"] == expected


def test_it_lists_what_versions_in_shadow_said_apart_from_what_had_effect(
    api: ApiClient, rule_ids: list[int]
) -> None:
    _, second, _ = rule_ids
    wording = {**rule("Second", 2), "actions": [{"action_type": "block", "parameters": {"risk_score": 90}}]}
    version = api.patch(f"rules/{second}/?draft=true", wording).json()["pending_version"]["version"]
    for act in ("submit", "shadow"):
        moved = api.post(f"rules/{second}/versions/{version}/{act}/")
        assert moved.status_code == 200, moved.content
    answer = api.post("transactions/", payload(3)).json()["screening"]
    third_id = payload(3)["transaction_id"]
    assert (answer["decision"], len(answer["results"]), Alert.objects.count()) == ("review", 3, 0)
    (shadowed,) = api.get("screening/results/", screening_type="shadow").json()["items"]
    assert (shadowed["transaction_id"], shadowed["rule_id"], shadowed["status"]) == (
        third_id,
        second,
        "flagged",
    )
    assert (shadowed["rule_version"], shadowed["screening_type"]) == (version, "shadow")
    assert shadowed["details"]["conditions"][0]["actual"] == "3"
    assert shadowed["id"] not in {each["id"] for each in answer["results"]}
    by_status = {
        status: listed(api, screening_type="shadow", status=status)
        for status in ("flagged", "clean", "error")
    }
    assert by_status == {"flagged": {(third_id, second, "flagged")}, "clean": set(), "error": set()}
    assert (
        listed(api, screening_type="shadow", rule_id=second, transaction_id=payload(1)["transaction_id"])
        == set()
    )
    assert len(listed(api, transaction_id=third_id)) == 3


def test_it_reads_what_was_stored_before_evidence_was_compressed(api: ApiClient, rule_ids: list[int]) -> None:
    address = f"transactions/{payload(2)['transaction_id']}/screening/"
    told = api.get(address).json()
    assert len(told["results"]) == len(rule_ids)
    for decision in Decision.objects.all():
        text = orjson.dumps(decision.results)
        with connection.cursor() as cursor:
            cursor.execute("UPDATE screening_decision SET results = %s WHERE id = %s", [text, decision.pk])
    assert api.get(address).json() == told


def test_the_migration_keeps_evidence_and_tells_its_verdicts() -> None:
    migration = import_module("screening.migrations.0008_evidence_compressed")
    evidence = {"live": [[18, 2, "n", 0, [[None]], "a reason"], [9, 3, "f", "10", [[1]], None]], "shadow": []}
    stored = [evidence, {"live": [], "shadow": [[7, 1, "c", 0, [], None]]}]
    with connection.cursor() as cursor:
        # Ahead of the real one on the search path.
        cursor.execute(
            "CREATE TEMPORARY TABLE screening_decision (results jsonb NOT NULL, verdicts text NOT NULL DEFAULT '')"
        )
        for each in stored:
            cursor.execute(
                "INSERT INTO screening_decision (results) VALUES (%s)", [orjson.dumps(each).decode()]
            )
        cursor.execute(migration.VERDICTS)
        cursor.execute(migration.COMPRESSED)
        cursor.execute("SELECT results, verdicts FROM screening_decision")
        found = cursor.fetchall()
        cursor.execute("DROP TABLE pg_temp.screening_decision")
    assert [(orjson.loads(json_text(results)), verdicts) for results, verdicts in found] == [
        (stored[0], "18n 9f"),
        (stored[1], ""),
    ]


PASSING = (
    "hour",
    "weekday",
    "is_cnp",
    "is_odd_hours",
    "is_high_risk_mcc",
    "customer.risk_tier",
    "customer.age_days",
    "account.age_days",
    "metadata.shop",
)


def test_it_says_the_same_of_groups_that_the_transaction_alone_does_not_tell(
    api: ApiClient, settings: Any
) -> None:
    profile = {
        "user_id": payload(1)["user_id"],
        "risk_tier": "high",
        "kyc_status": "verified",
        "account_type": "personal",
        "updated_at": "2026-01-01T00:00:00Z",
    }
    assert api.post("events/kyc/", profile).status_code < 300
    for name in PASSING:
        body = rule(name, 0, by="user_id")
        body["conditions"][0]["group_by"].append(name)
        assert api.post("rules/", body).status_code == 201
    body = payload(1, merchant_category="6011", metadata={"shop": "S1"})
    first = api.post("transactions/", body).json()["screening"]
    told = [each["details"]["conditions"][0]["text"] for each in first["results"]]
    assert not [text for text in told if "nothing" in text or "None" in text], told
    # Neither may change what was said: a setting, a later profile, a correction.
    settings.BUSINESS_TIME_ZONE = "Asia/Tokyo"
    derivation_settings.cache_clear()
    try:
        api.post("events/kyc/", profile | {"risk_tier": "low", "updated_at": "2026-02-01T00:00:00Z"})
        api.patch(f"transactions/{body['transaction_id']}/", {"metadata": {"shop": "S2"}})
        stored = api.get(f"transactions/{body['transaction_id']}/screening/").json()
        listed_results = api.get("screening/results/", transaction_id=body["transaction_id"]).json()["items"]
    finally:
        derivation_settings.cache_clear()
    assert [each["details"] for each in stored["results"]] == [each["details"] for each in first["results"]]
    by_rule = {each["rule_id"]: each["details"] for each in first["results"]}
    assert {each["rule_id"]: each["details"] for each in listed_results} == by_rule
