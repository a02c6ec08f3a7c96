"""Stored events as the rules see them: flat dicts with derived fields, by kind of event."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Model, Q

from ingestion.events.models import AlertEvent, CardEvent, LoginEvent
from ingestion.models import Transaction
from ingestion.payloads import FIELD_NAMES
from rules.core.counters import event_fields
from rules.core.derived import DerivationSettings, derive
from rules.core.model import Aggregate

Event = dict[str, Any]
FactsAdder = Callable[[Sequence[Event], frozenset[str]], None]
PAGE = 5_000


@cache
def derivation_settings() -> DerivationSettings:
    return DerivationSettings(
        business_time_zone=ZoneInfo(settings.BUSINESS_TIME_ZONE),
        cnp_channels=frozenset(settings.CNP_CHANNELS),
        high_risk_mcc=frozenset(settings.HIGH_RISK_MCC),
    )


def event_of(fields: Mapping[str, Any]) -> Event:
    """An event of stored or submitted fields, with what derives from them."""
    return derive(fields, settings=derivation_settings())


@dataclass(frozen=True)
class EventSource:
    """The table of one kind of event. `columns` are the fields groups can be looked up by."""

    model: type[Model]
    id_field: str
    columns: tuple[str, ...]
    add_facts: FactsAdder | None = None
    extra: tuple[str, ...] = field(default=("arrival",))

    def events(
        self, condition: Q, *, limit: int | None = None, facts: frozenset[str] = frozenset()
    ) -> Iterator[Event]:
        """Counted events that match, in (occurred_at, arrival) order; read in pages of a server-side cursor."""
        rows = self.model._default_manager.filter(condition, arrival__isnull=False)
        rows = rows.order_by("occurred_at", "arrival").values(*self.columns, *self.extra)
        page: list[Event] = []
        for row in rows[:limit] if limit else rows.iterator(chunk_size=PAGE):
            page.append(event_of(row))
            if len(page) == PAGE:
                yield from self._with_facts(page, facts)
                page = []
        yield from self._with_facts(page, facts)

    def _with_facts(self, page: list[Event], facts: frozenset[str]) -> list[Event]:
        if facts and self.add_facts is not None and page:
            self.add_facts(page, facts)
        return page

    def facts_needed(self, aggregate: Aggregate) -> frozenset[str]:
        """Facts beside the event's own that `aggregate` reads of past events."""
        names = {*event_fields(aggregate.filters), *(key.event_field for key in aggregate.group_by)}
        if aggregate.field is not None:
            names.add(aggregate.field)
        return frozenset(name for name in names if name.startswith(("label.", "customer.", "account.")))


_NOT_THE_EVENTS_OWN = ("id", "arrival", "received_at", "payload_digest", "is_own")


def _own_fields(model: type[Model]) -> tuple[str, ...]:
    names = (each.name for each in model._meta.concrete_fields)
    return tuple(name for name in names if name not in _NOT_THE_EVENTS_OWN)


EVENT_SOURCES: dict[str, EventSource] = {
    "transaction": EventSource(Transaction, "transaction_id", FIELD_NAMES, extra=("arrival", "base_amount")),
    "login": EventSource(LoginEvent, "event_id", _own_fields(LoginEvent)),
    "card": EventSource(CardEvent, "event_id", _own_fields(CardEvent)),
    "alert": EventSource(AlertEvent, "alert_id", _own_fields(AlertEvent)),
}
