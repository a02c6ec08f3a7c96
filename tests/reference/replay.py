"""What every evaluator that rests on a server does alike: one arrival after another, duplicates recognised."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from django.apps import apps
from django.conf import settings

from rules.core.compile import compile_rule
from rules.core.decide import decide
from rules.core.lists import ListEntries
from rules.core.lists import Lists as CoreLists
from rules.core.parse import parse_rule
from tests.reference.contract import Arrival, EventArrival, LabelArrival, Lists, PatchArrival, ScreenedEvent
from tests.reference.over_core import CoreEvaluator, Stored, _at, _result


def configured() -> None:
    """Outside pytest the environment names the servers (`python -m fraudsite.dev with -- python -m …`)."""
    import django

    if apps.ready:
        return
    if not settings.configured:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fraudsite.settings")
    django.setup()


class ServerEvaluator:
    """Replays with a `Replay` of its own. `as_of` "event" is not its business: it skips those."""

    replay_class: type[Replay]

    def __init__(self, *, lists: Lists | None = None, as_of: str = "arrival") -> None:
        configured()
        self.as_of = as_of
        self.lists = CoreLists(
            {
                name: ListEntries(entries.entries, is_case_sensitive=entries.is_case_sensitive)
                for name, entries in (lists or {}).items()
            }
        )

    def replay(self, rules: Sequence[Mapping[str, Any]], arrivals: Sequence[Arrival]) -> list[ScreenedEvent]:
        if self.as_of == "event":
            evaluator = CoreEvaluator(as_of="event")
            evaluator.lists = self.lists
            return evaluator.replay(rules, arrivals)
        return self.replay_class(self.lists, rules).run(arrivals)


class Replay:
    """One history screened by one ruleset. `stored` remembers what was submitted and what each event came to."""

    def __init__(self, lists: CoreLists, rules: Sequence[Mapping[str, Any]]) -> None:
        from screening.engine import Engine

        parsed = [parse_rule(document).rule for document in rules]
        compiled = [compile_rule(rule) for rule in parsed if rule.is_active]
        self.engine = Engine(number=1, rules=compiled, shadow_ids=frozenset(), lists=lists, since={})
        self.stored = Stored()

    def run(self, arrivals: Sequence[Arrival]) -> list[ScreenedEvent]:
        first: dict[tuple[str, str], ScreenedEvent] = {}
        answers = []
        for position, arrival in enumerate(arrivals):
            if isinstance(arrival, LabelArrival):
                self._label(arrival, position)
            elif isinstance(arrival, PatchArrival):
                self._correct(arrival, position)
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
        answer = self._answer(arrival, position, *self._screen(arrival, position))
        if concerned:
            first[key] = answer
            return answer
        return None

    def _answer(
        self, arrival: EventArrival, position: int, event: Mapping[str, Any], results: Sequence[Any]
    ) -> ScreenedEvent:
        outcomes = self.engine.kinds[arrival.event].ruleset.evaluate(event, results, self.engine.lists)
        decision = decide(outcomes)
        return ScreenedEvent(
            position,
            arrival.event_id,
            tuple(_result(outcome) for outcome in outcomes),
            decision.outcome,
            decision.overall_status,
            decision.total_risk_score,
        )

    def _label(self, arrival: LabelArrival, position: int) -> None:
        self.stored.take(arrival, position)

    def _screen(self, arrival: EventArrival, position: int) -> tuple[Mapping[str, Any], Sequence[Any]]:
        """(the event as screened, its aggregates' results); the event is counted or stored by then."""
        raise NotImplementedError

    def _correct(self, arrival: PatchArrival, position: int) -> None:
        raise NotImplementedError
