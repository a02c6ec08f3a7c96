"""`manage.py velocity` says what it did, and ends with a failure where it did not do it."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from fraudsite.locks import VELOCITY_FILL_LOCK
from screening import velocity_services
from screening.counting import fence, store
from screening.velocity.fence import switch_to_redis, switch_to_sql
from screening.velocity_services import velocity_prepare
from tests.clients import ApiClient
from tests.screening.test_idempotency import actual, count_rule
from tests.screening.test_submit import payload

pytestmark = pytest.mark.django_db(transaction=True)


def velocity(action: str) -> str:
    printed = StringIO()
    call_command("velocity", action, stdout=printed)
    return printed.getvalue()


@pytest.fixture
def api() -> ApiClient:
    client = ApiClient()
    client.post("rules/", count_rule(10))
    client.post("transactions/", payload(1))
    return client


def begin_anew() -> None:
    """As another process does that rebuilds."""
    state = fence.refresh()
    switch_to_sql(state.epoch, reason="a test")
    switch_to_redis(store)


def test_it_does_not_find_counters_in_order_that_nobody_uses(api: ApiClient) -> None:
    fence.lost(fence.state().epoch, reason="a test")
    with pytest.raises(CommandError, match="over SQL"):
        velocity("verify")


def test_it_does_not_tell_of_counters_that_were_begun_anew_while_it_compared_them(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare = velocity_services.counters_compare

    def meanwhile(*args: Any, **given: Any) -> None:
        compare(*args, **given)
        begin_anew()

    monkeypatch.setattr(velocity_services, "counters_compare", meanwhile)
    with pytest.raises(CommandError, match="begun anew"):
        velocity("verify")


@pytest.mark.parametrize("end", [begin_anew, lambda: fence.lost(fence.state().epoch, reason="a test")])
def test_a_rebuild_whose_counters_ended_before_they_were_filled_is_none(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch, end: Any
) -> None:
    fill = velocity_services.counters_fill_unready

    def meanwhile(*args: Any, **given: Any) -> int:
        filled = fill(*args, **given)
        end()
        return filled

    monkeypatch.setattr(velocity_services, "counters_fill_unready", meanwhile)
    with pytest.raises(CommandError, match="before all were filled"):
        velocity("rebuild")


def test_a_rebuild_waits_for_the_worker_that_fills_counters(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [VELOCITY_FILL_LOCK])
    waited: list[float] = []

    def worker_ends(seconds: float) -> None:
        if seconds == velocity_services.LOOK_AGAIN_S:
            waited.append(seconds)
            other.close()

    monkeypatch.setattr(velocity_services.time, "sleep", worker_ends)
    printed = velocity("rebuild")
    assert waited
    assert "counters filled" in printed
    assert store.ready_counters(fence.refresh().epoch)
    assert actual(api.post("transactions/", payload(2)).json()) == 2


def test_it_says_how_many_it_filled(api: ApiClient) -> None:
    assert "1 counters filled" in velocity("fill")
    assert velocity_prepare() == 0
