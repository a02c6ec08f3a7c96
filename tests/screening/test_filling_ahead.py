"""Counters of a new rule are filled ahead of time in short runs, each going on where the last one stopped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from screening.counting import fence, store
from screening.velocity import filling, rebuild
from screening.velocity.filling import Need
from screening.velocity.messages import Fill, exchanges
from screening.velocity_services import velocity_prepare, velocity_verify
from tests.clients import ApiClient
from tests.screening.payments import count_rule, payload

pytestmark = pytest.mark.django_db(transaction=True)

USERS = 7


@pytest.fixture
def filled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The groups that were filled, in order; two a page."""
    groups: list[tuple[Any, ...]] = []

    def noted(store: Any, epoch: int, needs: Sequence[Need], **options: Any) -> None:
        groups.extend(need.group for need in needs)
        fill_needs(store, epoch, needs, **options)

    fill_needs = rebuild.fill_needs
    monkeypatch.setattr(rebuild, "fill_needs", noted)
    monkeypatch.setattr(rebuild, "GROUPS_AT_ONCE", 2)
    return groups


@pytest.fixture
def api() -> ApiClient:
    """Some users' payments, two each, and no rule yet."""
    client = ApiClient()
    for number in range(2 * USERS):
        user = f"U{number % USERS}"
        given = {"user_id": user, "metadata": {"branch": f"B{number % USERS}"}}
        assert client.post("transactions/", payload(number) | given).status_code == 201
    return client


def made(api: ApiClient, **keys: Any) -> None:
    document = count_rule(10)
    condition = document["conditions"][0] | keys
    assert api.post("rules/", document | {"conditions": [condition]}).status_code == 201


@pytest.mark.parametrize("group_by", ["user_id", "metadata.branch"])
def test_it_goes_on_where_it_stopped(api: ApiClient, filled: list[tuple[Any, ...]], group_by: str) -> None:
    made(api, group_by=[group_by])
    ready = [velocity_prepare(for_s=0) for _ in range(4)]
    assert ready == [0, 0, 0, 1]
    prefix = "U" if group_by == "user_id" else "B"
    assert sorted(group[-1] for group in filled) == [f"{prefix}{number}" for number in range(USERS)]
    assert len(list(store.groups(fence.state().epoch))) == USERS
    assert velocity_verify().differences == []
    assert velocity_prepare(for_s=0) == 0


def test_it_begins_anew_with_the_counters(api: ApiClient, filled: list[tuple[Any, ...]]) -> None:
    made(api)
    velocity_prepare(for_s=0)
    store.forget_everything()
    fence.forget()
    api.post("transactions/", payload(100))
    del filled[:]
    while velocity_prepare(for_s=0) == 0:
        assert len(filled) < USERS
    assert len(filled) == USERS
    assert velocity_verify().differences == []


def test_a_group_without_anything_to_count_stays_absent_and_is_known_as_empty(
    api: ApiClient, filled: list[tuple[Any, ...]]
) -> None:
    made(
        api,
        filters=[
            {"field": "amount", "operator": "gt", "value": 1_000_000},
            {"field": "merchant_name", "operator": "matches", "value": "(?i)shop"},
        ],
    )
    assert velocity_prepare() == 1
    assert filled == []
    assert list(store.groups(fence.state().epoch)) == []
    answer = api.post(
        "transactions/", payload(100) | {"amount": "2000000", "merchant_name": "Shop", "user_id": "U1"}
    )
    (condition,) = answer.json()["screening"]["results"][0]["details"]["conditions"]
    assert condition["actual"] == "1"
    assert velocity_verify().differences == []


