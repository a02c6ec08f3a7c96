"""The counters in Redis behind the oracle's contract: real scripts on a real server, history for filling from memory.

What PostgreSQL would answer (events of a group, labels as known) comes from a plain list, so that a hundred thousand
pairs can be replayed; what the database answers is compared by over_sql.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any
from unittest import mock

from rules.core.derived import derive
from rules.core.lists import Lists as CoreLists
from rules.core.windows import evaluate_aggregate
from tests.reference.contract import EventArrival, PatchArrival
from tests.reference.over_core import SETTINGS
from tests.reference.replay import Replay, ServerEvaluator


class RedisReplay(Replay):
    """Counts, reads, fills and corrects as real time does."""

    def __init__(self, lists: CoreLists, rules: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(lists, rules)
        self.store = _store_of_process(os.getpid())
        _empty(self.store)
        self.store.epoch_begin(1, last_arrival=0)

    def _screen(self, arrival: EventArrival, position: int) -> tuple[Mapping[str, Any], Sequence[Any]]:
        from rules.core.durations import to_us
        from screening.velocity.filling import fill_needs
        from screening.velocity.reading import counting_of
        from screening.velocity.results import Reader

        kind = arrival.event
        event = derive(arrival.fields, settings=SETTINGS)
        at = to_us(event["occurred_at"])
        counting = counting_of(self.engine.plan, kind, event, occurred_us=at, recall=f"r{position}".encode())
        reply = self.store.count([counting.request], epoch=1)[0]
        while reply.status == "fill":
            with mock.patch("screening.velocity.filling.events_of_groups", self._events_of_groups):
                fill_needs(self.store, 1, counting.needs(reply.unknown, at))
            reply = self.store.count([counting.request], epoch=1)[0]
        assert reply.status == "counted", reply
        event["arrival"] = reply.arrival
        self.stored.submitted[kind, arrival.event_id] = arrival.fields
        self.stored.events[kind][arrival.event_id] = dict(event)
        with mock.patch("screening.velocity.results.history_result", self._history_result):
            results = Reader(self.store, 1, self.engine.lists).results(self.engine.plan, counting, reply)
        return event, results

    def _correct(self, arrival: PatchArrival, position: int) -> None:
        from rules.core.durations import to_us
        from screening.velocity.corrections import correction_wires

        before = self.stored.events["transaction"].get(arrival.transaction_id)
        if before is None:
            return
        after = {**before, **arrival.changes}
        _, wires = correction_wires(self.engine.plan, before=before, after=after)
        if wires:
            at = to_us(after["occurred_at"])
            self.store.correct(epoch=1, wires=wires, occurred_us=at, arrival=after["arrival"])
        self.stored.events["transaction"][arrival.transaction_id] = after

    def _events_of_groups(
        self,
        kind: str,
        fields: Sequence[str],
        groups: Sequence[Any],
        *,
        after: Any,
        names: frozenset[str],
        where: Any,
    ) -> list[dict[str, Any]]:
        events = self.stored.events[kind].values()
        later = (each for each in events if after is None or each["occurred_at"] > after)
        # Nothing but what was asked for.
        asked = {*names, *fields, "occurred_at", "arrival"}
        asked |= {"metadata" for name in asked if name.startswith("metadata.")}
        return [
            {name: value for name, value in each.items() if name in asked}
            for each in sorted(later, key=lambda each: (each["occurred_at"], each["arrival"]))
        ]

    def _history_result(
        self,
        aggregate: Any,
        current: Any,
        *,
        current_event: str,
        lists: CoreLists,
        under_way: Sequence[Any] = (),
    ) -> Any:
        # The list has what is under way.
        history = self.stored.as_known(aggregate.event, current["occurred_at"])
        return evaluate_aggregate(aggregate, history, current, current_event=current_event, lists=lists)


@cache
def _store_of_process(pid: int) -> Any:
    """One for all replays of a process: connecting takes as long as a short history."""
    from screening.velocity.cluster import store_of_settings

    return store_of_settings(namespace=f"oracle{pid}:")


def _empty(store: Any) -> None:
    """Several processes replay on one server (`run --jobs`), and each empties its own names only; a cluster (where
    REDIS_CLUSTER_URLS names one) is one process's."""
    from screening.velocity.cluster import ClusterVelocityStore

    if isinstance(store, ClusterVelocityStore):
        store.forget_everything()
        return
    kept = list(store.client.scan_iter(match=f"{store.namespace}*", count=1_000))
    if kept:
        store.client.delete(*kept)


class RedisEvaluator(ServerEvaluator):
    replay_class = RedisReplay
