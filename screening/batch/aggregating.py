"""Aggregates over stored transactions, by group: the language's functions without a screened transaction.

Answers are kept in Redis for CACHE_S at most, under what was asked and how far the tables had come: a new
transaction, correction or label is seen at once, and whatever else changes (a transaction that was pending, time
going on in a window that ends now) within CACHE_S.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from django.core.cache import cache
from django.db import connection
from redis.exceptions import RedisError

from fraudsite.absence import Absence
from fraudsite.exact_json import from_json, to_json
from screening.batch.aggregate_query import AggregateQuery, query_read

log = structlog.get_logger(__name__)

CACHE_S = 10
# Whoever meets a Redis that hangs waits for one time-out; it is then left alone this long.
CACHE_PAUSE_S = 5.0
_cache_absence = Absence(CACHE_PAUSE_S)


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
    found = _said_by_cache(lambda: cache.get(key))
    if found is None:
        return None
    kept = from_json(found)
    return {"result": _result(kept["groups"]), **kept}


def _keep(key: str, value: dict[str, Any]) -> None:
    document = to_json({"groups": value["groups"], "as_of": value["as_of"]}).decode()
    _said_by_cache(lambda: cache.set(key, document, timeout=CACHE_S))


def _said_by_cache(ask: Callable[[], Any]) -> Any:
    """What `ask` returns, None while Redis is away."""
    if not _cache_absence.may_try():
        return None
    try:
        said = ask()
    except (RedisError, OSError) as error:
        _cache_absence.begins()
        log.warning("aggregate_cache_away", reason=str(error))
        return None
    _cache_absence.over()
    return said


def _computed(query: AggregateQuery) -> dict[str, Any]:
    # The column engine is imported by the first who asks for an aggregate, not by every process.
    from screening.batch.aggregate_computing import groups_computed

    groups = groups_computed(query)
    return {"result": _result(groups), "groups": groups}


def _result(groups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {each["name"]: each["value"] for each in groups}
