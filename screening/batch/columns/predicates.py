"""Comparisons that only the core can make, turned into columns: the core's own predicate per distinct value."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from rules.core.comparisons import compile_predicate
from rules.core.durations import from_us
from rules.core.lists import Lists
from rules.core.model import Comparison, ListName
from rules.core.past_lists import LISTS_VERSION
from screening.batch.columns.conditions import asks_version, comparison_sql, fields_read, list_varies
from screening.batch.columns.fields import METADATA_PREFIX, Column, column_of, quoted
from screening.batch.columns.mapped import Mapped

TRUE, FALSE, FAILED = 1, 0, 2


class PredicateColumns:
    """Hands out SQL for comparisons of one kind of event, and remembers what Python has to compute for them.
    `prefix` begins the names of the columns."""

    def __init__(self, event: str, lists: Lists, prefix: str = "p") -> None:
        self.event = event
        self.prefix = prefix
        self.lists = lists
        self.failures: dict[Comparison, str] = {}
        self._columns: dict[Comparison, str] = {}

    def sql(self, comparison: Comparison, alias: str) -> str:
        """Three-valued SQL. A comparison that failed reads as unknown; `failed_sql` tells them apart."""
        found = comparison_sql(comparison, self.event, alias)
        if found is not None:
            return found
        name = self._columns.setdefault(comparison, f"{self.prefix}{len(self._columns)}")
        return f"(CASE {alias}.{name} WHEN {TRUE} THEN TRUE WHEN {FALSE} THEN FALSE END)"

    def failed_sql(self, comparison: Comparison, alias: str) -> str | None:
        name = self._columns.get(comparison)
        return None if name is None else f"({alias}.{name} = {FAILED})"

    def mapped(self) -> Iterable[Mapped]:
        for comparison, name in self._columns.items():
            yield Mapped(self._keys(comparison), ((name, "TINYINT"),), self._test(comparison))

    def _keys(self, comparison: Comparison) -> tuple[str, ...]:
        keys = [quoted(name) for name in fields_read(comparison)]
        if self._needs_time(comparison):
            keys.append("us")
        if asks_version(comparison, self.lists):
            keys.append(quoted(LISTS_VERSION))
        return tuple(keys)

    def _needs_time(self, comparison: Comparison) -> bool:
        return isinstance(comparison.right, ListName) and list_varies(comparison.right.name, self.lists)

    def _test(self, comparison: Comparison) -> Callable[..., tuple[int | None]]:
        predicate = compile_predicate(comparison)
        columns = [column_of(self.event, name) for name in fields_read(comparison)]
        needs_time, asks = self._needs_time(comparison), asks_version(comparison, self.lists)

        def test(*values: Any) -> tuple[int | None]:
            event = event_dict(columns, values)
            if needs_time:
                event["occurred_at"] = from_us(values[len(columns)])
            if asks:
                event[LISTS_VERSION] = values[-1]
            try:
                met = predicate(event, event, self.lists)
            except Exception as error:
                self.failures[comparison] = f"{type(error).__name__}: {error}"
                return (FAILED,)
            return (None if met is None else int(met),)

        return test


def event_dict(columns: Iterable[Column], values: Iterable[Any]) -> dict[str, Any]:
    """The core's event of columns and what they hold; metadata paths are put together again."""
    event: dict[str, Any] = {}
    free: list[tuple[list[str], Any]] = []
    for column, value in zip(columns, values, strict=False):
        decoded = column.decode(value)
        if column.name.startswith(METADATA_PREFIX):
            free.append((column.name.split(".")[1:], decoded))
        else:
            event[column.name] = decoded
    if free:
        # An object before what is inside it, so that it stays whole.
        event["metadata"] = {}
        for path, decoded in sorted(free, key=lambda pair: len(pair[0])):
            put(event["metadata"], path, decoded)
    return event


def put(node: dict[str, Any], path: list[str], value: Any) -> None:
    """Set a value deep in nested objects. A path read through a list of the original reads the same here, because
    `read` looks keys up in objects whatever they look like."""
    if value is None:
        return
    for key in path[:-1]:
        inner = node.get(key)
        if not isinstance(inner, dict):
            inner = node[key] = {} if not isinstance(inner, list) else _as_object(inner)
        node = inner
    node.setdefault(path[-1], value)


def _as_object(items: list[Any]) -> dict[str, Any]:
    return {str(index): item for index, item in enumerate(items)}
