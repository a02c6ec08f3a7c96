"""Account risk: what the signals that hold at a moment add up to."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from screening.cases.services import case_dispose
from screening.models import Alert, Case
from screening.outbox import worker
from screening.outbox.worker import outbox_work
from screening.risk import selectors
from screening.risk.alerting import signals_assess
from screening.risk.tiers import RECOMMENDATIONS, score_of, tier_of
from tests.cases.making import AT, signal, transaction
from tests.clients import ApiClient, assert_problem


@pytest.mark.parametrize(
    ("weights", "score", "tier"),
    [
        ([], "0.1", "low"),
        (["0.2"], "0.3", "low"),
        (["0.2001"], "0.3001", "medium"),
        (["0.4"], "0.5", "medium"),
        (["0.25", "0.2"], "0.55", "high"),
        (["0.35", "0.35"], "0.8", "high"),
        (["0.35", "0.20", "0.20"], "0.85", "critical"),
        (["0.4", "0.35", "0.3"], "1", "critical"),
    ],
)
def test_it_adds_weights_to_a_tenth_and_finds_the_tier(weights: list[str], score: str, tier: str) -> None:
    found = score_of(Decimal(weight) for weight in weights)
    assert found == Decimal(score)
    assert tier_of(found) == tier
    assert tier in RECOMMENDATIONS


def risk(api: ApiClient, account_id: str = "A1", **query: str) -> dict:
    response = api.get(f"risk/accounts/{account_id}/", **query)
    assert response.status_code == 200, response.content
    return response.json()


def test_it_answers_the_base_risk_of_an_account_without_signals(api: ApiClient) -> None:
    transaction()
    body = risk(api)
    assert (body["risk_score"], body["tier"], body["recommended_action"]) == (0.1, "low", "none")
    assert body["signals"] == []


def test_it_counts_a_signal_once_with_the_largest_weight_and_the_latest_end(api: ApiClient) -> None:
    now = timezone.now()
    signal(weight="0.25", raised_at=now - timedelta(minutes=5), horizon=timedelta(minutes=30))
    signal(weight="0.40", raised_at=now - timedelta(minutes=3), horizon=timedelta(minutes=4))
    body = risk(api)
    assert body["risk_score"] == 0.5
    (held,) = body["signals"]
    assert (held["weight"], held["times_raised"]) == (0.4, 2)
    assert held["holds_until"].startswith((now + timedelta(minutes=25)).strftime("%Y-%m-%dT%H:%M:%S"))


def test_it_decays_at_the_horizon_without_any_job(api: ApiClient) -> None:
    signal("velocity", "0.25", raised_at=AT, horizon=timedelta(minutes=10))
    signal("brute_force", "0.35", raised_at=AT + timedelta(minutes=5), horizon=timedelta(minutes=5))
    for minutes, score in ((-0.01, 0.1), (0, 0.35), (4.99, 0.35), (5, 0.7), (9.99, 0.7), (10, 0.1)):
        at = (AT + timedelta(minutes=minutes)).isoformat()
        assert risk(api, at=at)["risk_score"] == score, minutes
    assert risk(api)["risk_score"] == 0.1


def test_it_counts_a_users_signal_for_each_account_the_user_paid_from(api: ApiClient) -> None:
    now = timezone.now()
    transaction(account_id="A1", occurred_at=now - timedelta(days=2))
    transaction(account_id="A2", occurred_at=now - timedelta(days=1))
    transaction(account_id="A3", user_id="U3", occurred_at=now - timedelta(days=1))
    signal("brute_force", "0.35", account_id=None, event_kind="login", event_id="L1")
    assert [risk(api, account)["risk_score"] for account in ("A1", "A2", "A3")] == [0.45, 0.45, 0.1]
    listed = api.get("risk/accounts/").json()["items"]
    assert {each["account_id"]: each["risk_score"] for each in listed} == {"A1": 0.45, "A2": 0.45}


def test_it_says_of_an_account_alone_what_the_list_says(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user's signal counts for the accounts among the user's newest transactions, not for an account's users."""
    monkeypatch.setattr(selectors, "ACCOUNTS_AMONG", 2)
    now = timezone.now()
    for minutes, account, user in (
        *((9, "left long ago", "U1"), (2, "A1", "U1"), (1, "A1", "U1")),
        *((9, "shared", "U2"), (2, "shared", "U3"), (1, "shared", "U3")),
    ):
        transaction(account_id=account, user_id=user, occurred_at=now - timedelta(minutes=minutes))
    for user in ("U1", "U2"):
        signal("brute_force", "0.35", account_id=None, user_id=user, event_kind="login")
    listed = api.get("risk/accounts/").json()["items"]
    assert {each["account_id"]: each["tier"] for each in listed} == {"A1": "medium", "shared": "medium"}
    for account, tier in (("A1", "medium"), ("shared", "medium"), ("left long ago", "low")):
        assert risk(api, account)["tier"] == tier, account
    for each in listed:
        assert risk(api, each["account_id"], at=each["at"]) == each


