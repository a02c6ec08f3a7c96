"""Windows read from PostgreSQL (what is used while Redis is away) behind the oracle's contract.

Every event is screened by `sql_mode.history_results` and then stored, late, tied and duplicate ones as they come.
The tables are temporary ones of this connection, in front of the real ones, so that several processes may replay on
one server and nothing has to be cleared away. Profile facts of past events (`customer.*`, `account.age_days`) are
those of the generated history: their look-ups are tested in tests/screening.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any
from unittest import mock

from fraudsite.exact_json import to_json
from rules.core.derived import derive
from rules.core.lists import Lists as CoreLists
from tests.reference.contract import Arrival, EventArrival, LabelArrival, PatchArrival, ScreenedEvent
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
EMPTIED_EVERY = 50


class SqlReplay(Replay):
    def __init__(self, lists: CoreLists, rules: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(lists, rules)
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
        _insert(model, {**fields, "received_at": arrival.received_at, "payload_digest": bytes(16)})
        self.facts[arrival.event_id] = arrival.fields

    def _correct(self, arrival: PatchArrival, position: int) -> None:
        changes = _for_sql(arrival.changes)
        assigned = ", ".join(f"{name} = %s" for name in changes)
        with _cursor() as cursor:
            cursor.execute(
                f"UPDATE ingestion_transaction SET {assigned} WHERE transaction_id = %s",
                [*changes.values(), arrival.transaction_id],
            )

    def _label(self, arrival: LabelArrival, position: int) -> None:
        from ingestion.models import Label

        label = {
            "transaction_id": arrival.transaction_id,
            "is_fraud": arrival.is_fraud,
            "labelled_at": arrival.labelled_at,
            "known_from": arrival.labelled_at or arrival.received_at,
            "arrival": (position + 1) * ARRIVAL_STEP,
            "source": str(position),
            "created_by": "",
        }
        _insert(Label, label)


class SqlEvaluator(ServerEvaluator):
    replay_class = SqlReplay

    def replay(self, rules: Sequence[Mapping[str, Any]], arrivals: Sequence[Arrival]) -> list[ScreenedEvent]:
        from django.db import transaction

        if self.as_of == "event":
            return super().replay(rules, arrivals)
        _empty_tables()
        with transaction.atomic():
            answers = super().replay(rules, arrivals)
            transaction.set_rollback(True)
        return answers


def _cursor() -> Any:
    from django.db import connection

    return connection.cursor()


def _for_sql(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: to_json(each).decode() if name == "metadata" else each for name, each in fields.items()}


def _insert(model: Any, fields: Mapping[str, Any]) -> None:
    """Without the object mapper's work, which would be half of a replay's time."""
    values = _for_sql({"metadata": {}, **fields} if model.__name__ == "Transaction" else fields)
    with _cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {model._meta.db_table} ({', '.join(values)}) VALUES ({', '.join(['%s'] * len(values))})",
            list(values.values()),
        )


_replays = count()


def _empty_tables() -> None:
    """Make them first, if need be. A replay is rolled back: now and then what that leaves behind is cleared away."""
    if next(_replays) % EMPTIED_EVERY:
        return
    with _cursor() as cursor:
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
