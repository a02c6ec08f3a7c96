"""Comparisons that only the core can make, turned into columns: the core's own predicate per distinct value."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from rules.core.comparisons import compile_predicate, getter, similarity_asked
from rules.core.durations import to_us
from rules.core.lists import Lists, Span
from rules.core.model import Comparison, ListName
from rules.core.past_lists import LISTS_VERSION
from screening.batch.columns.conditions import asks_version, comparison_sql, fields_read, looks_up_spans
from screening.batch.columns.fields import METADATA_PREFIX, Column, column_of, quoted
from screening.batch.columns.mapped import SPANS, Mapped
from screening.batch.columns.stage import FOREVER

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

    def sql(self, comparison: Comparison, alias: str, current: str | None = None) -> str:
        """Three-valued SQL. A comparison that failed reads as unknown; `failed_sql` tells them apart. `current` is the
        screened event's alias, where `alias` is another's."""
        found = comparison_sql(comparison, self.event, alias)
        if found is not None:
            return found
        name = self._columns.setdefault(comparison, f"{self.prefix}{len(self._columns)}")
        if looks_up_spans(comparison, self.lists):
            return self._spans_sql(comparison, f"{alias}.{name}", current or alias)
        return f"(CASE {alias}.{name} WHEN {TRUE} THEN TRUE WHEN {FALSE} THEN FALSE END)"

    def _spans_sql(self, comparison: Comparison, spans: str, current: str) -> str:
        """Whether one of the spans that make the value a member of the list holds for the screened event."""
        holds = [f"(s.ends IS NULL OR {current}.us < s.ends)"]
        if asks_version(comparison, self.lists):
            version = f"coalesce({current}.{quoted(LISTS_VERSION)}, {FOREVER})"
            holds += [f"s.added <= {version}", f"(s.removed IS NULL OR {version} < s.removed)"]
        holding = f"len(list_filter({spans}, lambda s: {' AND '.join(holds)}))"
        sign = "=" if comparison.operator == "not_in_list" else ">"
        return f"(CASE WHEN {spans} IS NOT NULL THEN {holding} {sign} 0 END)"

    def failed_sql(self, comparison: Comparison, alias: str) -> str | None:
        name = self._columns.get(comparison)
        if name is None or looks_up_spans(comparison, self.lists):
            return None
        return f"({alias}.{name} = {FAILED})"

    def mapped(self) -> Iterable[Mapped]:
        for comparison, name in self._columns.items():
            keys = tuple(quoted(each) for each in fields_read(comparison))
            if looks_up_spans(comparison, self.lists):
                yield Mapped(keys, ((name, SPANS),), self._spans(comparison))
            else:
                yield Mapped(keys, ((name, "TINYINT"),), self._test(comparison))

    def _spans(self, comparison: Comparison) -> Callable[..., tuple[list[dict[str, int | None]] | None]]:
        """All spans that ever make the value a member of the list; null where it is no text."""
        actual, threshold = getter(comparison.left, {}), similarity_asked(comparison)
        columns = [column_of(self.event, name) for name in fields_read(comparison)]
        name = comparison.right.name if isinstance(comparison.right, ListName) else ""

        def spans(*values: Any) -> tuple[list[dict[str, int | None]] | None]:
            event = event_dict(columns, values)
            text = actual(event, event, ())
            if not isinstance(text, str):
                return (None,)
            return ([_span(each) for each in self.lists.spans(name, text, threshold)],)

        return spans

    def _test(self, comparison: Comparison) -> Callable[..., tuple[int | None]]:
        predicate = compile_predicate(comparison)
        columns = [column_of(self.event, name) for name in fields_read(comparison)]

        def test(*values: Any) -> tuple[int | None]:
            event = event_dict(columns, values)
            try:
                met = predicate(event, event, self.lists)
            except Exception as error:
                self.failures[comparison] = f"{type(error).__name__}: {error}"
                return (FAILED,)
            return (None if met is None else int(met),)

        return test


def _span(span: Span) -> dict[str, int | None]:
    ends = None if span.expires_at is None else to_us(span.expires_at)
    return {"added": span.added_in, "removed": span.removed_in, "ends": ends}


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
