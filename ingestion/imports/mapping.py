"""From the columns of a file to the fields of a transaction.

A mapping is JSON: `{"source column": "field"}` renames (`metadata.<key>` is a field), `{"source column": null}` leaves
a column out, `{"field": {"value": …}}` is the same for every row, `{"field": {"default": …}}` where a row has none.
Columns that are not named keep their name. Empty cells are absent facts.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fraudsite.errors import FieldError, Invalid
from fraudsite.json_body import JsonBodyError, decode
from ingestion.payloads import FIELD_NAMES

REQUIRED = ("transaction_id", "user_id", "account_id", "amount", "transaction_type", "channel")
LABELS = ("transaction_type", "channel", "status")
METADATA = "metadata."
MAX_METADATA_LEVELS = 8
# An NDJSON file could have other keys in every row.
KNOWN_AT_MOST = 1_000


class RowProblem(ValueError):
    """A row whose columns cannot be made into a document. `path` is the source column or field."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path


def is_target(name: str) -> bool:
    if name in FIELD_NAMES:
        return True
    parts = name.split(".")
    return parts[0] == "metadata" and 2 <= len(parts) <= MAX_METADATA_LEVELS and all(parts)


class ColumnMapping:
    """`mapping` as described above. Raises Invalid naming every entry that is wrong."""

    def __init__(
        self,
        mapping: dict[str, Any],
        *,
        lower_case: bool = False,
        time_zone: str = "",
        ignore_unknown: bool = False,
    ) -> None:
        self._targets: dict[str, str | None] = {}
        self._known: dict[str, str | None] = {}
        self._constants: dict[str, Any] = {}
        self._defaults: dict[str, Any] = {}
        self._lower_case = lower_case
        self._ignore_unknown = ignore_unknown
        problems = [problem for entry in mapping.items() if (problem := self._add(*entry))]
        self._zone = None
        try:
            self._zone = ZoneInfo(time_zone) if time_zone else None
        except (ZoneInfoNotFoundError, ValueError, OSError):
            problems.append(FieldError("time_zone", "is not a time zone such as Africa/Lagos"))
        if problems:
            raise Invalid("The mapping cannot be used.", problems)

    def _add(self, name: str, entry: Any) -> FieldError | None:
        path = f"mapping.{name}"[:300]
        if entry is None:
            self._targets[name] = None
        elif isinstance(entry, str):
            if not is_target(entry):
                return FieldError(path, f"{entry[:100]!r} is neither a field nor metadata.<key>")
            self._targets[name] = entry
        elif isinstance(entry, dict) and len(entry) == 1 and set(entry) <= {"value", "default"}:
            if not is_target(name):
                return FieldError(path, "is neither a field nor metadata.<key>")
            kept = self._constants if "value" in entry else self._defaults
            kept[name] = next(iter(entry.values()))
        else:
            return FieldError(path, 'must be a field, null, {"value": …} or {"default": …}')
        return None

    def check_columns(self, columns: list[str]) -> None:
        """Refuse a header this mapping does not fit. Raises Invalid."""
        problems = [*_twice(columns), *self._misfits(columns), *self._lacking(columns)]
        if problems:
            raise Invalid("The columns of the file do not fit.", problems)

    def _misfits(self, columns: list[str]) -> Iterable[FieldError]:
        for source in self._targets:
            if source not in columns:
                yield FieldError(f"mapping.{source}"[:300], "is not a column of the file")
        for source, target in self._targets.items():
            if target in self._constants:
                yield FieldError(f"mapping.{source}"[:300], f"fills {target}, which is set to one value")
        filled: dict[str, str] = {}
        for column in columns:
            target = self.target(column)
            if column in self._constants and column not in self._targets:
                yield FieldError(column[:300], "is a column, and the mapping sets the field to one value")
            elif target is None and column not in self._targets and not self._ignore_unknown:
                yield FieldError(
                    column[:300] or "$",
                    "is not a field; map it to a field, to metadata.<key> or to null, or set ignore_unknown",
                )
            if target is not None and filled.setdefault(target, column) != column:
                yield FieldError(column[:300], f"fills {target}, as {filled[target][:100]!r} does")

    def _lacking(self, columns: list[str]) -> Iterable[FieldError]:
        given = {self.target(column) for column in columns} | set(self._constants) | set(self._defaults)
        for name in REQUIRED:
            if name not in given:
                yield FieldError(name, "is required, and no column is mapped to it")

    def target(self, column: str) -> str | None:
        """The field a column fills; None when it fills none."""
        try:
            return self._known[column]
        except KeyError:
            found = self._target(column)
        if len(self._known) < KNOWN_AT_MOST:
            self._known[column] = found
        return found

    def _target(self, column: str) -> str | None:
        if column in self._targets:
            return self._targets[column]
        return column if is_target(column) and column not in self._constants else None

    def document(self, values: dict[str, Any], *, is_text: bool) -> dict[str, Any]:
        """The transaction as a client would have sent it. `is_text`: cells of a CSV, of which empty ones are absent.
        Raises RowProblem."""
        document = dict(self._constants)
        nested: list[tuple[str, Any]] = []
        for column, value in values.items():
            if value is None or (is_text and value == ""):
                continue
            target = self.target(column)
            if target is None:
                if column not in self._targets and column not in self._constants and not self._ignore_unknown:
                    # As the API answers it: the row is refused, not silently cut.
                    document[column] = value
            elif target.startswith(METADATA):
                nested.append((target, value))
            else:
                document[target] = value
        for name, value in self._defaults.items():
            if name.startswith(METADATA):
                if all(target != name for target, _ in nested):
                    nested.append((name, value))
            else:
                document.setdefault(name, value)
        return self._finished(document, nested, is_text=is_text)

    def _finished(
        self, document: dict[str, Any], nested: list[tuple[str, Any]], *, is_text: bool
    ) -> dict[str, Any]:
        if is_text and isinstance(document.get("metadata"), str):
            document["metadata"] = _json_cell(document["metadata"])
        constants = [(name, document.pop(name)) for name in list(document) if name.startswith(METADATA)]
        for target, value in [*constants, *nested]:
            _set_nested(document, target, value)
        if self._lower_case:
            for name in LABELS:
                if isinstance(value := document.get(name), str):
                    document[name] = value.lower()
        if self._zone is not None and isinstance(value := document.get("occurred_at"), str):
            document["occurred_at"] = _with_offset(value, self._zone)
        return document


