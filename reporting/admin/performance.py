"""How rules do, and where the money is: pages over the figures that the API gives too."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils import timezone

from fraudsite import charts
from fraudsite.admin_site import number_of, page, render
from fraudsite.short_cache import kept
from fraudsite.templatetags.workspace import rule_panels
from reporting import kpis

DAYS = (1, 7, 30, 90)
HITS = (charts.Series("hits", "hits", "--fs-chart-1"), charts.Series("shadow", "in shadow", "--fs-chart-3"))


@page("performance/", name="rule_performance")
def rule_performance(request: HttpRequest) -> HttpResponse:
    days = _chosen(request.GET.get("days"), DAYS, 7)
    now = timezone.now()
    rows = kept(
        f"rule-performance-{days}",
        30,
        lambda: kpis.rule_performance(start=now - timedelta(days=days), end=now),
    )
    return render(
        request,
        "workspace/reporting/performance.html",
        title="Rule performance",
        rows=rows,
        days=days,
        choices=DAYS,
    )


@page("exposure/", name="exposure")
def exposure(request: HttpRequest) -> HttpResponse:
    hours = _chosen(request.GET.get("hours"), (1, 24, 168, 720), 24)
    figures = kept(
        f"exposure-{hours}",
        30,
        lambda: {
            "merchants": kpis.merchant_exposure(hours=hours, limit=50),
            "channels": kpis.channel_risk(hours=hours),
        },
    )
    return render(
        request,
        "workspace/reporting/exposure.html",
        title="Merchants and channels",
        hours=hours,
        choices=((1, "last hour"), (24, "last day"), (168, "last week"), (720, "last 30 days")),
        **figures,
    )


def rule_panel(context: Any, rule: Any) -> str:
    """Beside a rule: its hits by day for two weeks, and what its alerts turned out to be."""
    now = timezone.now()
    days = [(now - timedelta(days=back)).date() for back in range(13, -1, -1)]
    counts = kept(f"rule-hits-{rule.pk}", 20, lambda: kpis.rule_hits_by_day(rule.pk, days[0]))
    rows = [
        {"day": day, "hits": counts.get((day, False), 0), "shadow": counts.get((day, True), 0)}
        for day in days
    ]
    found = kept(
        f"rule-found-{rule.pk}",
        20,
        lambda: kpis.rule_performance(start=now - timedelta(days=14), end=now, rule_id=rule.pk),
    )
    chart = charts.columns(
        rows, HITS, labels=[f"{row['day']:%d %b}" for row in rows], title="Hits a day in the last two weeks"
    )
    return render_to_string(
        "workspace/reporting/_rule_panel.html",
        {"chart": chart, "legend": charts.legend(HITS), "found": found[0] if found else None},
    )


rule_panels["performance"] = rule_panel


def _chosen(text: str | None, allowed: tuple[int, ...], default: int) -> int:
    number = number_of(text or "")
    return number if number in allowed else default
