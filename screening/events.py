"""Stored events as the rules see them: flat dicts with derived fields, by kind of event."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Min, Model, Q

from ingestion.events.models import AlertEvent, CardEvent, CustomerProfile, LoginEvent
from ingestion.events.selectors import labels_known, profiles_of
from ingestion.models import Transaction
from ingestion.payloads import FIELD_NAMES
from rules.core.counters import event_fields
from rules.core.derived import DERIVED_FROM, DerivationSettings, derive
from rules.core.model import Aggregate

Event = dict[str, Any]
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
    """The table of one kind of event. `id_field` is the client's own id, `columns` the fields groups can be looked up
    by."""

    model: type[Model]
    id_field: str
    columns: tuple[str, ...]
    extra: tuple[str, ...] = ("arrival",)

    def events(
        self,
        condition: Q,
        *,
        newest: int | None = None,
        where: tuple[str, Sequence[Any]] | None = None,
        fields: frozenset[str] | None = None,
        facts: frozenset[str] = frozenset(),
        known_at: datetime | None = None,
    ) -> Iterator[Event]:
        """Counted events that match, in (occurred_at, arrival) order, read in pages; only the `newest` so many of
        them if given. `where` is a condition in SQL with its values; `fields`: those that are read (None: all).
        `facts` beside their own are added as they were known at `known_at`."""
        rows = self.model._default_manager.filter(condition, arrival__isnull=False)
        if where is not None:
            rows = rows.extra(where=[where[0]], params=list(where[1]))  # noqa: S610 - from sql_conditions
        rows = rows.values(*dict.fromkeys((*self._columns_for(fields), "arrival")))
        if newest is None:
            found = rows.order_by("occurred_at", "arrival").iterator(chunk_size=PAGE)
        else:
            found = reversed(rows.order_by("-occurred_at", "-arrival")[:newest])
        page: list[Event] = []
        is_plain = fields is not None and fields <= {*self.columns, *self.extra}
        for row in found:
            page.append(row if is_plain else event_of(row))
            if len(page) == PAGE:
                yield from _with_facts(page, facts, known_at)
                page = []
        yield from _with_facts(page, facts, known_at)

    def _columns_for(self, fields: frozenset[str] | None) -> tuple[str, ...]:
        everything = tuple(dict.fromkeys((*self.columns, *self.extra)))
        if fields is None:
            return everything
        known = {DERIVED_FROM.get(name, name.partition(".")[0]) for name in fields} | {"occurred_at"}
        # Whatever else is no column of its own derives from others.
        is_known = known <= set(everything)
        return tuple(name for name in everything if name in known) if is_known else everything

    def facts_needed(self, aggregate: Aggregate) -> frozenset[str]:
        """Facts beside the event's own that `aggregate` reads of past events."""
        names = {*event_fields(aggregate.filters), *(key.event_field for key in aggregate.group_by)}
        if aggregate.field is not None:
            names.add(aggregate.field)
        return frozenset(name for name in names if name.startswith(("label.", "customer.", "account.")))


def _with_facts(page: list[Event], facts: frozenset[str], known_at: datetime | None) -> list[Event]:
    """Labels as known at one moment, profiles as in force at each event's own time."""
    if not facts or not page:
        return page
    if "label.is_fraud" in facts:
        labels = labels_known((event["transaction_id"] for event in page), at=known_at)
        for event in page:
            event["label.is_fraud"] = labels.get(event["transaction_id"])
    wanted = facts - {"label.is_fraud"}
    if wanted:
        look_up_facts(page, wanted)
    return page


def look_up_facts(page: Sequence[Event], names: frozenset[str]) -> None:
    """Add customer's and account's facts of these names to past events, each as of the event's own time."""
    of_customer = [name for name in names if name.startswith("customer.")]
    if of_customer:
        profiles = profiles_of(event["user_id"] for event in page)
        for event in page:
            _add_profile(event, profiles.get(event["user_id"], ()), of_customer)
    if "customer.age_days" in names:
        _add_ages(page, "customer.age_days", "user_id")
    if "account.age_days" in names:
        _add_ages(page, "account.age_days", "account_id")


def _add_ages(page: Sequence[Event], name: str, party: str) -> None:
    """Whole days since the party was first seen, where nothing better is known; 0 at its first event."""
    ageless = [event for event in page if event.get(name) is None and event.get(party)]
    first = dict(
        Transaction.objects.filter(
            **{f"{party}__in": {event[party] for event in ageless}}, arrival__isnull=False
        )
        .values_list(party)
        .annotate(first=Min("occurred_at"))
        .order_by()
    )
    for event in ageless:
        since = min(first.get(event[party], event["occurred_at"]), event["occurred_at"])
        event[name] = Decimal((event["occurred_at"] - since).days)


def _add_profile(event: Event, profiles: Sequence[CustomerProfile], wanted: Sequence[str]) -> None:
    at = event["occurred_at"]
    in_force = next((each for each in reversed(profiles) if each.updated_at <= at), None)
    for name in wanted:
        event[name] = profile_fact(in_force, name, at)


def profile_fact(profile: CustomerProfile | None, name: str, at: datetime) -> Any:
    """A `customer.*` fact by a profile; None where it does not say."""
    if profile is None:
        return None
    if name == "customer.age_days":
        since = profile.customer_since
        return None if since is None else Decimal((at - since).days)
    return getattr(profile, name.removeprefix("customer."), None) or None


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
