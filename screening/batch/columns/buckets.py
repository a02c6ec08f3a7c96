"""Functions over the totals of trailing buckets, for all screened transactions at once and without pairs.

The buckets slide with the transaction: of t the newest is (t − b, t], the one before (t − 2b, t − b]. With the events
of a group beside each other, in order, and their running total, a bucket's total is the difference of two places in
it, and a place is found by bisection. So what a transaction costs depends on the number of its buckets and hardly on
how many events are in them, where a join takes every pair. Aggregates over the same buckets share the work.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from screening.batch.columns.stage import Stage
from screening.batch.columns.windows import Measure, bounds_of

Integers = npt.NDArray[np.int64]
# (what is summed, None for counts; whether the newest bucket is left out; which number of it) → place.
Columns = dict[tuple[str | None, bool, str], int]

# How many totals of a kind are in memory at once: 4 MiB of them, so that the memory all of them need stays small
# beside DuckDB's.
_TOTALS = 500_000
# Totals below it have squares whose sums, taken in three parts, fit into 64 bits for every number of buckets.
_LARGEST_TOTAL = 2**51
_HALF_BITS = 24
_LOW_HALF = 2**_HALF_BITS - 1
_RANK_BITS = 32


class TooLarge(Exception):
    """A total may not fit: such numbers are left to DuckDB's 128 bits."""


@dataclass(frozen=True)
class Buckets:
    """Measures over the same buckets: same events, filters, group, window and length."""

    measures: tuple[Measure, ...]

    @property
    def number(self) -> int:
        aggregate = self.measures[0].aggregate
        return (aggregate.window_us or 0) // (aggregate.bucket_us or 1)

    def values(self) -> dict[str, str]:
        """What is summed: SQL over a counted event → its name among the columns of events. Counts need nothing."""
        found = (each.value_sql for each in self.measures if each.aggregate.of != "count" and each.value_sql)
        return {sql: f"v{place}" for place, sql in enumerate(dict.fromkeys(found))}


def buckets_of(measures: Sequence[Measure]) -> list[Buckets]:
    """The measures, each with those that share its buckets."""
    shared: dict[tuple[object, ...], list[Measure]] = {}
    for each in measures:
        aggregate = each.aggregate
        spans = (aggregate.window_us, aggregate.bucket_us, aggregate.delay_us)
        shared.setdefault((aggregate.event, each.group, each.matches_sql, *spans), []).append(each)
    return [Buckets(tuple(each)) for each in shared.values()]


def numbers_stream(stage: Stage, buckets: Buckets) -> tuple[pa.RecordBatchReader, dict[int, list[str]]]:
    """(rows of pos and columns of numbers, for each measure's index the SQL of its numbers over these columns).

    Raises TooLarge before the first row or while they are read.
    """
    columns: Columns = {}
    places: dict[int, list[str]] = {}
    for measure in buckets.measures:
        places[measure.index] = [_number_sql(columns, measure, name) for name in measure.kept]
    schema = pa.schema([("pos", pa.int32()), *((f"n{place}", pa.int64()) for place in range(len(columns)))])
    events = _Events.read(stage, buckets)
    return pa.RecordBatchReader.from_batches(
        schema, _batches(stage, buckets, events, columns, schema)
    ), places


def _number_sql(columns: Columns, measure: Measure, name: str) -> str:
    """The number as SQL; the columns it is made of are added, unless another measure has added them."""
    aggregate = measure.aggregate
    value_sql = None if aggregate.of == "count" else measure.value_sql

    def column(part: str) -> str:
        place = columns.setdefault((value_sql, aggregate.exclude_current, part), len(columns))
        return f"n{place}"

    match name:
        # Sums of squares go as one number, whatever parts SQL would have taken them in.
        case "bucket_squares_aa" | "bucket_squares_ab":
            return "0"
        case "bucket_squares" | "bucket_squares_bb":
            high, middle, low = (column(part) for part in ("squares_high", "squares_middle", "squares_low"))
            return f"({high}::HUGEINT * {2 ** (2 * _HALF_BITS)} + {middle}::HUGEINT * {2 ** (_HALF_BITS + 1)} + {low})"
    return column(name)


# Reading.


