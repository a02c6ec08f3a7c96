"""Truth values and rule statuses in SQL, for every screened transaction at once.

Comparisons of whole numbers are exact. Where the core rounds (averages, deviations, distances) SQL computes a double
and trusts it only where it is farther from the threshold than any error could be; every other row is *undecided* and
left to the core. So no answer ever depends on floating-point rounding, and few rows need Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from rules.core import limits
from rules.core.aggregates import scale_of
from rules.core.compile import aggregates_of
from rules.core.fields import DISTANCE_TO_CURRENT
from rules.core.functions import FROM_PREVIOUS
from rules.core.geo import EARTH_RADIUS_KM
from rules.core.model import Aggregate, AggregateValue, Comparison, FieldValue, Literal
from screening.batch.columns.conditions import compares_label, condition_sql, units_compared_sql
from screening.batch.columns.engine import ColumnRun
from screening.batch.columns.fields import column_of, group_column, quoted
from screening.batch.columns.measures import units_sql

LETTERS = {"flagged": "f", "clean": "c", "not_applicable": "n", "error": "e"}
_SIGNS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "eq": "=", "ne": "<>"}
# Rounding to 12 significant digits moves a value by at most 5e-12 of itself; doubles lose far less.
_RELATIVE_ERROR = "1e-11"
_PLAIN_ERRORS = ("0", "1e-3", "1e-6")


@dataclass(frozen=True)
class Number:
    """One side of a comparison: `units` exact (whole units of 10^-scale) or None, `double` an approximation whose
    absolute error is at most 1e-11 of it plus `error`. Both are null where the value is unknown."""

    double: str
    units: str | None = None
    scale: int = 0
    error: str = "0"


@dataclass(frozen=True)
class Truth:
    """`sql` is true, false or null; `undecided` is true where the core must be asked instead (None: nowhere)."""

    sql: str
    undecided: str | None = None


class Verdicts:
    """SQL over alias s: a row of `screened` with the values that `values` names as further columns.

    The values of aggregates are columns of their own because each is read many times, and DuckDB would compute what
    stands inside a CASE again wherever it stands.
    """

    def __init__(self, run: ColumnRun) -> None:
        self.run = run
        self.ruleset = run.ruleset
        self._truths: dict[Comparison, Truth] = {}
        self._values: dict[str, str] = {}
        # Places of rules about which nothing is asked of SQL.
        self.left_to_core: set[int] = set()

    def truth(self, comparison: Comparison) -> Truth:
        if comparison not in self._truths:
            self._truths[comparison] = self._truth(comparison)
        return self._truths[comparison]

    def values(self) -> dict[str, str]:
        """The columns that the other SQL reads: SQL over `screened` and the tables of the numbers → name."""
        for rule in self.ruleset.rules:
            for comparison in rule.comparisons:
                self.truth(comparison)
        return self._values

    def status_sql(self, place: int) -> str:
        """The letter of the rule's status: f, c or n; null where SQL is not asked."""
        if place in self.left_to_core:
            return "NULL::VARCHAR"
        sql = condition_sql(self.ruleset.rules[place].rule.condition, lambda leaf: self.truth(leaf).sql)
        return f"CASE {sql} WHEN TRUE THEN 'f' WHEN FALSE THEN 'c' ELSE 'n' END"

    def statuses_sql(self) -> str:
        if not self.ruleset.rules:
            return "''"
        if self.left_to_core:
            return "NULL::VARCHAR"
        return f"concat({', '.join(self.status_sql(place) for place in range(len(self.ruleset.rules)))})"

    def undecided_sql(self, places: Sequence[int] | None = None) -> str:
        """Whether SQL could not decide one of the rules (at `places`)."""
        if places is None and self.left_to_core:
            return "TRUE"
        rules = self.ruleset.rules if places is None else [self.ruleset.rules[place] for place in places]
        truths = {comparison: self.truth(comparison) for rule in rules for comparison in rule.comparisons}
        found = [truth.undecided for truth in truths.values() if truth.undecided is not None]
        return f"coalesce({' OR '.join(found)}, FALSE)" if found else "FALSE"

    # -- comparisons

    def _truth(self, comparison: Comparison) -> Truth:
        aggregates = aggregates_of(comparison)
        if not aggregates:
            return self._of_fields(comparison)
        if any(self.run.ruleset.index_of[each] in self.run.numbers.failed for each in aggregates):
            return Truth("NULL::BOOLEAN", "TRUE")
        left = self._side(comparison.left)
        if left is None:
            return Truth("NULL::BOOLEAN", "TRUE")
        if isinstance(comparison.right, Literal):
            return self._against_literal(comparison, left, comparison.right.value)
        right = self._side(comparison.right)
        if right is None or comparison.operator not in _SIGNS:
            return Truth("NULL::BOOLEAN", "TRUE")
        return _compared(comparison.operator, left, right)

    def _of_fields(self, comparison: Comparison) -> Truth:
        if compares_label(comparison):
            return Truth("NULL::BOOLEAN", "TRUE")
        sql = self.run.leaf_sql(comparison, "s")
        return Truth(sql, self.run.static["transaction"].failed_sql(comparison, "s"))

    def _against_literal(self, comparison: Comparison, left: Number, value: Any) -> Truth:
        if comparison.operator in ("is_null", "is_not_null"):
            return Truth(f"({left.double} IS {'NOT ' if comparison.operator == 'is_not_null' else ''}NULL)")
        if left.units is not None:
            exact = units_compared_sql(left.units, left.scale, comparison.operator, value)
            if exact is not None:
                return Truth(exact)
        if comparison.operator in _SIGNS and isinstance(value, Decimal):
            return _compared(comparison.operator, left, Number(f"{float(value)!r}::DOUBLE"))
        if comparison.operator == "between" and isinstance(value, tuple):
            low = _compared("gte", left, Number(f"{float(value[0])!r}::DOUBLE"))
            high = _compared("lte", left, Number(f"{float(value[1])!r}::DOUBLE"))
            return Truth(f"({low.sql} AND {high.sql})", f"({low.undecided} OR {high.undecided})")
        return Truth("NULL::BOOLEAN", f"({left.double} IS NOT NULL)")

    def _side(self, operand: Any) -> Number | None:
        match operand:
            case str(name):
                return self._field(name)
            case Aggregate():
                return self._aggregate(operand)
            case FieldValue(name, times, plus):
                return _scaled(self._field(name), times, plus)
            case AggregateValue(aggregate, times, plus):
                return _scaled(self._aggregate(aggregate), times, plus)
            case Literal(Decimal() as value):
                return Number(f"{float(value)!r}::DOUBLE")
        return None

    def _field(self, name: str) -> Number | None:
        if name == DISTANCE_TO_CURRENT.name:
            return None
        column = column_of("transaction", name)
        if column.keeping != "units":
            return None
        sql = f"s.{quoted(name)}"
        return Number(f"({sql}::DOUBLE / {float(10**column.scale)!r})", sql, column.scale)

    # -- aggregates

    def _aggregate(self, aggregate: Aggregate) -> Number | None:
        index = self.run.ruleset.index_of[aggregate]
        names = self.run.numbers.measures[index].kept
        found = dict(zip(names, self.run.numbers.places[index], strict=True))
        known = self._known(aggregate)
        if aggregate.bucket_us is not None:
            numbers = {
                name.removeprefix("bucket_"): sql for name, sql in found.items() if name.startswith("bucket_")
            }
            scale = 0 if aggregate.of == "count" else scale_of(aggregate)
            return self._kept(
                _guarded(_of_moments(aggregate.function, numbers, scale, found["newest"]), known)
            )
        return self._kept(_guarded(self._plain(aggregate, found), known))

    def _kept(self, number: Number | None) -> Number | None:
        """The number as columns of its own."""
        if number is None:
            return None
        units = None if number.units is None else self._value(number.units)
        error = number.error if number.error in _PLAIN_ERRORS else self._value(number.error)
        return Number(self._value(number.double), units, number.scale, error)

    def _value(self, sql: str) -> str:
        return f"s.{self._values.setdefault(sql, f'x{len(self._values)}')}"

    def _known(self, aggregate: Aggregate) -> str:
        """Whether nothing that the aggregate needs of the screened event is missing."""
        conditions = [
            f"s.{quoted(group_column(key.current_field))} IS NOT NULL" for key in aggregate.group_by
        ]
        for name in aggregate.current_fields:
            if name == DISTANCE_TO_CURRENT.name:
                conditions.append("s.latitude IS NOT NULL AND s.longitude IS NOT NULL")
            else:
                conditions.append(f"s.{quoted(name)} IS NOT NULL")
        return " AND ".join(dict.fromkeys(conditions))

    def _plain(self, aggregate: Aggregate, found: dict[str, str]) -> Number | None:
        function = aggregate.function
        if function == "count":
            return _exact(f"coalesce({found['count']}, 0)", 0)
        if function == "distinct_count":
            return _exact(f"coalesce({found['distinct']}, 0)", 0)
        if function in ("seconds_since_first", "seconds_since_last"):
            return _exact(f"(s.us - {found['first' if function.endswith('first') else 'last']})", 6)
        if function in FROM_PREVIOUS:
            return _distance(function, found)
        current = None
        scale = scale_of(aggregate)
        if function == "zscore" and aggregate.field is not None:
            if aggregate.field == "label.is_fraud":
                return None
            current = units_sql("transaction", aggregate.field, scale, "s")
            if current is None:
                return None
        return _of_moments(function, found, scale, current)