@pytest.mark.django_db
def test_it_counts_accounts_at_risk_without_reading_them() -> None:
    for number in range(3):
        signal(account_id=f"A{number}")
    with CaptureQueriesContext(connection) as captured:
        assert selectors.RiskyAccounts(at=timezone.now()).count() == 3
    (query,) = captured
    assert "SELECT count(*) FROM found" in query["sql"]


def test_it_lists_accounts_by_tier_riskiest_first(api: ApiClient) -> None:
    for account, weights in (("A1", ["0.1"]), ("A2", ["0.4"]), ("A3", ["0.4", "0.1"]), ("A4", ["0.8"])):
        for number, weight in enumerate(weights):
            signal(f"s{number}", weight, account_id=account)
    body = api.get("risk/accounts/").json()
    assert [each["account_id"] for each in body["items"]] == ["A4", "A3", "A2", "A1"]
    assert [each["tier"] for each in body["items"]] == ["critical", "high", "medium", "low"]
    for each in body["items"]:
        alone = api.get(f"risk/accounts/?tier={each['tier']}").json()
        assert [one["account_id"] for one in alone["items"]] == [each["account_id"]]
        assert alone["total"] == 1
    page = api.get("risk/accounts/?page_size=2&page=2").json()
    assert [each["account_id"] for each in page["items"]] == ["A2", "A1"]
    assert page["total"] == 4
    assert api.get("risk/accounts/?page=9").json()["items"] == []
    for ordering, names in (
        ("risk_score", ["A1", "A2", "A3", "A4"]),
        ("-account_id", ["A4", "A3", "A2", "A1"]),
        ("-risk_score,account_id", ["A4", "A3", "A2", "A1"]),
    ):
        ordered = api.get("risk/accounts/", ordering=ordering).json()["items"]
        assert [each["account_id"] for each in ordered] == names
    assert_problem(api.get("risk/accounts/?ordering=score"), 400, "ordering")


def test_it_lists_what_held_at_a_moment(api: ApiClient) -> None:
    signal("structuring", "0.4", raised_at=AT, horizon=timedelta(minutes=60))
    assert api.get("risk/accounts/").json()["total"] == 0
    assert api.get("risk/accounts/?tier=&at=").status_code == 200
    then = api.get("risk/accounts/", at=(AT + timedelta(minutes=59)).isoformat(), tier="medium").json()
    assert [each["account_id"] for each in then["items"]] == ["A1"]


@pytest.mark.parametrize(("weight", "tier"), [("0.45", "high"), ("0.75", "critical")])
def test_it_opens_a_case_for_a_high_or_critical_account(api: ApiClient, weight: str, tier: str) -> None:
    signal("combined", weight)
    outbox_work()
    opened = Case.objects.get()
    raised = Alert.objects.get()
    assert (raised.kind, raised.severity, raised.case) == ("risk", tier, opened)
    assert (opened.account_id, opened.priority) == ("A1", tier)
    assert f"combined {weight}" in raised.reason


