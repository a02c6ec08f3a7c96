"""Counts whose decision was never stored: taken back by the beat's task, or by whoever comes to screen the payment."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from django.db import DataError, OperationalError, connection

from fraudsite.locks import FENCE_LOCK
from fraudsite.postgresql.deadlines import NoAnswer
from ingestion.models import LoginEvent, Transaction
from ingestion.payloads import recall_decode
from ingestion.retired.models import RetiredTransaction
from screening import event_screening, pending, realtime, reconciliation, rounds, services
from screening.counting import fence, store
from screening.engine import engines
from screening.models import Alert, Decision
from screening.pending import pending_screen
from screening.reconciliation import SETTLED_AFTER_S
from screening.storing import MAX_COUNT_AGE_US, StoreResult
from screening.velocity.fence import switch_to_redis, switch_to_sql
from screening.velocity_services import velocity_verify
from tests.clients import ApiClient, assert_problem
from tests.events.bodies import login
from tests.screening.payments import actual, count_rule, payload

pytestmark = pytest.mark.django_db(transaction=True)


class Killed(BaseException):
    """What `kill -9` is to the code: nothing that an `except Exception` would see."""


def dies(*_args: Any, **_kwargs: Any) -> Any:
    raise Killed


def counted_only(monkeypatch: pytest.MonkeyPatch, number: int) -> int:
    """Pending transaction `number`, counted by a worker that dies before it stores the decision; its row."""
    found: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr("screening.services.transactions_enqueue", found.extend)
        ApiClient().post("transactions/?mode=async", payload(number))

    def dies(*_args: Any, **_kwargs: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(realtime, "decisions_store", dies)
        with pytest.raises(Killed):
            pending_screen(found)
    return found[0]


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> ApiClient:
    client = ApiClient()
    client.post("rules/", count_rule(10))
    client.post("transactions/", payload(1))
    monkeypatch.setattr(reconciliation, "SETTLED_AFTER_S", -5)
    return client


def test_it_takes_back_what_was_counted_and_never_stored(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted_only(monkeypatch, 2)
    assert reconciliation.counts_reconcile() == 1
    assert not velocity_verify().differences
    assert actual(api.post("transactions/", payload(3)).json()) == 2


def test_it_takes_back_counts_of_an_epoch_that_others_began(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that screens nothing hears of a new epoch from nobody."""
    heard = fence.state()
    switch_to_sql(heard.epoch, reason="test")
    switch_to_redis(store)
    fence.refresh()
    api.post("transactions/", payload(3))
    counted_only(monkeypatch, 2)
    monkeypatch.setattr(fence, "_state", heard)
    assert reconciliation.counts_reconcile() == 1
    assert not velocity_verify().differences