def test_a_group_of_many_events_is_filled_in_exchanges_that_do_not_hold_redis_up(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis that is busy with one exchange for two seconds is taken to be lost, and every counter with it."""
    monkeypatch.setattr("screening.velocity.filling.EVENTS_A_CALL", 3)
    monkeypatch.setattr("screening.velocity.messages.EVENTS_AN_EXCHANGE", 7)
    exchanged: list[int] = []

    def noted(fills: Iterable[Fill]) -> Iterator[list[Fill]]:
        for together in exchanges(fills):
            exchanged.append(len(together))
            yield together

    for number in range(100, 130):
        assert api.post("transactions/", payload(number) | {"user_id": "busy"}).status_code == 201
    made(api)
    # On a cluster and on one Redis alike.
    monkeypatch.setattr(f"{type(store).__module__}.exchanges", noted)
    assert velocity_prepare() == 1
    assert max(exchanged) <= 3
    assert len(exchanged) >= 30 / 7
    monkeypatch.undo()
    assert velocity_verify().differences == []


def pages_of(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The users of each reading of events, as they come."""
    pages: list[list[str]] = []
    real = filling.events_of_groups

    def noted(kind: str, fields: Sequence[str], groups: Sequence[Any], **options: Any) -> Any:
        pages.append(sorted(group[-1] for group in groups))
        return real(kind, fields, groups, **options)

    monkeypatch.setattr(filling, "events_of_groups", noted)
    return pages


FILTERED: tuple[dict[str, Any], ...] = (
    {"filters": [{"field": "amount", "operator": "gt", "value": 1}]},
    {"filters": [{"field": "amount", "operator": "gt", "value": 1_000_000}]},
    # SQL cannot say the one, and Python has to judge by fields that are none of the counter's.
    {
        "filters": [
            {"field": "channel", "operator": "matches", "value": "(?i)WEB"},
            {"field": "is_cnp", "operator": "eq", "value": True},
        ]
    },
    {"aggregate_function": "distinct_count", "field": "account_id", "time_window": "2h"},
    {
        "aggregate_function": "median",
        "time_window": "3h",
        "filters": [{"field": "amount", "operator": "lt", "value": 1_000_000}],
    },
    {"aggregate_function": "max", "filters": [{"field": "hour", "operator": "gte", "value": 0}]},
    {
        "aggregate_function": "count",
        "filters": [{"field": "metadata.branch", "operator": "eq", "value": "B1"}],
    },
)


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize("waiting", [4, 50_000])
def test_counters_of_the_same_groups_are_filled_from_one_reading(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch, ahead: bool, waiting: int
) -> None:
    monkeypatch.setattr(filling, "EVENTS_A_CALL", 3)
    monkeypatch.setattr(filling, "EVENTS_WAITING", waiting)
    for number in range(100, 110):
        assert api.post("transactions/", payload(number) | {"user_id": "U1"}).status_code == 201
    for number, keys in enumerate(FILTERED):
        document = count_rule(10) | {"name": f"Rule {number}"}
        condition = document["conditions"][0] | {"group_by": ["user_id"]} | keys
        assert api.post("rules/", document | {"conditions": [condition]}).status_code == 201
    pages = pages_of(monkeypatch)
    # What is about amounts is by currency as well, the accounts are not: two groupings, with a reading each.
    if ahead:
        assert velocity_prepare() == len(FILTERED)
        assert pages == 2 * [[f"U{number}" for number in range(USERS)]]
    else:
        assert api.post("transactions/", payload(110) | {"user_id": "U1"}).status_code == 201
        assert pages == 2 * [["U1"]]
    assert velocity_verify().differences == []
    assert len({counter for counter, _ in store.groups(fence.state().epoch)}) >= len(FILTERED) - 2


def test_a_page_of_groups_has_no_more_events_than_are_filled_at_once(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits for one of its groups waits for all of them: a busy one is filled by itself."""
    monkeypatch.setattr(rebuild, "EVENTS_AT_ONCE", 5)
    for number in range(100, 110):
        assert api.post("transactions/", payload(number) | {"user_id": "U3"}).status_code == 201
    made(api, group_by=["user_id"])
    pages = pages_of(monkeypatch)
    assert velocity_prepare() == 1
    assert pages == [["U0", "U1"], ["U2"], ["U3"], ["U4", "U5"], ["U6"]]
    assert velocity_verify().differences == []


def test_what_payments_have_filled_is_not_filled_again(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(api, group_by=["user_id"])
    for number in range(1, USERS):
        assert api.post("transactions/", payload(200 + number) | {"user_id": f"U{number}"}).status_code == 201
    pages = pages_of(monkeypatch)
    assert velocity_prepare() == 1
    assert pages == [["U0"]]
    assert velocity_verify().differences == []


@pytest.mark.parametrize("minutes", [50, 65, 110, 130])
def test_late_payments_see_what_was_late_already_when_counters_were_filled(minutes: int) -> None:
    """Between them came one in time, which began the counter of its group where nothing had been filled."""
    api = ApiClient()
    then = datetime.now(UTC) - timedelta(minutes=minutes)

    def counted(number: int, at: datetime) -> str:
        answer = api.post("transactions/", payload(number) | {"occurred_at": at.isoformat()})
        assert answer.status_code == 201
        results = answer.json()["screening"]["results"]
        return results[0]["details"]["conditions"][0]["actual"] if results else ""

    counted(0, then)
    made(api, time_window="60s")
    assert velocity_prepare() == 1
    assert velocity_verify().differences == []
    assert counted(1, datetime.now(UTC)) == "1"
    assert counted(2, then + timedelta(seconds=20)) == "2"
    assert velocity_verify().differences == []
