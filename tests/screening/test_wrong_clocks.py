"""Clocks that are apart or jump: no payment gets a time that never was, none is counted wrongly, none is refused."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from ingestion.models import Transaction
from rules.selectors import ruleset_current_number
from screening import realtime, reconciliation
from screening.counting import fence, store
from screening.models import VelocityState
from screening.storing import MAX_COUNT_AGE_US
from screening.velocity_services import velocity_prepare, velocity_verify
from tests.clients import ApiClient
from tests.screening.test_idempotency import actual, count_rule
from tests.screening.test_reconciliation import Killed, dies
from tests.screening.test_redis_refuses import try_redis_again
from tests.screening.test_submit import payload

pytestmark = pytest.mark.django_db(transaction=True)

HOUR_US = 3_600_000_000


def now_us() -> int:
    return time.time_ns() // 1_000


def counted_until(moment_us: int) -> None:
    """Have the counters go on behind that moment, as they do once their clock was that late."""
    store.epoch_begin(fence.state().epoch, last_arrival=moment_us, ruleset=ruleset_current_number())


def redis_clock_is_ahead(monkeypatch: pytest.MonkeyPatch, by_s: int) -> None:
    """As Redis tells it. What it counts meanwhile has places to match where it is ahead."""
    times_us = store.times_us
    monkeypatch.setattr(store, "times_us", lambda: [each + by_s * 1_000_000 for each in times_us()])
    if by_s > 0:
        counted_until(now_us() + by_s * 1_000_000)


def machine_clock_is_ahead(monkeypatch: pytest.MonkeyPatch, by_s: int) -> None:
    """This process's, not PostgreSQL's and not Redis's."""
    told = time.time
    monkeypatch.setattr(time, "time", lambda: told() + by_s)


def is_degraded(body: dict[str, Any]) -> bool:
    return bool(body["screening"]["degraded"])


@pytest.fixture
def api() -> ApiClient:
    """Two payments of the user are counted."""
    client = ApiClient()
    client.post("rules/", count_rule(10))
    for number in (1, 2):
        client.post("transactions/", payload(number))
    return client


def submit(api: ApiClient, number: int, **given: Any) -> dict[str, Any]:
    answer = api.post("transactions/", payload(number, **given))
    assert answer.status_code == 201, answer.json()
    return dict(answer.json())


def test_a_payment_without_a_time_is_not_put_into_the_future_once_the_clock_was_there(api: ApiClient) -> None:
    counted_until(now_us() + 30 * HOUR_US)
    with capture_logs() as logs:
        body = submit(api, 3)
    assert actual(body) == 3
    assert datetime.fromisoformat(body["occurred_at"]) < datetime.now(UTC) + timedelta(seconds=10)
    assert any("was set back" in each.get("reason", "") for each in logs)
    try_redis_again()
    after = submit(api, 4)
    assert (actual(after), is_degraded(after)) == (4, False)
    assert datetime.fromisoformat(after["occurred_at"]) < datetime.now(UTC) + timedelta(seconds=10)
    assert not velocity_verify().differences


def test_a_new_epoch_does_not_go_on_behind_a_payment_that_was_counted_in_the_future(api: ApiClient) -> None:
    stored = Transaction.objects.filter(transaction_id="T2")
    stored.update(arrival=now_us() + HOUR_US, occurred_at=datetime.now(UTC) + timedelta(hours=1))
    counted_until(now_us() + HOUR_US)
    submit(api, 3)
    try_redis_again()
    body = submit(api, 4)
    assert (actual(body), is_degraded(body)) == (3, False)
    assert store.latest_us() < now_us() + MAX_COUNT_AGE_US


@pytest.mark.parametrize("by_s", [-30, 30, 108_000])
def test_windows_are_read_from_sql_while_the_clock_of_redis_is_wrong(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch, by_s: int
) -> None:
    with monkeypatch.context() as wrong, capture_logs() as logs:
        redis_clock_is_ahead(wrong, by_s)
        velocity_prepare()
        assert VelocityState.objects.get().mode == VelocityState.Mode.SQL
        try_redis_again()
        body = submit(api, 3)
    assert (actual(body), is_degraded(body)) == (3, True)
    told = f"Redis's clock is {abs(by_s)} s {'ahead of' if by_s > 0 else 'behind'} PostgreSQL's"
    assert {"velocity_switched_to_sql", "velocity_stays_on_sql"} <= {
        each["event"] for each in logs if each.get("reason") == told
    }
    try_redis_again()
    after = submit(api, 4)
    assert (actual(after), is_degraded(after)) == (4, False)
    assert not velocity_verify().differences


def test_a_payment_that_is_refused_for_the_clock_of_redis_alone_is_decided_over_sql(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By PostgreSQL's clock it was counted too long ago; before anybody has looked at the clocks."""
    store_decisions = realtime.decisions_store

    def of_a_clock_behind(rows: Any, **given: Any) -> Any:
        monkeypatch.setattr(realtime, "decisions_store", store_decisions)
        for row in rows:
            row.arrival -= 3 * MAX_COUNT_AGE_US
        return store_decisions(rows, **given)

    monkeypatch.setattr(realtime, "decisions_store", of_a_clock_behind)
    redis_clock_is_ahead(monkeypatch, -30)
    body = submit(api, 3)
    assert (actual(body), is_degraded(body)) == (3, True)


def test_counters_that_ended_while_the_clock_was_ahead_and_nobody_paid_are_not_taken_for_empty(
    api: ApiClient,
) -> None:
    velocity_prepare()
    began = fence.state().epoch
    store.clock_note(now_us() + 70 * HOUR_US)
    velocity_prepare()
    assert fence.state().epoch > began
    body = submit(api, 3, occurred_at=datetime.now(UTC).isoformat())
    assert actual(body) == 3
    assert not velocity_verify().differences


def test_the_clock_is_remembered_without_a_payment(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    velocity_prepare()
    before_us = store.latest_us()
    velocity_prepare()
    assert store.latest_us() > before_us


@pytest.mark.parametrize("by_s", [-90, 90])
def test_a_process_whose_own_clock_is_wrong_decides_as_others_do(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch, by_s: int
) -> None:
    with monkeypatch.context() as wrong:
        machine_clock_is_ahead(wrong, by_s)
        body = submit(api, 3)
    assert (actual(body), is_degraded(body)) == (3, False)
    assert not velocity_verify().differences


def test_reconciliation_by_a_machine_whose_clock_is_ahead_leaves_alone_what_is_under_way(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(realtime, "decisions_store", dies)
        with pytest.raises(Killed):
            api.post("transactions/", payload(3))
    with monkeypatch.context() as wrong:
        machine_clock_is_ahead(wrong, 90)
        assert reconciliation.counts_reconcile() == 0
    assert actual(submit(api, 3)) == 3
