"""`/metrics`: what every process counted of its own requests, and what the platform as a whole is doing.

The platform's figures are read from the database and the broker, so they hold whichever process did the work and
survive restarts. They are gauges over a trailing window that their names say, kept for a few seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

import structlog
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse
from django_prometheus.exports import ExportToDjangoView
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily

from fraudsite.postgresql.base import database_is_read_only
from fraudsite.short_cache import kept
from reporting.pipeline import (
    beats_alive,
    pending_lag_s,
    pipeline_health,
    velocity_memory_bytes,
    workers_alive,
)
from reporting.workload import cases_workload
from rules.selectors import rules_in_force

KEPT_S = 5
LONG_S, TIMES_KEPT = 0.2, 10
OUTCOMES = ("approve", "review", "block")
QUANTILES = (0.5, 0.95, 0.99)
log = structlog.get_logger(__name__)

_DECISIONS = """
SELECT outcome, count(*), count(*) FILTER (WHERE degraded), percentile_cont(ARRAY[0.5, 0.95, 0.99])
    WITHIN GROUP (ORDER BY duration_ms) FROM screening_decision
WHERE created_at > now() - interval '60 seconds' GROUP BY GROUPING SETS ((outcome), ())
"""
_RULES = """
SELECT h.rule_id, r.name, h.status, h.is_shadow, count(*) FROM screening_rulehit h JOIN rules_rule r ON r.id = h.rule_id
WHERE h.created_at > now() - interval '60 seconds' GROUP BY 1, 2, 3, 4
"""


def metrics(request: HttpRequest) -> HttpResponse:
    own, media_type = _requests.export(request)
    platform = kept("metrics", KEPT_S, platform_metrics)
    return HttpResponse(own + platform, content_type=media_type)


class _Requests:
    """What the processes counted, added up. Anybody may ask, and whoever asks for much that there is not makes it long:
    what took long is kept for a multiple of that, so that it is never most of what a process does."""

    def __init__(self) -> None:
        self._took_s = 0.0

    def export(self, request: HttpRequest) -> tuple[bytes, str]:
        keep_s = TIMES_KEPT * self._took_s if self._took_s >= LONG_S else 0.0
        found: tuple[bytes, str] = kept("metrics-requests", keep_s, lambda: self._add_up(request))
        return found

    def _add_up(self, request: HttpRequest) -> tuple[bytes, str]:
        began = time.monotonic()
        response = ExportToDjangoView(request)
        self._took_s = time.monotonic() - began
        return response.content, response.headers["Content-Type"]


_requests = _Requests()


def platform_metrics() -> bytes:
    """In Prometheus's text format. Without the database only `fraudsite_platform_up 0`."""
    registry = CollectorRegistry()
    registry.register(_Platform())
    return generate_latest(registry)


class _Platform:
    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        try:
            families = [*_decisions(), *_rules(), *_pipeline(), *_redis(), _cases()]
            is_up = not database_is_read_only()
        except DatabaseError as error:
            log.warning("metrics_without_database", error=type(error).__name__)
            families, is_up = [], False
        yield _gauge("platform_up", "Whether the database answers and takes writes", is_up)
        yield from families


def _decisions() -> list[Metric]:
    made = _family("decisions_last_minute", "Decisions of the last 60 s", "outcome")
    latency = _family("decision_duration_ms", "Time to decide, over the last 60 s", "quantile")
    degraded = 0
    # None of a kind is 0, not a gap in the graph.
    counts = dict.fromkeys(OUTCOMES, 0)
    for outcome, count, over_sql, quantiles in _rows(_DECISIONS):
        if outcome is not None:
            counts[outcome] = count
            continue
        degraded = over_sql
        for name, value in zip(QUANTILES, quantiles or (), strict=False):
            latency.add_metric([str(name)], value)
    for outcome, count in counts.items():
        made.add_metric([outcome], count)
    return [
        made,
        latency,
        _gauge("decisions_degraded_last_minute", "Decided over SQL in the last 60 s", degraded),
    ]


def _rules() -> list[Metric]:
    hits = _family(
        "rule_hits_last_minute",
        "Rule results that are not clean, of the last 60 s",
        "rule_id",
        "rule",
        "status",
    )
    for rule_id, name, status, is_shadow, count in _rows(_RULES):
        hits.add_metric([str(rule_id), name, f"shadow_{status}" if is_shadow else status], count)
    in_force = _gauge("rules_in_force", "Rules evaluated with effect; 0: all is approved", rules_in_force())
    return [in_force, hits]


def _pipeline() -> list[Metric]:
    health = pipeline_health()
    queues = _family("queue_depth", "Tasks waiting in a Celery queue", "queue")
    for name, length in (health["queues"] or {}).items():
        queues.add_metric([name], length)
    return [
        queues,
        _gauge("broker_up", "Whether the task broker answers", 0 if health["queues"] is None else 1),
        _gauge(
            "velocity_redis",
            "1: windows from Redis, 0: over SQL (degraded)",
            health["velocity_mode"] == "redis",
        ),
        _gauge(
            "pending_transactions",
            "Accepted, not screened yet (at most 10,000 are counted)",
            health["pending_transactions"],
        ),
        _gauge("pending_lag_seconds", "Age of the oldest transaction not screened yet", pending_lag_s()),
        _gauge("outbox_lag_seconds", "Age of the oldest outbox entry that waits", health["outbox_lag_s"]),
        _gauge(
            "outbox_waiting",
            "Outbox entries that wait (at most 10,000 are counted)",
            health["outbox_waiting"],
        ),
        _gauge("webhook_deliveries_waiting", "Deliveries not made yet", health["webhook_deliveries_waiting"]),
    ]


def _redis() -> list[Metric]:
    """Left out, not 0, while Redis does not say."""
    told = {
        "workers_alive": ("Celery workers heard of in the last 15 s", workers_alive()),
        "beats_alive": ("Beats that sent a task in the last 30 s", beats_alive()),
        "velocity_memory_bytes": ("Memory of the Redis that keeps the counters", velocity_memory_bytes()),
    }
    return [_gauge(name, what, value) for name, (what, value) in told.items() if value is not None]


def _cases() -> Metric:
    found = _family("open_cases", "Cases that are not closed", "priority", "is_overdue")
    for row in cases_workload()["by_priority"]:
        found.add_metric([row["priority"], "yes"], row["overdue"])
        found.add_metric([row["priority"], "no"], row["open"] - row["overdue"])
    return found


def _family(name: str, what: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"fraudsite_{name}", what, labels=list(labels))


def _gauge(name: str, what: str, value: Any) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"fraudsite_{name}", what, value=float(value))


def _rows(sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())
