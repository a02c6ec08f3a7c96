"""What Prometheus reads, and that the dashboards and alerts ask for what there is."""

from __future__ import annotations

import json
import re
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from fraudsite.heartbeats import BEAT_SILENCE_S, BEATS_KEY
from fraudsite.short_cache import forget_kept
from ingestion.models import Transaction
from reporting import metrics
from screening.outbox.worker import outbox_work
from tests.admin.samples import payment, rule
from tests.clients import ApiClient
from tests.databases import session_takes_no_writes
from tests.screening.test_submit import payload

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.django_db


def read() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    forget_kept()
    text = Client().get("/metrics").content.decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_it_tells_decisions_rules_latency_and_the_pipeline() -> None:
    version = rule()
    api = ApiClient()
    payment(api, "T1", amount="5000")
    payment(api, "T2", amount="10")
    found = read()
    assert found["fraudsite_decisions_last_minute", (("outcome", "review"),)] == 1
    assert found["fraudsite_decisions_last_minute", (("outcome", "approve"),)] == 1
    assert found["fraudsite_decisions_last_minute", (("outcome", "block"),)] == 0
    labels = (("rule", "Large amount"), ("rule_id", str(version.rule_id)), ("status", "flagged"))
    assert found["fraudsite_rule_hits_last_minute", labels] == 1
    assert found["fraudsite_decision_duration_ms", (("quantile", "0.99"),)] > 0
    assert found["fraudsite_platform_up", ()] == 1
    assert found["fraudsite_rules_in_force", ()] == 1
    assert {
        ("fraudsite_queue_depth", (("queue", each),)) for each in ("realtime", "batch", "default")
    } <= found.keys()
    assert found["fraudsite_outbox_waiting", ()] >= 1
    assert found["fraudsite_workers_alive", ()] == 0
    assert found["fraudsite_velocity_memory_bytes", ()] > 100_000


def test_it_tells_how_long_the_oldest_transaction_has_waited() -> None:
    assert read()["fraudsite_pending_lag_seconds", ()] == 0
    body = {**payload(1), "transaction_id": "P1"}
    ApiClient().post("transactions/?mode=async", body)
    Transaction.objects.filter(transaction_id="P1").update(received_at=timezone.now() - timedelta(minutes=5))
    ApiClient().post("transactions/?mode=async", {**body, "transaction_id": "P2"})
    assert 300 <= read()["fraudsite_pending_lag_seconds", ()] < 360


def test_it_tells_whether_a_beat_sends_tasks() -> None:
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete(BEATS_KEY)
        client.zadd(BEATS_KEY, {"beat@gone": time.time() - BEAT_SILENCE_S - 5})
        assert read()["fraudsite_beats_alive", ()] == 0
        client.zadd(BEATS_KEY, {"beat@here": time.time()})
        assert read()["fraudsite_beats_alive", ()] == 1
        client.delete(BEATS_KEY)


def test_it_tells_that_no_rule_is_in_force(settings: Any) -> None:
    assert read()["fraudsite_rules_in_force", ()] == 0
    settings.REQUIRE_RULE_APPROVAL = True
    rule()
    assert read()["fraudsite_rules_in_force", ()] == 0


def test_it_keeps_answering_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> Any:
        raise DatabaseError

    monkeypatch.setattr(metrics, "_rows", away)
    found = read()
    assert found["fraudsite_platform_up", ()] == 0
    assert any(name.startswith("fraudsite_django_http") for name, _ in found)


def test_it_does_not_add_up_again_at_once_what_took_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may ask."""
    forget_kept()
    added_up: list[int] = []

    def long(request: Any) -> HttpResponse:
        added_up.append(1)
        clock[0] += 0.8
        return HttpResponse(b"a 1\n", content_type="text/plain")

    clock = [100.0]
    monkeypatch.setattr(metrics.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(metrics, "_requests", metrics._Requests())
    monkeypatch.setattr(metrics, "ExportToDjangoView", long)
    for _ in range(3):
        assert Client().get("/metrics").content.startswith(b"a 1\n")
    assert len(added_up) == 1
    clock[0] += 9
    Client().get("/metrics")
    assert len(added_up) == 2


@pytest.mark.django_db(transaction=True)
def test_it_is_not_up_while_the_database_takes_no_writes() -> None:
    session_takes_no_writes()
    found = read()
    assert found["fraudsite_platform_up", ()] == 0
    assert found["fraudsite_outbox_waiting", ()] == 0
    connection.close()


def expressions() -> list[tuple[str, str]]:
    """Every query of the dashboards and alerts, with the legend that is made of its labels."""
    found = []
    for board in sorted((ROOT / "deploy/grafana/dashboards").glob("*.json")):
        for panel in json.loads(board.read_text())["panels"]:
            found += [(each["expr"], each.get("legendFormat", "")) for each in panel["targets"]]
    alerts = (ROOT / "deploy/prometheus/alerts.yml").read_text()
    return found + [(each, "") for each in re.findall(r"^ +expr: (.+)$", alerts, re.MULTILINE)]


def test_its_dashboards_and_alerts_ask_for_metrics_and_labels_that_exist() -> None:
    rule()
    payment(ApiClient(), "T1", amount="5000")
    outbox_work()
    # A request counts itself once it is answered.
    read()
    labels: dict[str, set[str]] = {}
    for name, pairs in read():
        labels.setdefault(name, set()).update(key for key, _ in pairs)
    asked = expressions()
    assert len(asked) > 15
    for expression, legend in asked:
        # `up` is Prometheus's own.
        for name, braces in re.findall(r"\b(fraudsite_\w+)(\{[^}]*\})?", expression):
            assert name in labels, expression
            matched = set(re.findall(r"(\w+)=", braces))
            assert matched <= labels[name], expression
        shown = set(re.findall(r"\{\{(\w+)\}\}", legend))
        grouped = {each for group in re.findall(r"by \(([^)]*)\)", expression) for each in group.split(", ")}
        known = set().union(*(labels[name] for name in re.findall(r"\bfraudsite_\w+", expression)))
        assert shown | grouped <= known, expression
        assert shown <= grouped, f"{expression}: what the legend shows is aggregated away"


def test_its_dashboards_count_the_platform_once_however_many_web_servers_tell_of_it() -> None:
    """Every web server exports the platform's figures: a sum over them would count each figure again."""
    for expression, _ in expressions():
        for name in re.findall(r"\bfraudsite_(\w+)", expression):
            if not name.startswith("django_") and "by" in expression:
                assert re.search(rf"(?:max|min)(?: by \([^)]*\))? ?\(fraudsite_{name}", expression), (
                    expression
                )


def test_its_alerts_name_parts_of_the_runbook_that_exist() -> None:
    runbook = (ROOT / "docs/runbook.md").read_text()
    headings = {
        re.sub(r"[^a-z0-9 -]", "", line[3:].lower()).replace(" ", "-")
        for line in runbook.splitlines()
        if line.startswith("## ")
    }
    named = set(re.findall(r"runbook\.md#([a-z-]+)", (ROOT / "deploy/prometheus/alerts.yml").read_text()))
    assert named
    assert named <= headings
