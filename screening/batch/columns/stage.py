"""Events of a run as DuckDB tables, one per kind, numbered in their order and ready for windows.

Table `ev_<kind>`: pos (place in the order), us (occurred_at), arrival, avail (the arrival from which on the row is
as it is), one column per field, `ge<n>` (code of the row's group n as a counted event). `ev_transaction` also has
id, is_screened, `gq<n>` (code of group n as the screened one) and `b<n>` (positions at which windows begin or end).
`old_transaction` holds superseded wordings of corrected transactions, with `until`: the arrival of the correction.
Where facts of counted events came to be known later than they (facts.py), `ev_<kind>` and `old_transaction` have
`facts_until`, the arrival from which on they are others, and `then_<kind>` holds those events once for each moment at
which they read otherwise.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from rules.core.durations import from_us
from rules.core.values import identity, to_units
from screening.batch.columns import source
from screening.batch.columns.bounds import Timeline, order_of, positions_of
from screening.batch.columns.fields import (
    TABLES,
    Column,
    column_of,
    identity_column,
    instant_literal,
    is_clock,
    is_mutable,
    json_value,
    quoted,
    text_literal,
    units_column,
)
from screening.batch.columns.mapped import Mapped, mapped_add
from screening.batch.columns.needs import Needs
from screening.batch.columns.scope import Scope
from screening.events import derivation_settings, event_of

# Offsets of time zones are whole quarters of an hour.
_SLOT_US = 900_000_000
FOREVER = 2**63 - 1
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")


@dataclass
class Memory:
    """What DuckDB may use before it spills into `directory`."""

    directory: Path
    limit: str = "1GB"
    threads: int = 2


@dataclass
class Stage:
    """The tables of one run. `max_units[kind, field]` is the largest magnitude among a field's units."""

    needs: Needs
    scope: Scope
    memory: Memory
    checkpoint: Callable[[], None] = lambda: None
    database: duckdb.DuckDBPyConnection = field(init=False)
    offset_columns: dict[tuple[str, int], str] = field(default_factory=dict)
    rows: int = 0
    has_revisions: bool = False
    # Kinds of events that have facts_until.
    late_facts: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.database = duckdb.connect(
            config={
                "memory_limit": self.memory.limit,
                "threads": self.memory.threads,
                "temp_directory": str(self.memory.directory),
                "preserve_insertion_order": True,
            }
        )
        # It would be drawn into the worker's output.
        self.database.execute("SET enable_progress_bar = false")

    @classmethod
    def of_bucket(
        cls,
        memory: Memory,
        offset_columns: dict[tuple[str, int], str],
        has_revisions: bool,
        late_facts: set[str],
    ) -> Stage:
        """A database for tables that another stage prepared."""
        return cls(
            Needs(),
            Scope(),
            memory,
            offset_columns=dict(offset_columns),
            has_revisions=has_revisions,
            late_facts=late_facts,
        )

    def memory_bytes(self) -> int:
        """What DuckDB made of the limit it was given."""
        number, unit = self.one("SELECT current_setting('memory_limit')").split()
        return int(float(number) * 1024 ** _UNITS.index(unit))

    def close(self) -> None:
        with contextlib.suppress(duckdb.Error):
            self.database.close()

    def run(self, sql: str) -> duckdb.DuckDBPyConnection:
        """One statement, unless the run was told to stop."""
        self.checkpoint()
        return self.database.execute(sql)

    def one(self, sql: str) -> Any:
        """The first column of a query's only row."""
        # DuckDB takes no other statement on a connection until a result was fetched to its end.
        return self.run(sql).fetchall()[0][0]

    # -- reading

    def load(self, mapped: dict[str, list[Mapped]]) -> None:
        """Read and number every kind of event the run needs. `mapped[kind]`: what Python adds to its rows."""
        timelines = {"transaction": self._load_raw("transaction")}
        for kind in self.needs.fields:
            if kind != "transaction":
                timelines[kind] = self._load_raw(kind)
        self._number("transaction", timelines)
        for kind in self.needs.fields:
            if kind != "transaction":
                self._number(kind, {})
        self.rows = len(timelines["transaction"].occurred_us)
        self._load_revisions()
        for kind in self.needs.fields:
            for table in self.tables_of(kind):
                self._derive(kind, table, mapped.get(kind, []))

    def tables_of(self, kind: str) -> list[str]:
        tables = [f"ev_{kind}"]
        if kind == "transaction" and self.has_revisions:
            tables.append("old_transaction")
        if kind in self.late_facts:
            tables.append(f"then_{kind}")
        return tables

    def every_sql(self, kind: str) -> str:
        """Every wording of every event, with `until`."""
        every = f"SELECT *, {FOREVER} AS until FROM ev_{kind}"
        if kind == "transaction" and self.has_revisions:
            every += " UNION ALL BY NAME SELECT * FROM old_transaction"
        return every

    def views_add(self, kind: str) -> None:
        """`every_<kind>` and, of events whose facts came to be known late, `known_<kind>`: the same with these facts
        as they were known when."""
        self.run(f"CREATE VIEW every_{kind} AS {self.every_sql(kind)}")
        if kind in self.late_facts:
            self.run(
                f"CREATE VIEW known_{kind} AS SELECT * EXCLUDE (facts_until) FROM every_{kind} "
                f"WHERE facts_until = {FOREVER} UNION ALL BY NAME SELECT * FROM then_{kind}"
            )

    def _load_raw(self, kind: str) -> Timeline:
        """Table raw_<kind> in the order of reading."""
        select = {
            **({"id": ("t.id", "bigint")} if kind == "transaction" else {}),
            "arrival": ("t.arrival", "bigint"),
            "us": _INSTANT,
            **self._stored_columns(kind),
        }
        with source.rows(select, f"FROM {TABLES[kind]} t WHERE {self._condition(kind)}") as reader:
            self.database.register("reading", reader)
            typed = ", ".join(_typed(column_of(kind, name)) for name in self._stored_columns(kind))
            ids = "id, " if kind == "transaction" else ""
            instant = "us" if pa.types.is_integer(reader.schema.field("us").type) else "epoch_us(us)"
            self.run(
                f"CREATE TABLE raw_{kind} AS SELECT {ids}arrival, {instant} AS us{', ' + typed if typed else ''} "
                "FROM reading"
            )
            self.database.unregister("reading")
        return Timeline.of(self._column(f"raw_{kind}", "us"), self._column(f"raw_{kind}", "arrival"))

    def _column(self, table: str, name: str) -> Any:
        chunks = self.database.sql(f"SELECT {name} FROM {table}").to_arrow_table().column(0)
        return chunks.to_numpy()

    def _stored_columns(self, kind: str) -> dict[str, tuple[str, str]]:
        columns = (column_of(kind, name) for name in self.needs.stored_fields(kind))
        return {column.name: (column.source or "NULL", _sql_kind(column)) for column in columns}

    def _condition(self, kind: str) -> str:
        """What may matter to a screened transaction, or is one."""
        scope = self.scope
        conditions = ["t.arrival IS NOT NULL"]
        if scope.arrival_limit is not None:
            conditions.append(f"t.arrival <= {scope.arrival_limit}")
        if scope.latest_us is not None:
            conditions.append(f"t.occurred_at <= {instant_literal(scope.latest_us)}")
        lookback_us = self.needs.lookback_us.get(kind, 0)
        if scope.earliest_us is not None and lookback_us is not None:
            conditions.append(f"t.occurred_at >= {instant_literal(scope.earliest_us - lookback_us)}")
        return " AND ".join(conditions)

    # -- order

    def _number(self, kind: str, timelines: dict[str, Timeline]) -> None:
        """Table ev_<kind>: raw_<kind> with positions and, for transactions, where windows begin."""
        occurred_us, arrival = self._column(f"raw_{kind}", "us"), self._column(f"raw_{kind}", "arrival")
        order = order_of(occurred_us, arrival)
        columns = {"pos": positions_of(order)}
        for of_kind, timeline in timelines.items():
            for offset_us in sorted(self.needs.offsets.get(of_kind, ())):
                name = f"b{len(self.offset_columns)}"
                self.offset_columns[of_kind, offset_us] = name
                found = np.empty(len(order), dtype=np.int32)
                if of_kind != "transaction" and offset_us == 0:
                    found[order] = timeline.first_after(occurred_us[order], arrival[order])
                else:
                    found[order] = timeline.first_later_than(occurred_us[order], offset_us)
                columns[name] = found
        del occurred_us, arrival, order
        self.database.register("numbers", pa.table(columns))
        self.run(
            f"CREATE TABLE ev_{kind} AS SELECT *, arrival AS avail FROM raw_{kind} POSITIONAL JOIN numbers"
        )
        self.database.unregister("numbers")
        self.run(f"DROP TABLE raw_{kind}")

    # -- corrections

    def _load_revisions(self) -> None:
        """Table old_transaction, where what was true at a transaction's arrival may since have been corrected."""
        mutable = [name for name in self.needs.stored_fields("transaction") if is_mutable(name)]
        if self.scope.as_of != "arrival" or not mutable:
            return
        stored = self._stored_columns("transaction")
        select = {
            "id": ("t.id", "bigint"),
            "until": ("t.revised", "bigint"),
            **{name: stored[name] for name in mutable},
        }
        revised = (
            "SELECT t.id, t.arrival, t.occurred_at, r.arrival AS revised, r.status_before AS status, "
            "r.metadata_before AS metadata "
            # What was corrected while it was pending nobody saw as it had been.
            "FROM ingestion_transactionrevision r JOIN ingestion_transaction t "
            "ON t.id = r.transaction_id AND r.arrival > t.arrival"
        )
        with source.rows(select, f"FROM ({revised}) t WHERE {self._condition('transaction')}") as reader:
            self.database.register("reading", reader)
            typed = ", ".join(_typed(column_of("transaction", name)) for name in mutable)
            self.run(f"CREATE TABLE revisions AS SELECT id, until, {typed} FROM reading")
            self.database.unregister("reading")
        if not self.one("SELECT count(*) FROM revisions"):
            return
        self.has_revisions = True
        replaced = ", ".join(f"r.{quoted(name)} AS {quoted(name)}" for name in mutable)
        self.run(
            f"CREATE TABLE old_transaction AS SELECT t.* REPLACE ({replaced}, coalesce(lag(r.until) OVER "
            "(PARTITION BY r.id ORDER BY r.until), t.arrival) AS avail), r.until "
            "FROM ev_transaction t JOIN revisions r ON r.id = t.id"
        )
        self.run(
            "UPDATE ev_transaction SET avail = r.until FROM "
            "(SELECT id, max(until) AS until FROM revisions GROUP BY id) r WHERE r.id = ev_transaction.id"
        )

    # -- what Python and other columns add

    def _derive(self, kind: str, table: str, mapped: list[Mapped]) -> None:
        settings = derivation_settings()
        names = self.needs.fields[kind]
        expressions = {}
        if "occurred_at" in names:
            expressions["occurred_at"] = "us"
        if "is_cnp" in names:
            expressions["is_cnp"] = _among("channel", settings.cnp_channels)
        if "is_high_risk_mcc" in names:
            expressions["is_high_risk_mcc"] = _among("merchant_category", settings.high_risk_mcc)
        for name, expression in expressions.items():
            column = column_of(kind, name)
            self.run(f"ALTER TABLE {table} ADD COLUMN {quoted(name)} {column.sql_type}")
            self.run(f"UPDATE {table} SET {quoted(name)} = {expression}")
        wanted = [*self._clock(kind), *mapped]
        mapped_add(self.database, table, wanted)

    def _clock(self, kind: str) -> Iterator[Mapped]:
        names = [name for name in self.needs.fields[kind] if is_clock(name)]
        if names:
            columns = [column_of(kind, name) for name in names]

            def local(slot: int) -> list[Any]:
                event = event_of({"occurred_at": from_us(slot * _SLOT_US)})
                return [
                    int(event[column.name]) if column.keeping == "units" else event[column.name]
                    for column in columns
                ]

            yield Mapped(
                (f"(us // {_SLOT_US})",), tuple((column.name, column.sql_type) for column in columns), local
            )

    def max_units(self, kind: str, expression: str) -> int:
        """The largest magnitude of an expression over the rows of a kind; 0 where there are none."""
        found = 0
        for table in self.tables_of(kind):
            found = max(found, int(self.one(f"SELECT max(abs({expression})) FROM {table} e") or 0))
        return found


_INSTANT = ("t.occurred_at", "instant")


def _sql_kind(column: Column) -> str:
    if column.keeping == "boolean":
        return "boolean"
    return "bigint" if column.sql_type == "BIGINT" else "text"


def _typed(column: Column) -> str:
    name = quoted(column.name)
    if column.sql_type == "HUGEINT":
        return f"{name}::HUGEINT AS {name}"
    if column.keeping == "json":
        return f"nullif({name}, 'null') AS {name}"
    return name


def _among(name: str, members: frozenset[str]) -> str:
    literals = ", ".join(text_literal(each) for each in sorted(members))
    return (
        f"({quoted(name)} IN ({literals}))"
        if literals
        else f"CASE WHEN {quoted(name)} IS NOT NULL THEN FALSE END"
    )


def json_columns(name: str) -> Mapped:
    """Of a metadata value: its identity, and its units as text (for sums)."""

    def read(text: str | None) -> tuple[str | None, str | None]:
        value = None if text is None else json_value(text)
        units = to_units(value, 10)
        return identity(value), None if units is None else str(units)

    return Mapped(
        (quoted(name),), ((identity_column(name), "VARCHAR"), (units_column(name), "VARCHAR")), read
    )
