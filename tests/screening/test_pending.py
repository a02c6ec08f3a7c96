"""Asynchronous and bulk submission: stored first, screened by a worker, once."""

from __future__ import annotations

from datetime import timedelta
from math import inf
from threading import Event, Thread, current_thread
from typing import Any

import orjson
import pytest
from django.conf import settings
from django.db import OperationalError, connection, connections
from django.utils import timezone
from redis import Redis

from fraudsite.environment import redis_database_url
from fraudsite.short_cache import forget_kept
from ingestion.models import Transaction
from screening import pending, realtime, rounds
from screening.models import Decision
from screening.pending import SHORT_QUEUE, Pace, pending_screen, pending_sweep
from screening.selectors import screening_body
from screening.velocity_services import velocity_prepare, velocity_verify
from tests.clients import ApiClient, assert_problem
from tests.screening.payments import actual, count_rule, payload

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def queued(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What would be handed to workers."""
    found: list[int] = []
    for who in ("services", "pending"):
        monkeypatch.setattr(f"screening.{who}.transactions_enqueue", found.extend)
    return found


def test_it_accepts_now_and_decides_later(queued: list[int]) -> None:
    api = ApiClient()
    api.post("rules/", count_rule(10))
    accepted = api.post("transactions/?mode=async", payload(1))
    assert accepted.status_code == 202
    assert accepted.json()["screening"]["status"] == "pending"
    assert api.get("transactions/T1/screening/").json()["status"] == "pending"
    replay = api.post("transactions/?mode=async", payload(1))
    assert (replay.status_code, replay.json()["screening"]["status"]) == (200, "pending")
    assert_problem(api.post("transactions/?mode=async", payload(1, amount="1")), 409, "transaction_id")
    assert pending_screen(queued) == 1
    assert api.get("transactions/T1/screening/").json()["decision"] == "approve"
    assert api.get("transactions/T1/").json()["occurred_at"] is not None


def test_it_answers_what_was_decided_while_it_read(queued: list[int]) -> None:
    api = ApiClient()
    api.post("rules/", count_rule(10))
    api.post("transactions/?mode=async", payload(1))
    read_before = Transaction.objects.get()
    pending_screen(queued)
    results = screening_body(read_before, replayed=True)["results"]
    assert results[0]["details"]["conditions"][0]["window"]["end"] is not None
    assert read_before.occurred_at is not None


def test_it_screens_a_redelivered_task_once(queued: list[int]) -> None:
    api = ApiClient()
    api.post("rules/", count_rule(10))
    api.post("transactions/?mode=async", payload(1))
    assert [pending_screen(queued), pending_screen(queued)] == [1, 0]
    assert Decision.objects.count() == 1
    assert actual(api.post("transactions/", payload(2)).json()) == 2


def test_it_decides_at_once_what_is_sent_again_without_waiting(queued: list[int]) -> None:
    api = ApiClient()
    api.post("rules/", count_rule(10))
    velocity_prepare()
    assert api.post("transactions/?mode=async", payload(1)).status_code == 202
    again = api.post("transactions/", payload(1))
    assert (again.status_code, again.json()["replayed"], actual(again.json())) == (200, True, 1)
    assert actual(api.post("transactions/", payload(2)).json()) == 2
    assert pending_screen(queued) == 0
    assert velocity_verify().differences == []


def test_it_counts_once_what_a_worker_and_a_retry_screen_at_once(
    queued: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker goes on with the count of the retry, and stores after the retry did."""
    api = ApiClient()
    api.post("rules/", count_rule(10))
    velocity_prepare()
    store_decisions = realtime.decisions_store
    worker_stores, retry_is_answered = Event(), Event()

    def work() -> None:
        try:
            pending_screen(queued)
        finally:
            worker_stores.set()
            connections.close_all()

    worker = Thread(target=work)

    def in_turn(rows: Any, **given: Any) -> Any:
        if current_thread() is worker:
            worker_stores.set()
            assert retry_is_answered.wait(30)
        elif not worker.ident:
            worker.start()
            assert worker_stores.wait(30)
        return store_decisions(rows, **given)

    api.post("transactions/?mode=async", payload(1))
    monkeypatch.setattr(realtime, "decisions_store", in_turn)
    again = api.post("transactions/", payload(1))
    retry_is_answered.set()
    worker.join(30)
    assert (again.status_code, actual(again.json())) == (200, 1)
    assert actual(api.post("transactions/", payload(2)).json()) == 2
    assert velocity_verify().differences == []


def test_it_counts_a_bulk_in_its_order(queued: list[int]) -> None:
    api = ApiClient()
    api.post("rules/", count_rule(10))
    rows: list[Any] = [payload(number) for number in range(30)]
    rows[7] = {"transaction_id": "bad"}
    rows[8] = payload(3)
    rows[9] = payload(4, amount="1")
    answer = api.post("transactions/bulk/", rows).json()
    assert (answer["accepted"], answer["replayed"]) == (27, 1)
    assert [each["index"] for each in answer["rejected"]] == [7, 9]
    assert answer["rejected"][1]["errors"][0]["path"] == "transaction_id"
    assert pending_screen(queued) == 27
    places = Transaction.objects.order_by("id").values_list("transaction_id", flat=True)
    counts = [
        int(
            api.get(f"transactions/{each}/screening/").json()["results"][0]["details"]["conditions"][0][
                "actual"
            ]
        )
        for each in places
    ]
    assert counts == list(range(1, 28))


def test_it_takes_ndjson_and_says_which_line_is_wrong(queued: list[int]) -> None:
    body = b"\n".join([orjson.dumps(payload(1)), b"{nonsense", orjson.dumps(payload(2))])
    response = ApiClient().client.post(
        "/api/v1/transactions/bulk/", body, content_type="application/x-ndjson"
    )
    assert response.status_code == 202
    assert response.json()["accepted"] == 2
    assert [each["index"] for each in response.json()["rejected"]] == [1]


BAD_ITEMS = {
    b'{"amount": 1, "amount": 2}': "amount",
    b'{"metadata": {"a": [1, NaN]}}': "metadata.a[1]",
    b'{"merchant_name": "a\\u0000b"}': "merchant_name",
    b'{"merchant_name": "\\ud800"}': "merchant_name",
    b'{"merchant_name": "\xff"}': "merchant_name",
    b'{"amount": 1e999}': "amount",
    b'{"amount": ' + b"9" * 5000 + b"}": "amount",
    b'{"metadata": {"a": ' + b"[" * 40 + b"]" * 40 + b"}}": "metadata.a" + "[0]" * 30,
    b'{"metadata": {"a]\\"": ' + b"[" * 40_000 + b"]" * 40_000 + b"}}": 'metadata.a]"' + "[0]" * 30,
}


@pytest.mark.parametrize(("item", "path"), BAD_ITEMS.items())
def test_an_item_that_cannot_be_read_does_not_sink_the_others(
    queued: list[int], item: bytes, path: str
) -> None:
    body = b" [ " + b" , ".join([orjson.dumps(payload(1)), item, orjson.dumps(payload(2))]) + b" ]\n"
    answer = ApiClient().post("transactions/bulk/", body)
    assert answer.status_code == 202, answer.content
    assert answer.json()["accepted"] == 2
    (rejected,) = answer.json()["rejected"]
    assert (rejected["index"], [each["path"] for each in rejected["errors"]]) == (1, [path])


@pytest.mark.parametrize("end", [b"", b"}", b",]", b"] 1", b"[", b'{"a" 1}]'])
def test_it_refuses_a_bulk_that_is_no_json(end: bytes) -> None:
    body = b"[" + orjson.dumps(payload(1)) + b',{"a":1,"a":2}' + end
    assert_problem(ApiClient().post("transactions/bulk/", body), 400)
    assert not Transaction.objects.exists()


@pytest.mark.parametrize("body", [b"{}", b"[]", b"[" + b"1," * 5000 + b"1]"])
def test_it_refuses_a_bulk_that_is_no_list_empty_or_too_long(body: bytes) -> None:
    assert_problem(ApiClient().post("transactions/bulk/", body), 400, "$")


def test_it_finds_what_a_crash_left_pending(queued: list[int]) -> None:
    ApiClient().post("transactions/?mode=async", payload(1))
    queued.clear()
    assert pending_sweep() == 0
    Transaction.objects.update(received_at=timezone.now() - timedelta(minutes=1))
    assert pending_sweep() == 1
    assert len(queued) == 1


def test_it_enqueues_nothing_again_while_the_queue_is_long(
    queued: list[int], redis_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    ApiClient().post("transactions/?mode=async", payload(1))
    queued.clear()
    Transaction.objects.update(received_at=timezone.now() - timedelta(minutes=1))
    with Redis.from_url(redis_database_url(settings.REDIS_URL, 1)) as broker:
        broker.rpush("realtime", *range(SHORT_QUEUE + 1))
        assert (pending_sweep(), queued) == (0, [])
        broker.delete("realtime")
    assert pending_sweep() == 1
    assert len(queued) == 1


def test_it_knows_the_age_of_an_account_from_the_rows_before_it(queued: list[int]) -> None:
    api = ApiClient()
    rule = count_rule(10) | {
        "name": "Account of five days",
        "conditions": [{"field": "account.age_days", "operator": "gte", "value": 5}],
    }
    assert api.post("rules/", rule).status_code == 201
    now = timezone.now()
    days_ago = {1: 3, 2: 10, 3: 1, 4: 4}
    rows = [
        payload(number, occurred_at=(now - timedelta(days=days)).isoformat())
        for number, days in days_ago.items()
    ]
    assert api.post("transactions/bulk/", rows).json()["accepted"] == 4
    assert pending_screen(queued) == 4
    ages = [
        api.get(f"transactions/T{number}/screening/").json()["results"][0]["details"]["conditions"][0][
            "actual"
        ]
        for number in days_ago
    ]
    # The second is the first event of the account, though not the first to come; each knows those before it only.
    assert ages == ["0", "0", "9", "6"]


def test_it_refuses_more_than_may_wait_for_workers_until_they_caught_up(
    queued: list[int], settings: Any
) -> None:
    settings.MAX_PENDING_TRANSACTIONS = 2
    forget_kept()
    api = ApiClient()
    assert api.post("transactions/bulk/", [payload(1), payload(2)]).json()["accepted"] == 2
    forget_kept()
    for refused in (
        api.post("transactions/bulk/", [payload(3)]),
        api.post("transactions/?mode=async", payload(3)),
    ):
        assert_problem(refused, 429)
        assert int(refused["Retry-After"]) >= 1
    assert api.post("transactions/", payload(4)).status_code == 201
    assert pending_screen(queued) == 2
    forget_kept()
    assert api.post("transactions/bulk/", [payload(3)]).json()["accepted"] == 1


def test_it_gives_all_rows_of_a_user_to_one_task_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks: list[list[int]] = []
    monkeypatch.setattr("screening.enqueueing.TRANSACTIONS_A_TASK", 10)
    monkeypatch.setattr("screening.enqueueing.enqueue", lambda _task, pks: tasks.append(pks))
    api = ApiClient()
    rows = [payload(number, user_id=f"U{number % 7}") for number in range(40)]
    assert api.post("transactions/bulk/", rows).json()["accepted"] == 40
    users = dict(Transaction.objects.values_list("pk", "user_id"))
    assert sorted(pk for task in tasks for pk in task) == sorted(users)
    assert len(tasks) > 1
    for user in set(users.values()):
        homes = [[pk for pk in task if users[pk] == user] for task in tasks]
        kept = [home for home in homes if home]
        assert len(kept) == 1
        assert kept[0] == sorted(kept[0])


def test_it_screens_in_smaller_batches_when_counts_get_too_old_to_be_stored(
    queued: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine so busy that more than three at once take longer than a count is good for. Nobody who changes
    rules waits for it meanwhile, and the next task begins with as few."""
    store = realtime.decisions_store
    sizes = []

    def refuses_many(rows: Any, **given: Any) -> Any:
        sizes.append(len(rows))
        return store(rows, **given | ({"epoch": -1} if len(rows) > 3 else {}))

    api = ApiClient()
    api.post("rules/", count_rule(10))
    api.post("transactions/bulk/", [payload(number) for number in range(1, 14)])
    with monkeypatch.context() as patch:
        patch.setattr(realtime, "decisions_store", refuses_many)
        patch.setattr(rounds, "publishes_held_back", None)
        patch.setattr("screening.pending.pace", Pace())
        # How long they take is another matter.
        patch.setattr(pending, "MAX_BATCH_S", inf)
        assert pending_screen(queued) == 13
        assert sizes == [13, 6, 3, 3, 7, 3, 4, 2, 2]
        api.post("transactions/bulk/", [payload(number) for number in range(20, 26)])
        del sizes[:]
        assert pending_screen(queued[13:]) == 6
        assert sizes == [4, 2, 2, 2]
    assert Decision.objects.count() == 19
    assert actual(api.post("transactions/", payload(14)).json()) == 20


def test_one_that_cannot_be_screened_stays_pending_and_sinks_no_other(
    queued: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    api = ApiClient()
    api.post("rules/", count_rule(10))
    assert api.post("transactions/bulk/", [payload(number) for number in range(1, 4)]).json()["accepted"] == 3
    screen = pending.transactions_screen

    def broken(candidates: Any) -> None:
        if any(each.fields["transaction_id"] == "T2" for each in candidates):
            raise ZeroDivisionError
        screen(candidates)

    with monkeypatch.context() as patch:
        patch.setattr(pending, "transactions_screen", broken)
        assert pending_screen(queued) == 2
    assert Transaction.objects.get(arrival=None).transaction_id == "T2"
    assert actual({"screening": api.get("transactions/T3/screening/").json()}) == 2
    assert pending_screen(queued) == 1


def test_a_database_that_is_away_is_tried_once_for_all_of_them(
    queued: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    api = ApiClient()
    for number in range(3):
        api.post("transactions/?mode=async", payload(number))
    attempts: list[int] = []

    def goes_away(candidates: list[Any]) -> None:
        attempts.append(len(candidates))
        connection.close()
        away.setitem(connection.settings_dict, "PORT", "1")
        connection.ensure_connection()

    with monkeypatch.context() as away:
        away.setattr(pending, "transactions_screen", goes_away)
        with pytest.raises(OperationalError):
            pending_screen(queued)
    assert attempts == [3]

    assert pending_screen(queued) == 3, "they are as they were"