@dataclass(frozen=True)
class _Events:
    """The matching events in order. `us`, `pos`: of all groups, in order. `keys`: of (group, place in that order),
    ascending; `running[value]`: the total of the first n of them, for n = 0, 1, 2 …"""

    us: Integers
    pos: npt.NDArray[np.int32]
    keys: Integers
    running: dict[str, Integers]

    @classmethod
    def read(cls, stage: Stage, buckets: Buckets) -> _Events:
        measure = buckets.measures[0]
        values = buckets.values()
        selected = "".join(f", coalesce({sql}, 0)::BIGINT AS {name}" for sql, name in values.items())
        low = bounds_of(measure.aggregate, stage.offset_columns).low
        earliest = stage.one(f"SELECT coalesce(min({low}), 0) FROM screened")
        rows = stage.run(
            f"SELECT e.pos AS pos, e.us AS us, e.ge{measure.group} AS g{selected} FROM ev_{measure.aggregate.event} e "
            f"WHERE e.ge{measure.group} IS NOT NULL AND e.pos >= {earliest} AND ({measure.matches_sql})"
        ).fetchnumpy()
        order = np.argsort(rows["pos"])
        keys = (rows["g"][order].astype(np.int64) << _RANK_BITS) + np.arange(len(order))
        by_key = np.argsort(keys)
        running = {}
        for sql, name in values.items():
            found = np.asarray(rows[name])[order][by_key]
            if len(found) and max(int(found.max()), -int(found.min())) * len(found) >= 2**62:
                raise TooLarge(f"sums of {name} may not fit into 64 bits")
            running[sql] = np.concatenate(([0], np.cumsum(found)))
        return cls(np.asarray(rows["us"])[order], np.asarray(rows["pos"])[order], keys[by_key], running)


def _batches(
    stage: Stage,
    buckets: Buckets,
    events: _Events,
    columns: Columns,
    schema: pa.Schema,
) -> Iterator[pa.RecordBatch]:
    measure = buckets.measures[0]
    bounds = bounds_of(measure.aggregate, stage.offset_columns)
    reading = stage.database.cursor()
    reader = reading.sql(
        f"SELECT pos, us, coalesce(gq{measure.group}, -1) AS g, {bounds.low} AS first, {bounds.high} + 1 AS behind "
        "FROM screened"
    ).to_arrow_reader(max(1_000, _TOTALS // (buckets.number + 1)))
    for batch in reader:
        stage.checkpoint()
        screened = {name: batch.column(name).to_numpy() for name in ("pos", "us", "g", "first", "behind")}
        order = np.lexsort((screened["pos"], screened["g"]))
        screened = {name: values[order] for name, values in screened.items()}
        totals = _Totals(events, _places(buckets, events, screened))
        found = [totals.number(*each) for each in columns]
        yield pa.RecordBatch.from_arrays([pa.array(screened["pos"], pa.int32()), *found], schema=schema)
    reading.close()


def _places(buckets: Buckets, events: _Events, screened: dict[str, Any]) -> Integers:
    """For each transaction the places among the keys between which its buckets are: one row each, oldest first."""
    aggregate, number = buckets.measures[0].aggregate, buckets.number
    keys = np.empty((len(screened["pos"]), number + 1), dtype=np.int64)
    keys[:, 0] = np.searchsorted(events.pos, screened["first"])
    keys[:, number] = np.searchsorted(events.pos, screened["behind"])
    for back in range(1, number):
        end_us = screened["us"] - (aggregate.delay_us + back * (aggregate.bucket_us or 0))
        keys[:, number - back] = np.searchsorted(events.us, end_us, side="right")
    keys += screened["g"].astype(np.int64)[:, np.newaxis] << _RANK_BITS
    return np.searchsorted(events.keys, keys.ravel()).reshape(keys.shape)


class _Totals:
    """Totals of the buckets of some transactions: one row each, oldest bucket first."""

    def __init__(self, events: _Events, places: Integers) -> None:
        self.events = events
        self.places = places
        self._known: dict[str | None, Integers] = {}

    def of(self, value_sql: str | None) -> Integers:
        """None: counts."""
        if value_sql not in self._known:
            running = self.places if value_sql is None else self.events.running[value_sql][self.places]
            totals = np.diff(running, axis=1)
            if totals.size and max(int(totals.max()), -int(totals.min())) >= _LARGEST_TOTAL:
                raise TooLarge("the squares of totals may not fit into 64 bits")
            self._known[value_sql] = totals
        return self._known[value_sql]

    def number(self, value_sql: str | None, exclude_current: bool, name: str) -> Integers:
        if name == "events":
            return self.places[:, -1] - self.places[:, 0]
        totals = self.of(value_sql)
        if name == "newest":
            return totals[:, -1]
        baseline = totals[:, :-1] if exclude_current else totals
        size = baseline.shape[1]
        match name:
            case "bucket_count" | "bucket_n":
                return np.full(len(baseline), size, dtype=np.int64)
            case "bucket_total":
                return baseline.sum(axis=1)
            case "bucket_low":
                return baseline.min(axis=1)
            case "bucket_high":
                return baseline.max(axis=1)
            case "bucket_lower":
                return np.partition(baseline, (size - 1) // 2, axis=1)[:, (size - 1) // 2]
            case "bucket_upper":
                return np.partition(baseline, size // 2, axis=1)[:, size // 2]
            case "squares_high":
                return np.square(baseline >> _HALF_BITS).sum(axis=1)
            case "squares_middle":
                return ((baseline >> _HALF_BITS) * (baseline & _LOW_HALF)).sum(axis=1)
            case "squares_low":
                return np.square(baseline & _LOW_HALF).sum(axis=1)
        raise ValueError(f"{name} is not made of buckets")
