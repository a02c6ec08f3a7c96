"""The counters in Redis behind the oracle's contract: real scripts on a real server, history for filling from memory.

What PostgreSQL would answer (events of a group, labels as known) comes from a plain list, so that a hundred thousand
pairs can be replayed; that the database answers the same is tested in tests/screening.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any
from unittest import mock

from django.conf import settings

from rules.core.compile import compile_rule
from rules.core.decide import decide
from rules.core.derived import derive
from rules.core.lists import ListEntries
from rules.core.lists import Lists as CoreLists
from rules.core.parse import parse_rule
from rules.core.values import identity, read
from rules.core.windows import evaluate_aggregate
from tests.reference.contract import Arrival, EventArrival, LabelArrival, Lists, PatchArrival, ScreenedEvent
from tests.reference.over_core import SETTINGS, Stored, _at, _result


def _configured() -> None:
    """Outside pytest the environment names the server (`python -m fraudsite.dev with -- python -m …`)."""
    import django

    if not settings.configured:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fraudsite.settings")
    django.setup()


class RedisEvaluator:
    """Counts, reads, fills and corrects as real time does. `as_of` "event" is not its business: it skips those."""

    def __init__(self, *, lists: Lists | None = None, as_of: str = "arrival") -> None:
        _configured()
        self.as_of = as_of
        self.lists = CoreLists(
            {
                name: ListEntries(entries.entries, is_case_sensitive=entries.is_case_sensitive)
                for name, entries in (lists or {}).items()
            }
        )

    def replay(self, rules: Sequence[Mapping[str, Any]], arrivals: Sequence[Arrival]) -> list[ScreenedEvent]:
        if self.as_of == "event":
            from tests.reference.over_core import CoreEvaluator

            evaluator = CoreEvaluator(as_of="event")
            evaluator.lists = self.lists
            return evaluator.replay(rules, arrivals)
        return _Replay(self.lists, rules).run(arrivals)


class _Replay:
    def __init__(self, lists: CoreLists, rules: Sequence[Mapping[str, Any]]) -> None:
        from screening.engine import Engine
        from screening.velocity.store import VelocityStore

        parsed = [parse_rule(document).rule for document in rules]
        compiled = [compile_rule(rule) for rule in parsed if rule.is_active]
        self.engine = Engine(number=1, rules=compiled, shadow_ids=frozenset(), lists=lists, since={})
        # Several processes replay on one server (`run --jobs`): each empties its own names only.
        self.store = VelocityStore(namespace=f"oracle{os.getpid()}:")
        kept = list(self.store.client.scan_iter(match=f"{self.store.namespace}*", count=1_000))
        if kept:
            self.store.client.delete(*kept)
        self.store.epoch_begin(1, last_arrival=0)
        self.stored = Stored()
        self.moment: Any = None

    def run(self, arrivals: Sequence[Arrival]) -> list[ScreenedEvent]:
        first: dict[tuple[str, str], ScreenedEvent] = {}
        answers = []
        for position, arrival in enumerate(arrivals):
            if isinstance(arrival, LabelArrival):
                self.stored.take(arrival, position)
            elif isinstance(arrival, PatchArrival):
                self._correct(arrival)
            else:
                answer = self._event(arrival, position, first)
                if answer is not None:
                    answers.append(answer)
        return answers

    def _event(
        self, arrival: EventArrival, position: int, first: dict[tuple[str, str], ScreenedEvent]
    ) -> ScreenedEvent | None:
        key = (arrival.event, arrival.event_id)
        concerned = bool(self.engine.kinds[arrival.event].ruleset.rules)
        if key in self.stored.submitted:
            is_replay = self.stored.submitted[key] == arrival.fields
            return _at(first[key], position) if is_replay and concerned else None
        answer = self._screen(arrival, position)
        if concerned:
            first[key] = answer
            return answer
        return None

    def _screen(self, arrival: EventArrival, position: int) -> ScreenedEvent:
        from screening.velocity.filling import fill_needs
        from screening.velocity.plan import to_us
        from screening.velocity.reading import Reader, counting_of

        kind = arrival.event
        event = derive(arrival.fields, settings=SETTINGS)
        at = to_us(event["occurred_at"])
        counting = counting_of(self.engine.plan, kind, event, occurred_us=at, recall=f"r{position}".encode())
        self.moment = event["occurred_at"]
        reply = self.store.count([counting.request], epoch=1)[0]
        while reply.status == "fill":
            with mock.patch("screening.velocity.filling.events_of_groups", self._events_of_groups):
                fill_needs(self.store, 1, counting.needs(reply.unknown, at))
            reply = self.store.count([counting.request], epoch=1)[0]
        assert reply.status == "counted", reply
        event["arrival"] = reply.arrival
        self.stored.submitted[kind, arrival.event_id] = arrival.fields
        self.stored.events[kind][arrival.event_id] = dict(event)
        with mock.patch("screening.velocity.reading.history_result", self._history_result):
            results = Reader(self.store, 1, self.engine.lists).results(self.engine.plan, counting, reply)
        outcomes = self.engine.kinds[kind].ruleset.evaluate(event, results, self.engine.lists)
        decision = decide(outcomes)
        return ScreenedEvent(
            position,
            arrival.event_id,
            tuple(_result(outcome) for outcome in outcomes),
            decision.outcome,
            decision.overall_status,
            decision.total_risk_score,
        )

    def _correct(self, arrival: PatchArrival) -> None:
        from screening.velocity.corrections import correction_wires
        from screening.velocity.plan import to_us

        before = self.stored.events["transaction"].get(arrival.transaction_id)
        if before is None:
            return
        after = {**before, **arrival.changes}
        _, wires, argv = correction_wires(self.engine.plan, before=before, after=after)
        if wires:
            at = to_us(after["occurred_at"])
            self.store.correct(epoch=1, wires=wires, argv=argv, occurred_us=at, arrival=after["arrival"])
        self.stored.events["transaction"][arrival.transaction_id] = after

    def _events_of_groups(
        self, kind: str, fields: Sequence[str], groups: Sequence[Any], *, after: Any
    ) -> dict[tuple[str | None, ...], list[dict[str, Any]]]:
        found: dict[tuple[str | None, ...], list[dict[str, Any]]] = {}
        events = sorted(
            self.stored.events[kind].values(), key=lambda each: (each["occurred_at"], each["arrival"])
        )
        for event in events:
            if after is None or event["occurred_at"] > after:
                found.setdefault(tuple(identity(read(event, name)) for name in fields), []).append(event)
        return found

    def _history_result(self, aggregate: Any, current: Any, *, current_event: str, lists: CoreLists) -> Any:
        history = self.stored.as_known(aggregate.event, current["occurred_at"])
        return evaluate_aggregate(aggregate, history, current, current_event=current_event, lists=lists)
