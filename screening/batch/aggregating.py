"""Aggregates over stored transactions, by group: the language's functions without a screened transaction.

Answers are kept in Redis for CACHE_S at most, under what was asked and how far the tables had come: a new
transaction, correction or label is seen at once, and whatever else changes (a transaction that was pending, time
going on in a window that ends now) within CACHE_S.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import structlog
from django.conf import settings
from django.core.cache import cache
from django.db import connection
from redis.exceptions import RedisError

from fraudsite.errors import FieldError, Invalid, Unprocessable
from fraudsite.exact_json import to_json
from rules.core.aggregates import FROM_PREVIOUS
from rules.core.compile import CompiledRuleset
from rules.core.durations import from_us, parse_duration, to_us
from rules.core.fields import FIELDS, is_metadata_path
from rules.core.model import Aggregate, Condition, GroupKey
from rules.core.parse_aggregates import read_aggregate
from rules.core.parse_scope import Scope as ParseScope
from rules.core.parse_values import Problems
from rules.core.values import number_text, plain
from rules.list_selectors import list_names
from rules.selectors import lists_snapshot
from screening.batch import requests
from screening.batch.columns.engine import ColumnRun
from screening.batch.columns.fields import Column, column_of, group_column, quoted
from screening.batch.columns.measures import MeasureMaker, sized
from screening.batch.columns.raws import result_of
from screening.batch.columns.scope import Scope
from screening.batch.columns.stage import Memory
from screening.batch.columns.windows import grouped_sql

log = structlog.get_logger(__name__)

CACHE_S = 10
MAX_GROUPS = 10_000
KEYS = ("aggregate_function", "field", "group_by", "filters", "time_window", "date_from", "date_to")
EVERYTHING = "all"
_NOT_VALID = "The input is not valid."
# These compare with a screened transaction, and here is none.
_WITHOUT_MEANING = ("zscore", *FROM_PREVIOUS)


@dataclass(frozen=True)
class AggregateQuery:
    """What is asked: `aggregate` with the groups it is wanted by (none: one value), over (start, end].

    Labels count as they were known at `labels_us`.
    """

    aggregate: Aggregate
    groups: tuple[str, ...]
    filters: tuple[Condition, ...]
    from_us: int | None
    to_us: int
    labels_us: int


def aggregate_answer(*, body: Any) -> dict[str, Any]:
    """`{result, groups, cache_hit, computation_time_ms, as_of}`. Raises Invalid or Unprocessable."""
    started = time.perf_counter()
    now = datetime.now(UTC)
    query = query_read(body, now=now)
    key = _key(body)
    kept = _kept(key)
    if kept is None:
        kept = {**_computed(query), "as_of": now.isoformat().replace("+00:00", "Z")}
        _keep(key, kept)
        is_hit = False
    else:
        is_hit = True
    return {
        **kept,
        "cache_hit": is_hit,
        "cache_max_age_s": CACHE_S,
        "computation_time_ms": round((time.perf_counter() - started) * 1_000, 3),
    }


# Reading the request.


def query_read(body: Any, *, now: datetime) -> AggregateQuery:
    requests.keys_check(body, KEYS)
    asked: Mapping[str, Any] = body
    groups = _groups(asked.get("group_by"))
    aggregate = _aggregate(asked, groups)
    date_from, date_to = requests.range_read(asked)
    end = date_to or now
    from_us = requests.us_of(date_from)
    window = asked.get("time_window")
    if window is not None and window != "lifetime":
        window_us = parse_duration(window)
        if window_us is None:
            raise Invalid(
                _NOT_VALID, [FieldError("time_window", 'expected a duration such as "24h", or "lifetime"')]
            )
        if date_from is not None:
            raise Invalid(_NOT_VALID, [FieldError("time_window", "give either time_window or date_from")])
        # (end − w, end]: the first microsecond after the bound.
        from_us = to_us(max(end, datetime(1971, 1, 1, tzinfo=UTC))) - window_us + 1
    filters = requests.filters_read(asked.get("filters"), "filters")
    return AggregateQuery(
        aggregate,
        groups,
        filters,
        from_us,
        to_us(end + timedelta(minutes=10)) if date_to is None else to_us(end),
        to_us(end),
    )


def _groups(written: Any) -> tuple[str, ...]:
    if written is None:
        return ()
    names = [written] if isinstance(written, str) else written
    if not isinstance(names, list) or len(names) > 5:
        raise Invalid(_NOT_VALID, [FieldError("group_by", "expected a field, or a list of at most 5 fields")])
    errors = []
    for index, name in enumerate(names):
        path = f"group_by[{index}]" if isinstance(written, list) else "group_by"
        if not isinstance(name, str) or not (name in FIELDS["transaction"] or is_metadata_path(name)):
            errors.append(FieldError(path, "is not a field of transactions"))
        elif FIELDS["transaction"].get(name) is not None and not FIELDS["transaction"][name].can_group:
            errors.append(FieldError(path, f"transactions cannot be grouped by {name}"))
    if errors:
        raise Invalid(_NOT_VALID, errors)
    return tuple(dict.fromkeys(names))


def _aggregate(asked: Mapping[str, Any], groups: Sequence[str]) -> Aggregate:
    name = asked.get("aggregate_function")
    if name in _WITHOUT_MEANING:
        message = f"{name} compares with a screened transaction; here is none"
        raise Invalid(_NOT_VALID, [FieldError("aggregate_function", message)])
    problems = Problems(known_lists=list_names())
    scope = ParseScope(problems, ("transaction",), (), in_filter=True)
    document = {"aggregate_function": name, "field": asked.get("field"), "time_window": "lifetime"}
    aggregate = read_aggregate(scope, document, "")
    if aggregate is None or problems.errors:
        raise Invalid(
            _NOT_VALID,
            [
                FieldError(
                    each.path or "$",
                    each.message + (f" (did you mean {each.suggestion!r}?)" if each.suggestion else ""),
                )
                for each in problems.errors
            ],
        )
    return Aggregate(
        function=aggregate.function,
        event="transaction",
        field=None if aggregate.function == "count" else aggregate.field,
        group_by=tuple(GroupKey(name, name) for name in groups),
    )


# The cache.


def _key(body: Mapping[str, Any]) -> str:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT max(id) FROM ingestion_transaction), (SELECT max(id) FROM ingestion_transactionrevision), "
            "(SELECT max(id) FROM ingestion_label), (SELECT max(number) FROM rules_rulesetversion)"
        )
        come = cursor.fetchone()
    asked = orjson.dumps(orjson.loads(to_json(dict(body))), option=orjson.OPT_SORT_KEYS)
    return "aggregate:" + hashlib.blake2b(asked + repr(come).encode(), digest_size=16).hexdigest()


def _kept(key: str) -> dict[str, Any] | None:
    try:
        found = cache.get(key)
    except (RedisError, OSError):
        return None
    return None if found is None else _decimals(orjson.loads(found))


def _keep(key: str, value: dict[str, Any]) -> None:
    """Values as text, so that no digit is lost."""
    groups = [
        {**each, "value": None if each["value"] is None else str(each["value"])} for each in value["groups"]
    ]
    try:
        cache.set(key, to_json({"groups": groups, "as_of": value["as_of"]}), timeout=CACHE_S)
    except (RedisError, OSError) as error:
        log.warning("aggregate_not_kept", reason=str(error))


def _decimals(kept: dict[str, Any]) -> dict[str, Any]:
    groups = [
        {**each, "value": None if each["value"] is None else Decimal(each["value"])}
        for each in kept["groups"]
    ]
    return {"result": _result(groups), "groups": groups, "as_of": kept["as_of"]}


# Computing.


def _computed(query: AggregateQuery) -> dict[str, Any]:
    scope = Scope(from_us=query.from_us, to_us=query.to_us, filters=query.filters, labels_us=query.labels_us)
    lists = lists_snapshot()
    with tempfile.TemporaryDirectory(prefix="fraudsite-aggregate-") as folder:
        memory = Memory(Path(folder), settings.BATCH_MEMORY_LIMIT, settings.BATCH_THREADS)
        with ColumnRun(CompiledRuleset([]), lists, scope, memory) as run:
            field = query.aggregate.field
            run.needs.add_fields("transaction", [*query.groups, *([field] if field else [])])
            if query.aggregate.field == "amount":
                run.needs.add_fields("transaction", ["currency"])
            run.prepare()
            _check_currencies(run, query)
            groups = _by_group(run, query)
    return {"result": _result(groups), "groups": groups}


def _check_currencies(run: ColumnRun, query: AggregateQuery) -> None:
    """Amounts of different currencies do not add up."""
    if query.aggregate.field != "amount" or "currency" in query.groups:
        return
    found = [
        row[0]
        for row in run.stage.run("SELECT DISTINCT currency FROM screened ORDER BY 1 LIMIT 6").fetchall()
    ]
    if len(found) > 1:
        raise Unprocessable(
            "The amounts are in several currencies.",
            [
                FieldError(
                    "field",
                    f"amounts are in {', '.join(found)}: group by or filter on currency, or use base_amount",
                )
            ],
        )


def _by_group(run: ColumnRun, query: AggregateQuery) -> list[dict[str, Any]]:
    run.needs.groups.setdefault(("transaction", query.groups, query.groups), len(run.needs.groups))
    maker = MeasureMaker(run.needs, run.lists, run.static, then=False, labels_us=query.labels_us)
    measure = sized(run.stage, maker.measures([query.aggregate])[0])
    columns = [column_of("transaction", name) for name in query.groups]
    rows = run.stage.run(
        grouped_sql(
            measure, [(quoted(group_column(c.name)), quoted(c.name)) for c in columns], MAX_GROUPS + 1
        )
    ).fetchall()
    if len(rows) > MAX_GROUPS:
        raise Unprocessable(
            "There are too many groups.", [FieldError("group_by", f"gives more than {MAX_GROUPS} groups")]
        )
    moment = {"occurred_at": from_us(query.to_us)}
    if not rows and not query.groups:
        rows = [tuple([0] + [None] * (len(measure.raws) - 1))]
    found = []
    for row in rows:
        values, numbers = row[: len(columns)], row[len(columns) :]
        result = result_of(_ungrouped(query.aggregate), numbers, moment)
        found.append(
            {
                "values": {c.name: _shown(c, value) for c, value in zip(columns, values, strict=True)},
                "value": result.value,
                "events": numbers[0] or 0,
            }
        )
    return found


def _ungrouped(aggregate: Aggregate) -> Aggregate:
    """The group is settled already: nothing of it can be missing."""
    return Aggregate(aggregate.function, aggregate.event, aggregate.field, ())


def _shown(column: Column, value: Any) -> Any:
    decoded = plain(column.decode(value))
    return number_text(decoded) if isinstance(decoded, Decimal) else decoded


def _result(groups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """{group: value}; the values of several fields are joined by |, what is | in one is \\|; no group is "all"."""
    return {_name(each["values"]): each["value"] for each in groups}


def _name(values: Mapping[str, Any]) -> str:
    if not values:
        return EVERYTHING
    texts = [
        "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        for value in values.values()
    ]
    if len(texts) == 1:
        return texts[0]
    # Else two groups could have one name, and the one would replace the other.
    return "|".join(text.replace("\\", "\\\\").replace("|", "\\|") for text in texts)


__all__ = ["CACHE_S", "aggregate_answer", "query_read"]
