"""Trying a rule on history: from the builder and from a rule's page, with its result in the page."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_POST

from fraudsite import charts, json_body
from fraudsite.admin_site import page, principal_of, render, render_part, told
from fraudsite.errors import DomainError, FieldError, errors_body
from fraudsite.roles import Action, may
from fraudsite.templatetags.workspace import rule_panels
from rules.builder import choice_words
from screening.batch import backtest_services as services
from screening.batch.models import Backtest
from screening.batch.selectors import progress_of
from screening.batch.states import OPEN

HITS = (
    charts.Series("hits", "hits", "--fs-chart-2"),
    charts.Series("others", "other payments", "--fs-chart-1"),
)
SWEPT = (charts.Series("hits", "hits", "--fs-chart-1"),)
PER_PAGE = 50


@page("backtests/", name="backtests")
def backtests(request: HttpRequest) -> HttpResponse:
    rows = Backtest.objects.select_related("rule").defer("progress", "result")[:PER_PAGE]
    shown = [
        {"backtest": row, "percent": round(100 * progress_of(row)), "is_open": row.status in OPEN}
        for row in rows
    ]
    return render(
        request,
        "workspace/screening/backtests.html",
        title="Backtests",
        rows=shown,
        may_run=may(request.user, Action.SCREENING_WRITE),
    )


@page("backtests/try/", name="backtest_try", action=Action.SCREENING_WRITE)
@require_POST
def backtest_try(request: HttpRequest) -> HttpResponse:
    """`{rule | rule_id and version, date_from?, date_to?, sweep?}` as the API takes it; answers where to look."""
    try:
        body = json_body.decode(request.body)
        backtest = services.backtest_create(body=body, principal=principal_of(request))
    except json_body.JsonBodyError as error:
        return _refused([FieldError(error.path, error.message)])
    except DomainError as error:
        return _refused(error.errors or [FieldError("$", error.detail)])
    return JsonResponse({"url": reverse("admin:backtest_live", args=[backtest.backtest_id])}, status=202)


@page("backtests/<uuid:backtest_id>/", name="backtest")
def backtest_page(request: HttpRequest, backtest_id: str) -> HttpResponse:
    backtest = services.backtest_get(str(backtest_id))
    return render(
        request,
        "workspace/screening/backtest.html",
        title=f"Backtest of {backtest.definition['name']}",
        live_url=reverse("admin:backtest_live", args=[backtest.backtest_id]),
        **_context(request, backtest),
    )


@page("backtests/<uuid:backtest_id>/live/", name="backtest_live")
def backtest_live(request: HttpRequest, backtest_id: str) -> HttpResponse:
    """The result as far as it is, for the script that swaps it in; `X-Done` says that it will not change."""
    backtest = services.backtest_get(str(backtest_id))
    context = _context(request, backtest)
    return render_part(
        request, "workspace/screening/_backtest.html", is_done=not context["is_open"], **context
    )


@page("backtests/<uuid:backtest_id>/cancel/", name="backtest_cancel", action=Action.SCREENING_WRITE)
@require_POST
def backtest_cancel(request: HttpRequest, backtest_id: str) -> HttpResponse:
    try:
        services.backtest_cancel(backtest_id=str(backtest_id))
        messages.success(request, "The backtest was cancelled.")
    except DomainError as error:
        messages.error(request, told(error))
    return HttpResponseRedirect(reverse("admin:backtest", args=[backtest_id]))


def _refused(errors: Any) -> JsonResponse:
    return JsonResponse({"problems": errors_body(errors)}, status=422)


def _context(request: HttpRequest, backtest: Backtest) -> dict[str, Any]:
    result: dict[str, Any] = backtest.result or {}
    days = _every_day(result.get("per_day", []))
    sweep = result.get("sweep", [])
    return {
        "backtest": backtest,
        "percent": round(100 * progress_of(backtest)),
        "is_open": backtest.status in OPEN,
        "may_cancel": backtest.status in OPEN and may(request.user, Action.SCREENING_WRITE),
        "result": result,
        "day_chart": charts.columns(
            days,
            HITS,
            labels=[row["day"][5:] for row in days],
            title="Payments a day, and how many of them it hits",
        )
        if days
        else "",
        "span": len(days),
        "day_legend": charts.legend(HITS),
        "sweep": sweep,
        "sweep_chart": charts.columns(
            sweep,
            SWEPT,
            labels=[charts.short(float(row["value"])) for row in sweep],
            title="Hits for each value tried",
        )
        if sweep
        else "",
    }


def _every_day(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Quiet days between the first and the last as well: a chart without them would show another rhythm."""
    known = {date.fromisoformat(row["day"]): row for row in rows}
    if not known:
        return []
    first, last = min(known), max(known)
    days = [first + timedelta(days=index) for index in range((last - first).days + 1)]
    quiet = {"transactions": 0, "hits": 0}
    return [
        {"day": day.isoformat(), "hits": row["hits"], "others": row["transactions"] - row["hits"]}
        for day in days
        for row in (known.get(day, quiet),)
    ]


def try_panel(context: Any, rule: Any) -> str:
    """On a rule's page, or (rule None) in the builder, for what is written there."""
    request = context["request"]
    if not may(request.user, Action.SCREENING_WRITE):
        return ""
    versions = [] if rule is None else list(rule.versions.order_by("-number")[:30])
    recent = [] if rule is None else Backtest.objects.filter(rule=rule).defer("progress", "result")[:5]
    return render_to_string(
        "workspace/screening/_try.html",
        {
            "rule": rule,
            "versions": versions,
            "recent": recent,
            "documents": {v.number: v.definition for v in versions},
            "words": choice_words(),
        },
        request=request,
    )


rule_panels["backtest"] = try_panel