def _exact(units: str, scale: int) -> Number:
    double = f"{units}::DOUBLE" if scale == 0 else f"({units}::DOUBLE / {float(10**scale)!r})"
    return Number(double, units, scale)


def _of_moments(function: str, found: dict[str, str], scale: int, current: str | None) -> Number | None:
    match function:
        case "sum":
            return _exact(f"coalesce({found['total']}, 0)", scale)
        case "min":
            return _exact(found["low"], scale)
        case "max":
            return _exact(found["high"], scale)
        case "avg":
            return Number(f"({found['total']}::DOUBLE / nullif({found['n']}, 0) / {float(10**scale)!r})")
        case "median":
            return Number(
                f"(({found['lower']}::HUGEINT + {found['upper']}::HUGEINT)::DOUBLE / {2 * float(10**scale)!r})"
            )
        case "benford_chi2":
            return _benford(found)
        case "stddev" | "zscore" if "squares" in found:
            return _spread(function, found, scale, current)
    return None


def _spread(function: str, found: dict[str, str], scale: int, current: str | None) -> Number:
    """Through n(n−1) × variance as a whole number; where that overflows, nothing is known here (and `_compared`
    asks the core)."""
    n, total, squares = (f"{found[name]}::HUGEINT" for name in ("n", "total", "squares"))
    numerator = f"TRY({n} * {squares} - {total} * {total})::DOUBLE"
    deviation = f"sqrt({numerator} / ({found['n']}::DOUBLE * ({found['n']} - 1)))"
    if function == "stddev":
        double = f"({deviation} / {float(10**scale)!r})"
        return Number(f"CASE WHEN {found['n']} >= 2 THEN coalesce({double}, 'nan'::DOUBLE) END")
    distance = f"(TRY({current}::HUGEINT * {n} - {total})::DOUBLE / {found['n']})"
    known = f"{found['n']} >= 2 AND {current} IS NOT NULL AND coalesce({numerator}, 1) > 0"
    return Number(f"CASE WHEN {known} THEN coalesce({distance} / {deviation}, 'nan'::DOUBLE) END")


