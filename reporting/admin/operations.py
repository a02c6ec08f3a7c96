"""The Fraud Operations Centre: one page for the wall and for a phone, brought up to date without a reload."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from fraudsite import charts
from fraudsite.admin_site import page, render, render_part
from fraudsite.short_cache import kept
from reporting import kpis, pipeline, workload
from rules.selectors import rules_in_force
from screening.risk.selectors import RiskyAccounts

REFRESH_S = 5
# However many walls show the page, the figures are asked for this often.
LIVE_S = 3
SLOW_S = 20


@page("operations/", name="operations")
def operations(request: HttpRequest) -> HttpResponse:
    return render(
        request,
        "workspace/reporting/operations.html",
        title="Fraud Operations Centre",
        refresh_s=REFRESH_S,
        **_context(),
    )


@page("operations/live/", name="operations_live")
def operations_live(request: HttpRequest) -> HttpResponse:
    """The same parts, for the script that swaps them in."""
    return render_part(request, "workspace/reporting/_operations.html", is_done=False, **_context())


def _context() -> dict[str, Any]:
    live = kept("operations-live", LIVE_S, _live)
    slow = kept("operations-slow", SLOW_S, _slow)
    return live | slow | {"now": timezone.now(), "decided_legend": charts.legend(charts.DECIDED)}


def _live() -> dict[str, Any]:
    figures = kpis.kpis(minutes=60)
    minutes = figures["per_minute"]
    # The running minute is not over; the last whole one says how much is coming in.
    return {
        "figures": figures,
        "last_minute": minutes[-2],
        "minute_chart": charts.columns(
            minutes,
            charts.DECIDED,
            labels=[f"{row['minute']:%H:%M}" for row in minutes],
            title="Transactions per minute in the last hour, by decision",
        ),
        "workload": workload.cases_workload(),
        "high_alerts": workload.recent_high_alerts(limit=6),
        "pipeline": pipeline.pipeline_health(),
        "rules_in_force": rules_in_force(),
        "risky": _risky_accounts(),
    }


def _slow() -> dict[str, Any]:
    now = timezone.now()
    hours = kpis.hourly_trend(hours=24)
    merchants = kpis.merchant_exposure(hours=24, limit=8)
    return {
        "hour_chart": charts.columns(
            hours,
            charts.DECIDED,
            labels=[f"{row['hour']:%H}" for row in hours],
            title="Transactions per hour in the last 24 hours (UTC), by decision",
        ),
        "channels": kpis.channel_risk(hours=24),
        "merchants": merchants,
        "most_exposed": max((row["flagged_amount"] for row in merchants), default=0),
        "rules": kpis.rule_performance(start=now - timedelta(days=1), end=now)[:8],
    }


def _risky_accounts() -> list[dict[str, Any]]:
    found = RiskyAccounts(at=timezone.now(), minimum="medium")[slice(0, 8)]
    return [
        {
            "account_id": each.account_id,
            "score": each.score,
            "tier": each.tier,
            "signals": [signal.signal for signal in each.signals],
        }
        for each in found
    ]
