"""PATCH of status or metadata changes what later evaluations see, never what was decided."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any

import pytest
from django.db import OperationalError, connections, transaction

from ingestion.models import Transaction, TransactionRevision
from screening import corrections, realtime
from screening.counting import store
from screening.engine import engines
from screening.pending import pending_screen
from screening.velocity.fence import FenceState
from screening.velocity.filling import groups_locked
from screening.velocity_services import velocity_prepare, velocity_verify
from tests.clients import ApiClient, assert_problem
from tests.screening.payments import payload
from tests.waiting import Beside

pytestmark = pytest.mark.django_db(transaction=True)


def failed_rule() -> dict[str, Any]:
    condition = {
        "field": "transaction_id",
        "operator": "gte",
        "value": 2,
        "aggregate_function": "count",
        "time_window": "1h",
        "filters": [{"field": "status", "operator": "eq", "value": "failed"}],
    }
    actions = [{"action_type": "flag", "parameters": {"risk_score": 10}}]
    return {"name": "Failures", "rule_type": "pattern", "conditions": [condition], "actions": actions}


def failures(body: dict[str, Any]) -> str:
    return str(body["screening"]["results"][0]["details"]["conditions"][0]["actual"])


def test_it_counts_a_corrected_transaction_as_what_it_is_now() -> None:
    api = ApiClient()
    api.post("rules/", failed_rule())
    first = api.post("transactions/", payload(1)).json()
    assert failures(first) == "0"
    assert api.patch("transactions/T1/", {"status": "failed"}).status_code == 200
    assert failures(api.post("transactions/", payload(2)).json()) == "1"
    assert api.patch("transactions/T1/", {"status": "completed"}).status_code == 200
    assert failures(api.post("transactions/", payload(3)).json()) == "0"
    assert api.get("transactions/T1/screening/").json()["decision_id"] == first["screening"]["decision_id"]
    assert TransactionRevision.objects.count() == 2


def test_it_counts_what_is_corrected_into_a_group_without_a_counter() -> None:
    """The counter is ready, so that a group it does not have is one without events; until it is given one."""
    api = ApiClient()
    api.post("rules/", failed_rule())
    velocity_prepare()
    for number in range(3):
        at = {"occurred_at": (datetime.now(UTC) - timedelta(minutes=50 - number)).isoformat()}
        assert failures(api.post("transactions/", payload(number, user_id="U2") | at).json()) == "0"
    for number in range(3):
        assert api.patch(f"transactions/T{number}/", {"status": "failed"}).status_code == 200
    assert failures(api.post("transactions/", payload(9, user_id="U2")).json()) == "3"
    assert velocity_verify().differences == []


def test_it_still_replays_the_payload_as_first_submitted() -> None:
    api = ApiClient()
    api.post("transactions/", payload(1))
    api.patch("transactions/T1/", {"metadata": {"note": "seen"}})
    replay = api.post("transactions/", payload(1))
    assert replay.status_code == 200
    assert replay.json()["metadata"] == {"note": "seen"}


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "$"),
        ({"amount": 1}, "amount"),
        ({"status": ""}, "status"),
        ({"metadata": []}, "metadata"),
        ([], "$"),
    ],
)
def test_it_corrects_nothing_else(body: Any, path: str) -> None:
    api = ApiClient()
    api.post("transactions/", payload(1))
    assert_problem(api.patch("transactions/T1/", body), 400, path)
    assert not TransactionRevision.objects.exists()


def test_it_takes_true_in_place_of_1_for_a_correction() -> None:
    api = ApiClient()
    rule = failed_rule()
    rule["conditions"][0]["filters"] = [{"field": "metadata.vpn", "operator": "eq", "value": True}]
    api.post("rules/", rule)
    api.post("transactions/", payload(1) | {"metadata": {"vpn": 1, "l": [1]}})
    assert api.patch("transactions/T1/", {"metadata": {"vpn": 1.0, "l": [1]}}).status_code == 200
    assert TransactionRevision.objects.count() == 0
    answer = api.patch("transactions/T1/", {"metadata": {"vpn": True, "l": [True]}})
    assert answer.json()["metadata"] == {"vpn": True, "l": [True]}
    assert failures(api.post("transactions/", payload(2)).json()) == "1"
    assert velocity_verify().differences == []


def test_it_counts_what_is_corrected_while_a_worker_screens_it_as_what_it_is_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queued: list[int] = []
    monkeypatch.setattr("screening.services.transactions_enqueue", queued.extend)
    api = ApiClient()
    api.post("rules/", failed_rule())
    velocity_prepare()
    api.post("transactions/?mode=async", payload(1))
    store = realtime.decisions_store

    def corrected_first(*args: Any, **given: Any) -> Any:
        monkeypatch.setattr(realtime, "decisions_store", store)
        assert api.patch("transactions/T1/", {"status": "failed"}).status_code == 200
        return store(*args, **given)

    monkeypatch.setattr(realtime, "decisions_store", corrected_first)
    assert pending_screen(queued) == 1
    assert failures({"screening": api.get("transactions/T1/screening/").json()}) == "1"
    assert failures(api.post("transactions/", payload(2)).json()) == "1"
    assert velocity_verify().differences == []


def test_a_correction_whose_counting_fails_is_counted_by_a_retry_or_the_sweep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(*args: Any, **given: Any) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    api = ApiClient()
    api.post("rules/", failed_rule())
    velocity_prepare()
    for number in (1, 2):
        api.post("transactions/", payload(number))
    with monkeypatch.context() as patch:
        patch.setattr(corrections, "correct_counters", away)
        for number in (1, 2):
            answer = api.patch(f"transactions/T{number}/", {"status": "failed"})
            assert_problem(answer, 503)
            assert api.get(f"transactions/T{number}/").json()["status"] == "failed"
    assert api.patch("transactions/T1/", {"status": "failed"}).status_code == 200
    assert failures(api.post("transactions/", payload(3)).json()) == "1"
    assert corrections.corrections_sweep() == 0
    monkeypatch.setattr(corrections, "SWEEP_AFTER", timedelta(0))
    assert corrections.corrections_sweep() == 1
    assert failures(api.post("transactions/", payload(4)).json()) == "2"
    assert velocity_verify().differences == []


def test_a_rule_published_during_a_correction_counts_what_is_corrected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api = ApiClient()
    api.post("transactions/", payload(1))
    correct_counters = corrections.correct_counters

    def publish() -> None:
        try:
            api.post("rules/", failed_rule())
            api.post("transactions/", payload(2))
        finally:
            connections.close_all()

    def published_first(*args: Any, **given: Any) -> None:
        thread = Thread(target=publish)
        thread.start()
        thread.join(30)
        correct_counters(*args, **given)

    monkeypatch.setattr(corrections, "correct_counters", published_first)
    assert api.patch("transactions/T1/", {"status": "failed"}).status_code == 200
    assert failures(api.post("transactions/", payload(3)).json()) == "1"
    assert velocity_verify().differences == []


def test_it_counts_what_is_corrected_while_its_counter_is_filled_ahead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api = ApiClient()
    api.post("transactions/", payload(1))
    api.post("rules/", failed_rule())
    ready_add = store.ready_add

    def corrected_first(epoch: int, ids: Any) -> None:
        monkeypatch.setattr(store, "ready_add", ready_add)
        assert api.patch("transactions/T1/", {"status": "failed"}).status_code == 200
        ready_add(epoch, ids)

    monkeypatch.setattr(store, "ready_add", corrected_first)
    assert velocity_prepare() == 1
    assert velocity_verify().differences == []
    assert failures(api.post("transactions/", payload(2)).json()) == "1"


def test_it_counts_nothing_of_what_is_still_pending(monkeypatch: pytest.MonkeyPatch) -> None:
    queued: list[int] = []
    monkeypatch.setattr("screening.services.transactions_enqueue", queued.extend)
    api = ApiClient()
    api.post("rules/", failed_rule())
    velocity_prepare()
    api.post("transactions/?mode=async", payload(1, occurred_at=datetime.now(UTC).isoformat()))
    assert api.patch("transactions/T1/", {"status": "failed"}).status_code == 200
    assert failures(api.post("transactions/", payload(2)).json()) == "0"
    pending_screen(queued)
    assert failures(api.post("transactions/", payload(3)).json()) == "1"
    assert velocity_verify().differences == []


def test_it_corrects_the_counters_of_a_rule_that_another_process_published() -> None:
    api = ApiClient()
    api.post("transactions/", payload(1))
    before = engines.current()
    api.post("rules/", failed_rule())
    velocity_prepare()
    engines._engine = before
    assert api.patch("transactions/T1/", {"status": "failed"}).status_code == 200
    assert failures(api.post("transactions/", payload(2)).json()) == "1"


def test_it_corrects_counters_that_another_process_brought_back(monkeypatch: pytest.MonkeyPatch) -> None:
    api = ApiClient()
    api.post("rules/", failed_rule())
    api.post("transactions/", payload(1))
    velocity_prepare()
    away = FenceState(realtime.fence.state().epoch, is_redis=False)
    monkeypatch.setattr(realtime.fence, "_state", away)
    monkeypatch.setattr(realtime.fence, "_tried_at", time.monotonic())
    assert api.patch("transactions/T1/", {"status": "failed"}).status_code == 200
    realtime.fence.refresh()
    assert failures(api.post("transactions/", payload(2)).json()) == "1"


class TestOfOneTransactionAtOnce:
    """Each is done under the lock of what it changes: the later one goes by what the earlier one left."""

    @pytest.fixture
    def api(self) -> ApiClient:
        api = ApiClient()
        api.post("rules/", failed_rule())
        velocity_prepare()
        api.post("transactions/", payload(1))
        return api

    def test_a_correction_goes_by_the_row_as_the_one_before_left_it(self, api: ApiClient) -> None:
        with transaction.atomic():
            Transaction.objects.filter(transaction_id="T1").update(status="reversed")
            beside = Beside(lambda: api.patch("transactions/T1/", {"status": "failed"}))
            beside.must_wait()
        assert beside.answer().status_code == 200
        assert TransactionRevision.objects.get().status_before == "reversed"

    def test_counters_are_told_what_the_row_is_once_it_is_no_longer_changing(
        self, api: ApiClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(corrections, "correction_count", lambda pk: None)
            api.patch("transactions/T1/", {"status": "failed"})
        revision = TransactionRevision.objects.get()
        with transaction.atomic():
            Transaction.objects.filter(transaction_id="T1").update(status="reversed")
            beside = Beside(lambda: corrections.correction_count(revision.pk))
            beside.must_wait()
        beside.answer()
        assert failures(api.post("transactions/", payload(2)).json()) == "0"
        assert velocity_verify().differences == []

    def test_a_correction_waits_for_whoever_fills_its_counters(self, api: ApiClient) -> None:
        tags = [str(counter.tag(("U1",))) for counter in engines.current().plan.stored()]
        with groups_locked(tags):
            beside = Beside(lambda: api.patch("transactions/T1/", {"status": "failed"}))
            beside.must_wait()
        assert beside.answer().status_code == 200
        assert failures(api.post("transactions/", payload(2)).json()) == "1"