def test_it_keeps_what_it_could_not_take_back_for_the_next_time(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted_only(monkeypatch, 2)
    with monkeypatch.context() as patch:
        patch.setattr(reconciliation, "take_back", lambda *_: False)
        assert reconciliation.counts_reconcile() == 0
    assert reconciliation.counts_reconcile() == 1
    assert not velocity_verify().differences


def test_it_counts_anew_what_was_counted_too_long_ago_to_be_stored(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    pk = counted_only(monkeypatch, 2)
    first_arrival = store.recent(before_us=2**53, limit=10)[-1][1]
    assert actual(api.post("transactions/", payload(3)).json()) == 3
    monkeypatch.setattr(realtime, "is_expired", lambda arrival: arrival == first_arrival)
    assert pending_screen([pk]) == 1
    decision = Decision.objects.get(transaction__transaction_id="T2")
    assert decision.transaction.arrival != first_arrival
    assert actual({"screening": api.get("transactions/T2/screening/").json()}) == 3
    assert actual(api.post("transactions/", payload(4)).json()) == 4
    assert not velocity_verify().differences


def stored_meanwhile(monkeypatch: pytest.MonkeyPatch, pk: int) -> None:
    """Two workers have the pending payment `pk`: the other one counted it before this one came, and stores it while
    this one is at other payments. Nothing is stored or counted of it after that."""
    looks_at = pending.may_complete

    def after_the_other(candidate: Any) -> bool:
        with monkeypatch.context() as patch:
            patch.setattr(pending, "may_complete", looks_at)
            patch.setattr(realtime, "is_expired", lambda arrival: False)
            assert pending_screen([pk]) == 1
        return looks_at(candidate)

    monkeypatch.setattr(pending, "may_complete", after_the_other)
    assert pending_screen([pk]) == 0


def test_a_slow_worker_takes_back_no_count_of_what_another_stored_meanwhile(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    pk = counted_only(monkeypatch, 2)
    with monkeypatch.context() as patch:
        patch.setattr(realtime, "is_expired", lambda arrival: True)
        stored_meanwhile(monkeypatch, pk)
    assert actual(api.post("transactions/", payload(3)).json()) == 3
    assert not velocity_verify().differences


def test_nor_does_it_where_the_clock_of_the_database_alone_says_so(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    pk = counted_only(monkeypatch, 2)
    store_decisions = realtime.decisions_store
    rounds: list[bool] = []

    def refuses_the_second(rows: Any, **given: Any) -> Any:
        rounds.append(True)
        if len(rounds) == 2:
            return StoreResult(given["epoch"], True, given["ruleset"], passed=False, decision_pks={})
        return store_decisions(rows, **given)

    monkeypatch.setattr(realtime, "decisions_store", refuses_the_second)
    stored_meanwhile(monkeypatch, pk)
    assert actual(api.post("transactions/", payload(3)).json()) == 3
    assert not velocity_verify().differences


def pending_rows(monkeypatch: pytest.MonkeyPatch, *numbers: int) -> list[int]:
    """Payments stored for a worker, which has not come yet."""
    found: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr("screening.services.transactions_enqueue", found.extend)
        for number in numbers:
            ApiClient().post("transactions/?mode=async", payload(number))
    return found


def test_who_gives_up_leaves_the_count_that_another_went_on_with_and_stored(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    pks = pending_rows(monkeypatch, 2, 3)

    def meanwhile(_arrival: int) -> bool:
        monkeypatch.setattr(realtime, "_is_too_old", lambda arrival: False)
        assert pending_screen(pks[:1]) == 1
        return True

    monkeypatch.setattr(realtime, "_is_too_old", meanwhile)
    assert pending_screen(pks) == 1
    assert actual({"screening": api.get("transactions/T3/screening/").json()}) == 3
    assert actual(api.post("transactions/", payload(4)).json()) == 4
    assert not velocity_verify().differences


def test_who_stores_what_another_counted_puts_back_what_that_gave_up(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    pks = pending_rows(monkeypatch, 2, 3)
    store_decisions = realtime.decisions_store
    begun: list[Any] = []

    def other_gives_up(rows: Any, **given: Any) -> Any:
        """The other worker's turn, between this one's judging and storing."""
        monkeypatch.setattr(realtime, "decisions_store", store_decisions)
        engine, state = engines.current(), fence.state()
        for candidate in begun[0]:
            assert realtime.take_back(engine, state.epoch, candidate)
        return store_decisions(rows, **given)

    def other_counts(candidates: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(realtime, "decisions_store", dies)
            with pytest.raises(Killed):
                realtime.transactions_screen(candidates)
        begun.append(candidates)

    with monkeypatch.context() as patch:
        patch.setattr(pending, "transactions_screen", other_counts)
        pending_screen(pks[:1])
    monkeypatch.setattr(realtime, "decisions_store", other_gives_up)
    assert pending_screen(pks[:1]) == 1
    assert pending_screen(pks[1:]) == 1
    assert actual({"screening": api.get("transactions/T3/screening/").json()}) == 3
    assert not velocity_verify().differences


def test_it_counts_anew_what_is_too_old_by_the_clock_of_the_database_alone(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    pk = counted_only(monkeypatch, 2)
    first_arrival = store.recent(before_us=2**53, limit=10)[-1][1]
    store_decisions = realtime.decisions_store

    def refuses_the_first(rows: Any, **given: Any) -> Any:
        if rows[0].arrival == first_arrival:
            return StoreResult(given["epoch"], True, given["ruleset"], passed=False, decision_pks={})
        return store_decisions(rows, **given)

    monkeypatch.setattr(realtime, "decisions_store", refuses_the_first)
    assert pending_screen([pk]) == 1
    assert actual({"screening": api.get("transactions/T2/screening/").json()}) == 2
    assert not velocity_verify().differences


def test_a_worker_goes_on_with_the_count_of_a_request_that_died(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_args: Any, **_kwargs: Any) -> Any:
        raise Killed

    queued: list[int] = []
    monkeypatch.setattr("screening.services.transactions_enqueue", queued.extend)
    with monkeypatch.context() as patch:
        patch.setattr(realtime, "decisions_store", dies)
        with pytest.raises(Killed):
            api.post("transactions/", payload(2, metadata={"n": 1.50}))
    assert api.post("transactions/?mode=async", payload(2, metadata={"n": 1.50})).status_code == 202
    assert actual(api.post("transactions/", payload(3)).json()) == 3
    assert pending_screen(queued) == 1
    assert actual({"screening": api.get("transactions/T2/screening/").json()}) == 2
    assert not velocity_verify().differences


def test_it_looks_at_a_count_once(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    counted_only(monkeypatch, 2)
    assert [reconciliation.counts_reconcile(), reconciliation.counts_reconcile()] == [1, 0]
    assert store.recent(before_us=2**53, limit=10) == []


def test_it_remembers_what_is_counted_anew_while_it_looks(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    pk = counted_only(monkeypatch, 2)
    take_back = reconciliation.take_back

    def another_begins(*given: Any) -> bool:
        monkeypatch.setattr(reconciliation, "take_back", take_back)
        is_taken = take_back(*given)
        with monkeypatch.context() as patch:
            patch.setattr(realtime, "decisions_store", dies)
            with pytest.raises(Killed):
                pending_screen([pk])
        return is_taken

    monkeypatch.setattr(reconciliation, "take_back", another_begins)
    assert reconciliation.counts_reconcile() == 1
    assert actual(api.post("transactions/", payload(3)).json()) == 3
    assert reconciliation.counts_reconcile() == 1
    assert not velocity_verify().differences


def test_nothing_is_taken_back_while_something_counted_long_ago_may_still_be_stored(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where statements have no limit, one that passed the fence in time may be committed at any time after."""
    pk = counted_only(monkeypatch, 2)
    monkeypatch.setattr(reconciliation, "WAIT_FOR_STORING_S", 0.1)
    monkeypatch.setattr(realtime, "WAIT_FOR_STORING_S", 0.1)
    first_arrival = store.recent(before_us=2**53, limit=10)[-1][1]
    monkeypatch.setattr(realtime, "is_expired", lambda arrival: arrival == first_arrival)
    other = connection.copy()
    with closing(other), other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock_shared(%s)", [FENCE_LOCK])
        assert reconciliation.counts_reconcile() == 0
        with pytest.raises(rounds.ScreeningBusy):
            pending_screen([pk])
        assert actual(api.post("transactions/", payload(3)).json()) == 3
    assert reconciliation.counts_reconcile() == 1


def test_the_database_refuses_a_count_that_reconciliation_may_have_taken_back(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_decisions = realtime.decisions_store
    aged: list[bool] = []

    def too_late(rows: Any, **given: Any) -> Any:
        for row in rows:
            row.arrival -= 2 * MAX_COUNT_AGE_US
        result = store_decisions(rows, **given)
        aged.append(result.passed)
        for row in rows:
            row.arrival += 2 * MAX_COUNT_AGE_US
        monkeypatch.setattr(realtime, "decisions_store", store_decisions)
        return result

    monkeypatch.setattr(realtime, "decisions_store", too_late)
    assert_problem(api.post("transactions/", payload(2)), 503)
    assert aged == [False]
    assert actual(api.post("transactions/", payload(2)).json()) == 2
    assert SETTLED_AFTER_S * 1_000_000 > MAX_COUNT_AGE_US + realtime.CLOCKS_APART_US


def test_it_does_not_go_on_with_a_count_of_another_payload(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt died between counting and storing; then the id comes again and means something else."""

    def dies(*_args: Any, **_kwargs: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(realtime, "decisions_store", dies)
        with pytest.raises(Killed):
            api.post("transactions/", payload(2))
    monkeypatch.setattr(services, "COMPLETE_AFTER_S", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(services, "WAIT_FOR_OTHER_S", 0.1)
        assert_problem(api.post("transactions/", payload(2, amount="7")), 503)
    assert reconciliation.counts_reconcile() == 1
    assert api.post("transactions/", payload(2, amount="7")).status_code == 201
    assert not velocity_verify().differences


def test_it_takes_back_its_count_of_what_another_attempt_stored_meanwhile(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_decisions = realtime.decisions_store
    document = payload(2)

    def another_was_first(rows: Any, **given: Any) -> Any:
        monkeypatch.setattr(realtime, "decisions_store", store_decisions)
        # Counted at another moment, as an attempt without Redis does: in no counter that is filled already.
        row = rows[0]
        other = replace(row, arrival=row.arrival - 1, decision=replace(row.decision, decision_id=uuid4()))
        assert store_decisions([other], **given).decision_pks
        return store_decisions(rows, **given)

    monkeypatch.setattr(realtime, "decisions_store", another_was_first)
    assert api.post("transactions/", document).status_code == 200
    assert actual(api.post("transactions/", payload(3)).json()) == 2


def test_a_process_that_is_ahead_of_its_database_goes_back_to_it(api: ApiClient) -> None:
    """PostgreSQL was restored from a backup, and processes went on."""
    engine = engines.current()
    engines._engine = engine.renumbered(engine.number + 5, engine.lists)
    assert actual(api.post("transactions/", payload(2)).json()) == 2
    assert engines.current().number == engine.number


def test_it_leaves_a_count_in_place_whose_statement_may_still_be_carried_out(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL did not answer in time: nobody knows yet whether the decision is stored."""

    def no_answer(*_args: Any, **_kwargs: Any) -> Any:
        raise OperationalError("no answer") from NoAnswer("PostgreSQL did not answer within 8 s")

    with monkeypatch.context() as patch:
        patch.setattr(realtime, "decisions_store", no_answer)
        assert_problem(api.post("transactions/", payload(2)), 503)
    assert actual(api.post("transactions/", payload(3)).json()) == 3
    assert reconciliation.counts_reconcile() == 1
    assert actual(api.post("transactions/", payload(4)).json()) == 3
    assert not velocity_verify().differences


def test_it_leaves_alone_what_may_still_be_stored(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    counted_only(monkeypatch, 2)
    monkeypatch.setattr(reconciliation, "SETTLED_AFTER_S", SETTLED_AFTER_S)
    assert reconciliation.counts_reconcile() == 0
    assert actual(api.post("transactions/", payload(3)).json()) == 3


def test_it_leaves_events_alone_that_are_no_payments(api: ApiClient) -> None:
    assert api.post("events/login/", login()).status_code == 201
    kinds = {recall_decode(recall)["kind"] for recall, _ in store.recent(before_us=2**53, limit=10)}
    assert kinds == {"transaction", "login"}
    assert reconciliation.counts_reconcile() == 0


def test_what_another_attempt_did_about_an_event_is_not_done_again(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = {
        **count_rule(1),
        "name": "Failed login",
        "trigger": ["login"],
        "conditions": [{"field": "success", "operator": "eq", "value": False}],
        "actions": [{"action_type": "alert", "parameters": {"signal": "brute_force", "weight": 0.3}}],
    }
    assert api.post("rules/", failed).status_code == 201
    pass_fence = event_screening._pass_fence

    def another_was_first(*given: Any) -> bool:
        LoginEvent.objects.update(arrival=1)
        return pass_fence(*given)

    with monkeypatch.context() as patch:
        patch.setattr(event_screening, "_pass_fence", another_was_first)
        assert api.post("events/login/", login()).status_code == 201
    assert not Alert.objects.exists()
    assert api.post("events/login/", login(event_id="L2")).status_code == 201
    assert Alert.objects.filter(event_id="L2").count() == 1


def test_an_event_whose_attempt_died_after_counting_it_is_gone_on_with(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_args: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(event_screening, "_store", dies)
        with pytest.raises(Killed):
            api.post("events/login/", login())
    assert LoginEvent.objects.get().arrival is None
    assert api.post("events/login/", login()).status_code == 200
    assert LoginEvent.objects.get().arrival is not None


def test_an_event_that_cannot_be_stored_sinks_no_other_and_is_told(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_together = event_screening._store_together

    def refuses_the_second(engine: Any, state: Any, judged: Any) -> bool:
        if any(candidate.fields["event_id"] == "L2" for candidate, _ in judged):
            raise DataError("value out of range")
        return store_together(engine, state, judged)

    rows = [LoginEvent(**login(event_id=f"L{n}"), payload_digest=bytes(16)) for n in range(1, 4)]
    stored = LoginEvent.objects.bulk_create(rows)
    for row in stored:
        row.refresh_from_db()
    monkeypatch.setattr(event_screening, "_store_together", refuses_the_second)
    with pytest.raises(DataError):
        event_screening.events_screen("login", stored)
    assert [row.event_id for row in LoginEvent.objects.filter(arrival=None)] == ["L2"]


def test_it_begins_the_counters_anew_when_the_database_lost_what_it_had_stored(api: ApiClient) -> None:
    """A standby took over that had not got everything, or a dump was restored and nobody rebuilt the counters."""
    for number in (2, 3, 4):
        api.post("transactions/", payload(number))
    assert reconciliation.counts_reconcile() == 0
    database_loses("T3", "T4")
    assert reconciliation.counts_reconcile() == 0
    fence.forget()
    # The client had its answer and sends it again: to the counters before, it was counted and is somebody else's.
    body = api.post("transactions/", payload(4)).json()
    assert (actual(body), body["screening"]["degraded"]) == (3, False)
    assert not velocity_verify().differences


def test_it_does_not_take_a_transaction_that_left_for_one_that_was_lost(api: ApiClient) -> None:
    api.post("transactions/", payload(2))
    reconciliation.counts_reconcile()
    epoch = fence.state().epoch
    decision = Decision.objects.select_related("transaction").get(transaction__transaction_id="T2")
    RetiredTransaction.objects.create(
        transaction_id="T2",
        payload_digest=decision.transaction.payload_digest,
        occurred_at=decision.transaction.occurred_at,
        received_at=decision.transaction.received_at,
        decision_id=decision.decision_id,
        outcome=decision.outcome,
        overall_status=decision.overall_status,
        total_risk_score=decision.total_risk_score,
        ruleset=decision.ruleset,
        degraded=decision.degraded,
        decided_at=decision.created_at,
    )
    database_loses("T2")
    assert reconciliation.counts_reconcile() == 0
    assert fence.refresh().epoch == epoch


def test_counters_that_are_as_the_database_is_go_on(api: ApiClient) -> None:
    epoch = fence.state().epoch
    for number in (2, 3, 4):
        api.post("transactions/", payload(number))
        reconciliation.counts_reconcile()
    assert fence.refresh().epoch == epoch


def database_loses(*transaction_ids: str) -> None:
    Decision.objects.filter(transaction__transaction_id__in=transaction_ids).delete()
    Transaction.objects.filter(transaction_id__in=transaction_ids).delete()