def _benford(found: dict[str, str]) -> Number:
    digits = [f"coalesce({found[f'digit{d}']}, 0)" for d in range(1, 10)]
    number = "(" + " + ".join(digits) + ")"
    terms = " + ".join(
        f"power({digit} - {number} * log10(1.0 + 1.0 / {d})::DOUBLE, 2) / ({number} * log10(1.0 + 1.0 / {d})::DOUBLE)"
        for d, digit in enumerate(digits, 1)
    )
    return Number(
        f"CASE WHEN {number} >= {limits.MIN_BENFORD_VALUES} THEN ({terms})::DOUBLE END", error="1e-6"
    )


def _distance(function: str, found: dict[str, str]) -> Number:
    def angle(units: str) -> str:
        return f"radians({units}::DOUBLE / 1e9)"

    there_lat, there_long = angle(found["latitude"]), angle(found["longitude"])
    here_lat, here_long = angle("s.latitude"), angle("s.longitude")
    chord = (
        f"(power(sin(({here_lat} - {there_lat}) / 2), 2) + cos({there_lat}) * cos({here_lat}) "
        f"* power(sin(({here_long} - {there_long}) / 2), 2))"
    )
    # LEAST passes over NULL, so its absence is asked for.
    arc = f"{2 * EARTH_RADIUS_KM!r}::DOUBLE * asin(least(1.0, sqrt{chord}))"
    distance = f"(CASE WHEN {chord} IS NOT NULL THEN {arc} END)"
    if function == "distance_km_from_previous":
        return Number(distance, error="1e-3")
    elapsed = f"(greatest((s.us - {found['occurred']}) / 1e6, 1.0) / 3600)"
    return Number(f"({distance} / {elapsed})", error=f"(1e-3 / {elapsed})")


def _guarded(number: Number | None, known: str) -> Number | None:
    if number is None:
        return None
    units = None if number.units is None else f"(CASE WHEN {known} THEN {number.units} END)"
    return Number(f"(CASE WHEN {known} THEN {number.double} END)", units, number.scale, number.error)


def _scaled(number: Number | None, times: Decimal, plus: Decimal) -> Number | None:
    if number is None:
        return None
    if times == 1 and plus == 0:
        return number
    double = f"({number.double} * {float(times)!r} + {float(plus)!r})"
    # A sum of a product and a constant may cancel: the error is of the parts.
    error = f"({number.error} * {abs(float(times))!r} + abs({number.double} * {float(times)!r}) * 1e-11)"
    return Number(double, error=error)


def _compared(operator: str, left: Number, right: Number) -> Truth:
    sign = _SIGNS[operator]
    if left.units is not None and right.units is not None and left.scale == right.scale:
        return Truth(f"({left.units} {sign} {right.units})")
    gap = f"abs({left.double} - {right.double})"
    size = f"greatest(abs({left.double}), abs({right.double}))"
    tolerance = f"({size} * {_RELATIVE_ERROR} + {left.error} + {right.error} + 1e-300)"
    # NaN (nothing known) is larger than everything in SQL: it must be undecided, not far away.
    far = f"({gap} > {tolerance} AND NOT isnan({gap}) AND NOT isinf({gap}))"
    present = f"({left.double} IS NOT NULL AND {right.double} IS NOT NULL)"
    return Truth(f"({left.double} {sign} {right.double})", f"({present} AND NOT {far})")
