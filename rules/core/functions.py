"""The aggregate functions, as data: what they are over, what they come to over nothing, what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from rules.core.fields import Kind
from rules.core.values import ZERO

Unit = Literal["events", "values", "field", "score", "seconds", "km", "km/h", "chi2"]
_NUMERIC: tuple[Kind, ...] = ("number", "money", "boolean", "any")
_ANY: tuple[Kind, ...] = ("text", "number", "money", "boolean", "time", "any")


@dataclass(frozen=True, slots=True)
class AggregateFunction:
    """`kinds` are the fields it applies to, empty when it takes none. `over_nothing` is its value over no events.

    `is_scan` marks the functions that read the events of the window one by one (see limits.MAX_SCANNED_EVENTS).
    `over_buckets` and `of_buckets` mark those that may be taken over per-bucket totals, and be such a total.
    """

    name: str
    label: str
    kinds: tuple[Kind, ...]
    unit: Unit
    description: str
    over_nothing: Decimal | None = None
    is_scan: bool = False
    over_buckets: bool = False
    of_buckets: bool = False
    minimum: Decimal | None = None

    @property
    def needs_field(self) -> bool:
        return bool(self.kinds) and self.name != "count"


def _table(*functions: AggregateFunction) -> dict[str, AggregateFunction]:
    return {function.name: function for function in functions}


AGGREGATES: dict[str, AggregateFunction] = _table(
    AggregateFunction(
        "count",
        "number",
        _ANY,
        "events",
        "how many events, whether `field` is null or not",
        over_nothing=ZERO,
        of_buckets=True,
        minimum=ZERO,
    ),
    AggregateFunction(
        "sum", "total", _NUMERIC, "field", "exact sum; 0 over nothing", over_nothing=ZERO, of_buckets=True
    ),
    AggregateFunction("avg", "average", _NUMERIC, "field", "mean, 12 significant digits", over_buckets=True),
    AggregateFunction("min", "smallest", _NUMERIC, "field", "exact minimum", over_buckets=True),
    AggregateFunction("max", "largest", _NUMERIC, "field", "exact maximum", over_buckets=True),
    AggregateFunction(
        "distinct_count",
        "number of different",
        _ANY,
        "values",
        "how many different values, nulls apart",
        over_nothing=ZERO,
        minimum=ZERO,
    ),
    AggregateFunction(
        "stddev",
        "standard deviation",
        _NUMERIC,
        "field",
        "the sample's, of at least two values; 12 significant digits",
        over_buckets=True,
        minimum=ZERO,
    ),
    AggregateFunction(
        "zscore",
        "z-score",
        _NUMERIC,
        "score",
        "(the current value − mean) / standard deviation, 12 significant digits; unknown without variance",
        over_buckets=True,
    ),
    AggregateFunction(
        "median",
        "median",
        _NUMERIC,
        "field",
        "the middle value, or the mean of the middle two; 12 significant digits",
        is_scan=True,
        over_buckets=True,
    ),
    AggregateFunction(
        "seconds_since_first",
        "time since the first",
        (),
        "seconds",
        "from the oldest event of the window, to the µs",
        minimum=ZERO,
    ),
    AggregateFunction(
        "seconds_since_last",
        "time since the last",
        (),
        "seconds",
        "from the newest event of the window, to the µs: 0 unless `exclude_current`",
        minimum=ZERO,
    ),
    AggregateFunction(
        "distance_km_from_previous",
        "distance from the previous",
        (),
        "km",
        "great-circle km from the newest earlier event of the window that has coordinates",
        minimum=ZERO,
    ),
    AggregateFunction(
        "speed_kmh_from_previous",
        "speed from the previous",
        (),
        "km/h",
        "that distance over the time since, of at least one second",
        minimum=ZERO,
    ),
    AggregateFunction(
        "benford_chi2",
        "Benford deviation",
        _NUMERIC,
        "chi2",
        "χ² of the first significant digits against log10(1 + 1/d); unknown below 50 values",
        minimum=ZERO,
    ),
)
FROM_PREVIOUS = ("distance_km_from_previous", "speed_kmh_from_previous")
BUCKET_TOTALS = tuple(name for name, function in AGGREGATES.items() if function.of_buckets)