def _twice(columns: list[str]) -> Iterable[FieldError]:
    seen: set[str] = set()
    for column in columns:
        if column in seen:
            yield FieldError(column[:300] or "$", "is the name of two columns")
        seen.add(column)


def _json_cell(text: str) -> Any:
    try:
        return decode(text.encode())
    except (JsonBodyError, UnicodeEncodeError) as error:
        raise RowProblem("metadata", f"must be a JSON object: {error}") from None


def _set_nested(document: dict[str, Any], target: str, value: Any) -> None:
    *outer, last = target.split(".")
    inner = document
    for key in outer:
        if inner.get(key) is None:
            inner[key] = {}
        inner = inner[key]
        if not isinstance(inner, dict):
            raise RowProblem(target, "lies below a value that is no object")
    if last in inner:
        raise RowProblem(target, "is given twice")
    inner[last] = value


def _with_offset(text: str, zone: ZoneInfo) -> str:
    """`text` with the offset that `zone` had then, when it names none; what is no time is left for the parser. An hour
    that came twice is its first. Raises RowProblem for one that never was: the file's times are another zone's."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return text
        local = moment.replace(tzinfo=zone)
        was = local.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == moment
    except (ValueError, OverflowError):
        return text
    if not was:
        message = f"never was in {zone.key}: clocks were put forward; are the file's times of that zone?"
        raise RowProblem("occurred_at", message)
    return local.isoformat()
