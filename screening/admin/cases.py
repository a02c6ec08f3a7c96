"""Case work: the queue, one case with everything needed to decide it, and what is done with it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from fraudsite.admin_site import number_of, page, principal_of, render, require, told
from fraudsite.errors import DomainError, FieldError, Invalid
from fraudsite.large_tables import LimitedPaginator
from fraudsite.models import RecordView, SavedFilter
from fraudsite.record_views import view_note
from fraudsite.roles import MAY_TAKE_CASE_FILES, Action, may, staff_who_may
from fraudsite.services import saved_filter_forget, saved_filter_put
from ingestion.events.models import Severity
from screening.admin.history import amounts_chart, timeline
from screening.admin.picture import connections_picture
from screening.cases import services
from screening.cases.evidence import alerts_with_evidence
from screening.cases.history_words import entry_words
from screening.cases.models import Case
from screening.cases.selectors import case_get, cases_chosen, cases_open, payments_alerted
from screening.cases.services import NOTE_LENGTH, BulkItem
from screening.cases.transitions import MAY_BE_DISPOSED, TRANSITIONS
from screening.risk.selectors import account_risk
from screening.risk.tiers import advice

PER_PAGE = 50
ALERTS_SHOWN = 25
# Longer notes are folded.
FOLDED_LENGTH, FOLDED_LINES = 1_000, 12
FILTERS = ("status", "priority", "assignee", "overdue", "who")


@page("cases/", name="case_queue", post=Action.CASES_WRITE)
def case_queue(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return _queue_action(request)
    given = {name: request.GET.get(name, "").strip() for name in FILTERS}
    chosen = cases_chosen(
        status=given["status"],
        priority=given["priority"],
        assignee={"me": principal_of(request), "nobody": ""}.get(given["assignee"]),
        is_overdue=bool(given["overdue"]),
        who=given["who"],
    )
    shown = LimitedPaginator(chosen, PER_PAGE).get_page(request.GET.get("page"))
    return render(
        request,
        "workspace/screening/cases.html",
        title="Cases",
        cases=shown,
        given=given,
        now=timezone.now(),
        statuses=Case.Status.choices,
        priorities=tuple(reversed(Severity.values)),
        saved=SavedFilter.objects.filter(owner=principal_of(request), page="cases"),
        may_work=may(request.user, Action.CASES_WRITE),
    )


@page("cases/<uuid:case_id>/", name="case")
def case_page(request: HttpRequest, case_id: UUID) -> HttpResponse:
    case = case_get(case_id)
    view_note(request, RecordView.Kind.CASE, f"{case.pk}, {case.title}", user_id=case.user_id)
    until = timezone.now()
    risk = account_risk(case.account_id, until) if case.account_id else None
    alerts = alerts_with_evidence(case, at_most=ALERTS_SHOWN)
    marked = payments_alerted(case)
    return render(
        request,
        "workspace/screening/case.html",
        title=f"Case {case.pk}, {case.title}",
        case=case,
        now=until,
        risk=risk,
        advice=advice(risk.tier, has_open_case=case.status != Case.Status.CLOSED) if risk else "",
        alerts=alerts,
        timeline=timeline(case, marked=marked),
        amounts=amounts_chart(case, marked=marked),
        picture=connections_picture(case.account_id) if case.account_id else None,
        notes=[{"note": each, "is_long": _is_long(each.text)} for each in case.notes.all()],
        note_length=NOTE_LENGTH,
        entries=[{"entry": each, "words": entry_words(each)} for each in case.entries.order_by("-id")[:60]],
        moves=sorted(TRANSITIONS[case.status]),
        dispositions=Case.Disposition.choices,
        may_work=may(request.user, Action.CASES_WRITE),
        may_take_file=may(request.user, *MAY_TAKE_CASE_FILES),
        may_dispose=may(request.user, Action.CASES_DISPOSE) and case.status in MAY_BE_DISPOSED,
        labelled=len(marked),
        me=principal_of(request),
        colleagues=[
            name
            for name in staff_who_may(Action.CASES_WRITE)
            if name not in (principal_of(request), case.assignee)
        ],
        next_case=_next_case(case),
    )


@page("cases/<uuid:case_id>/<str:what>/", name="case_action", action=Action.CASES_WRITE)
@require_POST
def case_action(request: HttpRequest, case_id: UUID, what: str) -> HttpResponse:
    """Assign, note, move or close a case. `version` is the one the person has seen: 409 if it is another by now."""
    if what == "dispose":
        require(request, Action.CASES_DISPOSE)
    address = reverse("admin:case", args=[case_id])
    try:
        messages.success(request, _act(request, case_id, what))
    except DomainError as error:
        messages.error(request, told(error))
        return HttpResponseRedirect(address)
    if request.POST.get("and_next") and (following := _next_case(case_get(case_id))):
        address = reverse("admin:case", args=[following.case_id])
    return HttpResponseRedirect(address)


def _act(request: HttpRequest, case_id: UUID, what: str) -> str:
    given, principal = request.POST, principal_of(request)
    version = number_of(given.get("version", ""))
    if not version:
        raise Invalid("Say which version of the case you have seen.", [FieldError("version", "is missing")])
    common: dict[str, Any] = {"case_id": case_id, "principal": principal, "version": version}
    # Browsers send a line's end as two characters, and count it as one.
    note = given.get("note", "").replace("\r\n", "\n").strip()
    match what:
        case "assign":
            assignee = given.get("assignee", "").strip()
            services.case_assign(assignee=assignee, **common)
            return f"The case is {assignee}'s." if assignee else "The case is nobody's."
        case "note":
            if not note:
                raise Invalid("A note cannot be empty.")
            # Notes are only ever added, so they need not be written on the newest version.
            services.case_note(text=note, case_id=case_id, principal=principal)
            return "The note was added."
        case "transition":
            services.case_transition(to=given.get("to", ""), note=note, **common)
            return f"The case is {given['to'].replace('_', ' ')}."
        case "dispose":
            disposition = given.get("disposition", "")
            if disposition not in Case.Disposition.values:
                raise Invalid("Choose a finding.")
            services.case_dispose(disposition=disposition, note=note, **common)
            return f"The case is closed: {disposition.replace('_', ' ')}."
    raise Invalid(f"There is no action {what!r} on a case.")


def _queue_action(request: HttpRequest) -> HttpResponse:
    query = {name: value for name in FILTERS if (value := request.POST.get(name, "").strip())}
    address = f"{reverse('admin:case_queue')}?{urlencode(query)}"
    what, owner = request.POST.get("do", ""), principal_of(request)
    if what == "save_filter":
        name = request.POST.get("name", "").strip()[:60]
        if name:
            saved_filter_put(owner=owner, page="cases", name=name, query=urlencode(query)[:500])
            messages.success(request, f"The filter is saved as {name!r}.")
    elif what == "forget_filter":
        saved_filter_forget(owner=owner, page="cases", name=request.POST.get("name", ""))
    elif what == "take":
        _take(request, owner)
    return HttpResponseRedirect(address)


def _take(request: HttpRequest, me: str) -> None:
    """Assign the chosen cases to oneself; those that somebody else took in the meantime are named."""
    items = [_chosen(value) for value in request.POST.getlist("case")]
    results = services.cases_bulk(items=items, action="assign", principal=me, given={"assignee": me})
    refused = [each for each in results if not each["done"]]
    messages.success(request, f"{len(results) - len(refused)} of {len(results)} cases are yours.")
    for each in refused[:5]:
        messages.warning(request, each["error"])


def _chosen(text: str) -> BulkItem:
    """`<case id>:<version seen>`, as the queue's boxes say it."""
    case_id, _, seen = text.partition(":")
    version = number_of(seen)
    if not version:
        raise Invalid("That is not a choice of a case.", [FieldError("case", "expected an id and a version")])
    try:
        return BulkItem(case_id=UUID(case_id), version=version)
    except ValueError:
        raise Invalid(
            "That is not a choice of a case.", [FieldError("case", "is not the id of a case")]
        ) from None


def _next_case(case: Case) -> Case | None:
    """The one to work after this: the queue's first that nobody has, or that has this one's owner."""
    return cases_open().exclude(pk=case.pk).filter(assignee__in=["", case.assignee]).first()


def _is_long(text: str) -> bool:
    return len(text) > FOLDED_LENGTH or text.count("\n") >= FOLDED_LINES
