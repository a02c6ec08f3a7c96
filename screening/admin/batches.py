"""Batches: past payments screened again, with progress, cancel and resume."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from fraudsite.admin_site import number_of, page, principal_of, render, render_part, told
from fraudsite.errors import DomainError, Invalid
from fraudsite.roles import Action, may
from rules.models import Rule
from screening.batch import services
from screening.batch.selectors import progress_of, result_bodies, results_of
from screening.batch.states import CANCELLED, FAILED, OPEN
from screening.models import ScreeningBatch

PER_PAGE = 50
HITS_SHOWN = 25


@page("batches/", name="batches", post=Action.SCREENING_WRITE)
def batches(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return _create(request)
    return render(
        request,
        "workspace/screening/batches.html",
        title="Batches",
        rows=[_row(batch) for batch in ScreeningBatch.objects.all()[:PER_PAGE]],
        rules=Rule.objects.order_by("name").values_list("pk", "name"),
        may_run=may(request.user, Action.SCREENING_WRITE),
    )


@page("batches/<uuid:batch_id>/", name="batch")
def batch_page(request: HttpRequest, batch_id: str) -> HttpResponse:
    batch = services.batch_get(str(batch_id))
    return render(
        request,
        "workspace/screening/batch.html",
        title=batch.name or f"Batch of {batch.created_at:%d %b %Y %H:%M}",
        live_url=reverse("admin:batch_live", args=[batch.batch_id]),
        **_context(request, batch),
    )


@page("batches/<uuid:batch_id>/live/", name="batch_live")
def batch_live(request: HttpRequest, batch_id: str) -> HttpResponse:
    batch = services.batch_get(str(batch_id))
    context = _context(request, batch)
    return render_part(request, "workspace/screening/_batch.html", is_done=not context["is_open"], **context)


@page("batches/<uuid:batch_id>/<str:what>/", name="batch_action", action=Action.SCREENING_WRITE)
@require_POST
def batch_action(request: HttpRequest, batch_id: str, what: str) -> HttpResponse:
    moves = {"cancel": services.batch_cancel, "resume": services.batch_resume}
    if what not in moves:
        raise Invalid(f"There is no action {what!r} on a batch.")
    try:
        moves[what](batch_id=str(batch_id))
        messages.success(request, "It is cancelled." if what == "cancel" else "It goes on.")
    except DomainError as error:
        messages.error(request, told(error))
    return HttpResponseRedirect(reverse("admin:batch", args=[batch_id]))


def _create(request: HttpRequest) -> HttpResponse:
    given = request.POST
    body: dict[str, Any] = {
        name: value for name in ("name", "date_from", "date_to") if (value := given.get(name))
    }
    if chosen := [rule_id for each in given.getlist("rule_ids") if (rule_id := number_of(each))]:
        body["rule_ids"] = chosen
    try:
        batch = services.batch_create(body=body, principal=principal_of(request))
    except DomainError as error:
        messages.error(request, told(error))
        return HttpResponseRedirect(reverse("admin:batches"))
    return HttpResponseRedirect(reverse("admin:batch", args=[batch.batch_id]))


def _row(batch: ScreeningBatch) -> dict[str, Any]:
    return {"batch": batch, "percent": round(100 * progress_of(batch)), "is_open": batch.status in OPEN}


def _context(request: HttpRequest, batch: ScreeningBatch) -> dict[str, Any]:
    hits: list[dict[str, Any]] = []
    if batch.flagged_transactions:
        rows = list(results_of(batch, status="flagged")[:HITS_SHOWN])
        hits = [
            {**body, "results": [each for each in body["results"] if each["status"] == "flagged"]}
            for body in result_bodies(batch, rows)
        ]
    return {
        **_row(batch),
        "hits": hits,
        "may_run": may(request.user, Action.SCREENING_WRITE),
        "may_resume": batch.status in (CANCELLED, FAILED),
    }
