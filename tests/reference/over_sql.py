"""Windows read from PostgreSQL (what is used while Redis is away) behind the oracle's contract.

Every event is screened by `sql_mode.history_results` and then stored, late, tied and duplicate ones as they come.
The tables are temporary ones of this connection, in front of the real ones, so that several processes may replay on
one server and nothing has to be cleared away. Profile facts of past events (`customer.*`, `account.age_days`) are
those of the generated history: their look-ups are tested in tests/screening.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from unittest import mock

from rules.core.derived import derive
from rules.core.lists import Lists as CoreLists
from tests.reference.contract import EventArrival, LabelArrival, PatchArrival
from tests.reference.over_core import SETTINGS
from tests.reference.replay import Replay, ServerEvaluator

TABLES = (
    "ingestion_transaction",
    "ingestion_loginevent",
    "ingestion_cardevent",
    "ingestion_alertevent",
    "ingestion_label",
)
ARRIVAL_STEP = 1_000


class SqlReplay(Replay):
    def __init__(self, lists: CoreLists, rules: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(lists, rules)
        _empty_tables()
        self.rows: dict[tuple[str, str], Any] = {}
        self.facts: dict[str, Mapping[str, Any]] = {}

    def _screen(self, arrival: EventArrival, position: int) -> tuple[Mapping[str, Any], Sequence[Any]]:
        from screening.sql_mode import history_results

        kind = arrival.event
        event = derive({**arrival.fields, "arrival": (position + 1) * ARRIVAL_STEP}, settings=SETTINGS)
        with mock.patch("screening.events.look_up_facts", self._looked_up):
            results = history_results(self.engine, event, kind)
        self.stored.submitted[kind, arrival.event_id] = arrival.fields
        self._store(arrival, event)
        return event, results

    def _looked_up(self, page: Sequence[dict[str, Any]], facts: frozenset[str]) -> None:
        for event in page:
            known = self.facts[event["transaction_id"]]
            event.update({name: known.get(name) for name in facts if name != "label.is_fraud"})

    def _store(self, arrival: EventArrival, event: Mapping[str, Any]) -> None:
        from screening.events import EVENT_SOURCES

        model = EVENT_SOURCES[arrival.event].model
        names = {field.name for field in model._meta.concrete_fields}
        fields = {name: value for name, value in event.items() if name in names and value is not None}
        row = model(**fields, received_at=arrival.received_at, payload_digest=bytes(16))
        row.save(force_insert=True)
        self.rows[arrival.event, arrival.event_id] = row
        self.facts[arrival.event_id] = arrival.fields

    def _correct(self, arrival: PatchArrival, position: int) -> None:
        row = self.rows.get(("transaction", arrival.transaction_id))
        if row is not None:
            for name, value in arrival.changes.items():
                setattr(row, name, value)
            row.save(update_fields=list(arrival.changes))

    def _label(self, arrival: LabelArrival, position: int) -> None:
        from ingestion.models import Label

        Label(
            transaction_id=arrival.transaction_id,
            is_fraud=arrival.is_fraud,
            labelled_at=arrival.labelled_at,
            known_from=arrival.labelled_at or arrival.received_at,
            arrival=(position + 1) * ARRIVAL_STEP,
            source=str(position),
        ).save(force_insert=True)


class SqlEvaluator(ServerEvaluator):
    replay_class = SqlReplay


def _empty_tables() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('pg_temp.ingestion_transaction')")
        if cursor.fetchone()[0] is None:
            _create_tables(cursor)
        cursor.execute(f"TRUNCATE {', '.join('pg_temp.' + table for table in TABLES)}")


def _create_tables(cursor: Any) -> None:
    from django.core.management import call_command

    # Outside pytest the server is empty; of several processes the first makes the tables.
    cursor.execute("SELECT pg_advisory_lock(20261122)")
    cursor.execute("SELECT to_regclass('public.ingestion_alertevent')")
    if cursor.fetchone()[0] is None:
        call_command("migrate", verbosity=0)
    cursor.execute("SELECT pg_advisory_unlock(20261122)")
    for table in TABLES:
        cursor.execute(
            f"CREATE TEMP TABLE {table} (LIKE public.{table} INCLUDING DEFAULTS INCLUDING IDENTITY)"
        )