@pytest.mark.django_db
def test_it_opens_no_case_up_to_medium() -> None:
    signal("combined", "0.4")
    outbox_work()
    assert not Alert.objects.exists()
    assert not Case.objects.exists()


@pytest.mark.django_db
def test_it_raises_one_alert_a_tier_and_says_when_it_rises() -> None:
    signal("a", "0.45")
    outbox_work()
    signal("a", "0.45")
    outbox_work()
    assert Alert.objects.count() == 1
    signal("b", "0.35")
    outbox_work()
    assert list(Alert.objects.order_by("id").values_list("severity", flat=True)) == ["high", "critical"]
    assert Case.objects.get().priority == "critical"


@pytest.mark.django_db
def test_it_assesses_a_late_signal_at_its_own_time() -> None:
    signal("a", "0.25", raised_at=AT)
    signal("b", "0.25", raised_at=AT + timedelta(minutes=11))
    outbox_work()
    assert not Alert.objects.exists()
    signal("c", "0.25", raised_at=AT + timedelta(minutes=9))
    outbox_work()
    assert Alert.objects.get().occurred_at == AT + timedelta(minutes=9)


@pytest.mark.django_db
@pytest.mark.parametrize("chunk", [1, 50])
def test_it_raises_the_same_alerts_however_many_signals_are_assessed_together(
    monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    """Of an import, a bulk or an outage: the account was high and then critical, and is calm at the newest signal."""
    monkeypatch.setattr(worker, "CHUNK", chunk)
    signal("structuring", "0.40", raised_at=AT, horizon=timedelta(minutes=60))
    signal("velocity", "0.25", raised_at=AT + timedelta(minutes=1))
    signal("brute_force", "0.35", raised_at=AT + timedelta(minutes=2))
    signal("velocity", "0.25", raised_at=AT + timedelta(hours=5))
    outbox_work()
    raised = Alert.objects.order_by("id").values_list("severity", "occurred_at")
    assert list(raised) == [
        ("high", AT + timedelta(minutes=1)),
        ("critical", AT + timedelta(minutes=2)),
    ]


@pytest.mark.django_db
def test_it_assesses_what_held_after_a_late_signal_too() -> None:
    """Payments and logins come over different topics: the earlier one may be heard of last."""
    signal("structuring", "0.40", raised_at=AT, horizon=timedelta(minutes=60))
    outbox_work()
    signal("velocity", "0.25", raised_at=AT - timedelta(seconds=30))
    signal("velocity", "0.25", raised_at=AT - timedelta(minutes=30))
    outbox_work()
    assert Alert.objects.get().occurred_at == AT
    assert Case.objects.get().priority == "high"


@pytest.mark.django_db
def test_it_assesses_a_late_login_on_an_account_first_paid_from_after_it() -> None:
    payment = transaction(occurred_at=AT)
    signal("structuring", "0.40", raised_at=AT, event_id=payment.transaction_id)
    outbox_work()
    signal("brute_force", "0.35", account_id=None, event_kind="login", raised_at=AT - timedelta(minutes=1))
    outbox_work()
    raised = Alert.objects.get()
    assert (raised.severity, raised.event_id) == ("critical", payment.transaction_id)


@pytest.mark.django_db
def test_it_asks_no_more_of_a_risky_account_for_each_signal_of_a_burst() -> None:
    signal("combined", "0.45", raised_at=AT, horizon=timedelta(minutes=60))
    outbox_work()
    for number in range(20):
        signal("combined", "0.45", raised_at=AT + timedelta(seconds=number))
    with CaptureQueriesContext(connection) as asked:
        assert signals_assess(limit=50) == 20
    assert len(asked) == 5
    assert Alert.objects.count() == 1


@pytest.mark.django_db
def test_it_raises_no_alert_for_one_signal_raised_with_two_weights() -> None:
    """A rule was given another weight within the horizon: the larger one counts, not both."""
    signal("velocity", "0.25", raised_at=AT)
    signal("velocity", "0.35", raised_at=AT + timedelta(minutes=1))
    outbox_work()
    assert not Alert.objects.exists()


@pytest.mark.django_db
def test_it_raises_another_alert_for_a_signal_after_the_case_was_closed() -> None:
    signal("combined", "0.45", raised_at=AT)
    outbox_work()
    Case.objects.update(status="closed", disposition="inconclusive", closed_at=timezone.now())
    signal("combined", "0.45", raised_at=AT + timedelta(minutes=1))
    outbox_work()
    assert Alert.objects.count() == 2
    assert Case.objects.count() == 2


def test_it_does_not_know_an_account_nothing_was_heard_of(api: ApiClient) -> None:
    assert_problem(api.get("risk/accounts/A404/"), 404)


def test_it_refuses_wrong_keys_scopes_and_parameters(api: ApiClient) -> None:
    transaction()
    assert_problem(ApiClient(raw_key="nonsense").get("risk/accounts/"), 401)
    assert_problem(ApiClient("cases:write").get("risk/accounts/A1/"), 403)
    for path, query, named in (
        ("risk/accounts/", {"tier": "enormous"}, "tier"),
        ("risk/accounts/", {"at": "yesterday"}, "at"),
        ("risk/accounts/", {"page_size": "1001"}, "page_size"),
        ("risk/accounts/", {"colour": "red"}, "colour"),
        ("risk/accounts/A1/", {"at": "2026-01-01"}, "at"),
        ("risk/accounts/A1/", {"until": "2026-01-01T00:00:00Z"}, "until"),
    ):
        assert_problem(api.get(path, **query), 400, named)


def test_it_counts_no_users_signal_before_it_was_raised(api: ApiClient) -> None:
    transaction(account_id="A1", occurred_at=AT - timedelta(days=1))
    signal("brute_force", "0.35", account_id=None, raised_at=AT, event_kind="login", event_id="L1")
    before, then = ((AT + timedelta(seconds=each)).isoformat() for each in (-1, 0))
    assert [risk(api, at=at)["risk_score"] for at in (before, then)] == [0.1, 0.45]
    assert api.get("risk/accounts/", at=before).json()["items"] == []


def test_it_lists_an_account_whose_weights_come_to_more_than_one(api: ApiClient) -> None:
    for name, weight in (("structuring", "0.4"), ("brute_force", "0.35"), ("geo_impossible", "0.3")):
        signal(name, weight)
    for query in ({}, {"tier": "critical"}):
        (listed,) = api.get("risk/accounts/", **query).json()["items"]
        assert (listed["account_id"], listed["risk_score"], listed["tier"]) == ("A1", 1.0, "critical")


def test_it_opens_another_case_once_the_last_one_is_closed(api: ApiClient) -> None:
    for times in (1, 2):
        signal("structuring", "0.4")
        signal("brute_force", "0.35")
        outbox_work()
        assert Alert.objects.filter(kind="risk").count() == Case.objects.count() == times
        opened = Case.objects.latest("id")
        case_dispose(case_id=opened.case_id, disposition="inconclusive", principal="user:ada")


def test_it_counts_a_users_signal_for_no_account_the_user_paid_from_only_later(api: ApiClient) -> None:
    transaction(account_id="A1", occurred_at=AT - timedelta(days=1))
    transaction(account_id="A2", occurred_at=AT + timedelta(minutes=3))
    signal("brute_force", "0.35", account_id=None, raised_at=AT, event_kind="login", event_id="L1")
    at = (AT + timedelta(minutes=1)).isoformat()
    assert [risk(api, account, at=at)["risk_score"] for account in ("A1", "A2")] == [0.45, 0.1]
    assert [each["account_id"] for each in api.get("risk/accounts/", at=at).json()["items"]] == ["A1"]
