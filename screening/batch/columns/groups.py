"""Groups as small integers: one code per distinct combination of group values.

Window functions partition by an integer several times faster than by texts, and a code is missing exactly where a
value of the group is.
"""

from __future__ import annotations

from typing import NamedTuple

from rules.core.values import identity
from screening.batch.columns.fields import METADATA_PREFIX, Column, column_of, identity_column, quoted
from screening.batch.columns.mapped import Mapped, mapped_add
from screening.batch.columns.stage import Stage

_LOOKUPS = 12


class _Code(NamedTuple):
    """A column to add: the code in `codes<group>` of the values of `keys` (SQL over the table's columns)."""

    column: str
    group: int
    keys: tuple[str, ...]


def groups_add(stage: Stage) -> None:
    """Columns ge<n> (as a counted event) and, on transactions, gq<n> (as the screened one)."""
    _add_identities(stage)
    wanted: dict[str, list[_Code]] = {kind: [] for kind in stage.needs.fields}
    for (kind, event_fields, current_fields), group in stage.needs.groups.items():
        pairs = list(zip(event_fields, current_fields, strict=True))
        counted = tuple(_key(kind, mine, "transaction", other) for mine, other in pairs)
        screened = tuple(_key("transaction", other, kind, mine) for mine, other in pairs)
        _make_codes(stage, group, kind, counted)
        wanted[kind].append(_Code(f"ge{group}", group, counted))
        wanted["transaction"].append(_Code(f"gq{group}", group, screened))
    for kind, codes in wanted.items():
        for table in stage.tables_of(kind):
            _add(stage, table, codes)


def _key(kind: str, name: str, other_kind: str, other_name: str) -> str:
    """What is compared: the column where both sides are kept alike, else the identity of its value."""
    mine, other = column_of(kind, name), column_of(other_kind, other_name)
    if (mine.keeping, mine.scale) == (other.keeping, other.scale) and mine.keeping != "json":
        return quoted(name)
    return f"('t:' || {quoted(name)})" if mine.keeping == "text" else quoted(identity_column(name))


def _add_identities(stage: Stage) -> None:
    """Identities of numbers and booleans that are compared with values kept otherwise."""
    wanted: dict[str, dict[str, Column]] = {}
    for kind, event_fields, current_fields in stage.needs.groups:
        for mine, other in zip(event_fields, current_fields, strict=True):
            left, right = column_of(kind, mine), column_of("transaction", other)
            if (left.keeping, left.scale) == (right.keeping, right.scale):
                continue
            for side_kind, column in ((kind, left), ("transaction", right)):
                if column.keeping in ("units", "boolean", "time") and not column.name.startswith(
                    METADATA_PREFIX
                ):
                    wanted.setdefault(side_kind, {})[column.name] = column
    for kind, columns in wanted.items():
        for table in stage.tables_of(kind):
            mapped_add(stage.database, table, [_identity_of(column) for column in columns.values()])


def _identity_of(column: Column) -> Mapped:
    def identify(value: object) -> tuple[str | None]:
        return (identity(column.decode(value)),)

    return Mapped((quoted(column.name),), ((identity_column(column.name), "VARCHAR"),), identify)


def _make_codes(stage: Stage, group: int, kind: str, keys: tuple[str, ...]) -> None:
    columns = ", ".join(f"{key} AS k{i}" for i, key in enumerate(keys))
    present = " AND ".join(f"k{i} IS NOT NULL" for i in range(len(keys)))
    rows = " UNION ".join(f"SELECT DISTINCT {columns} FROM {table}" for table in stage.tables_of(kind))
    stage.run(
        f"CREATE TABLE codes{group} AS SELECT *, (row_number() OVER ())::INTEGER AS code "
        f"FROM ({rows}) WHERE {present}"
    )


def _add(stage: Stage, table: str, codes: list[_Code]) -> None:
    """`table` by itself with the codes added, a few lookups at a time: every table that is looked up is in memory."""
    lookups = list(dict.fromkeys((each.group, each.keys) for each in codes))
    for start in range(0, len(lookups), _LOOKUPS):
        wanted = set(lookups[start : start + _LOOKUPS])
        _add_some(stage, table, [each for each in codes if (each.group, each.keys) in wanted])


def _add_some(stage: Stage, table: str, codes: list[_Code]) -> None:
    """Equal codes (the usual case) are looked up once."""
    computed = {
        key: f"__key{i}" for i, key in enumerate(dict.fromkeys(key for each in codes for key in each.keys))
    }
    joins: dict[tuple[int, tuple[str, ...]], str] = {}
    for each in codes:
        joins.setdefault((each.group, each.keys), f"c{len(joins)}")
    columns = ", ".join(f"{joins[each.group, each.keys]}.code AS {each.column}" for each in codes)
    joined = " ".join(
        f"LEFT JOIN codes{group} {alias} ON "
        + " AND ".join(f"{alias}.k{i} = t.{computed[key]}" for i, key in enumerate(keys))
        for (group, keys), alias in joins.items()
    )
    added = ", ".join(f"{key} AS {name}" for key, name in computed.items())
    stage.run(
        f"CREATE TABLE {table}_new AS SELECT t.* EXCLUDE ({', '.join(computed.values())}), {columns} "
        f"FROM (SELECT *, {added} FROM {table}) t {joined}"
    )
    stage.run(f"DROP TABLE {table}")
    stage.run(f"ALTER TABLE {table}_new RENAME TO {table}")
