"""Named lists in the workspace: what is on them, adding and taking out, upload and download."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time
from typing import Any

from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from fraudsite.admin_site import day_of, page, principal_of, render, told
from fraudsite.downloads import csv_download
from fraudsite.errors import DomainError, Invalid
from fraudsite.large_tables import LimitedPaginator
from fraudsite.roles import Action, may
from rules import list_services as services
from rules.list_csv import COLUMNS, Rows, read_pasted, read_upload
from rules.list_selectors import list_bodies, list_get
from rules.list_services import NewEntry
from rules.models import NamedList

PER_PAGE = 100
# Of the wrong lines of an upload.
SHOWN_WRONG = 5


@page("lists/", name="named_lists", post=Action.LISTS_WRITE)
def named_lists(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return _create(request)
    return render(
        request,
        "workspace/rules/lists.html",
        title="Named lists",
        lists=list_bodies(NamedList.objects.filter(removed_in=None)),
        may_write=may(request.user, Action.LISTS_WRITE),
    )


@page("lists/<str:name>/", name="named_list")
def named_list(request: HttpRequest, name: str) -> HttpResponse:
    found = list_get(name)
    entries = found.entries.filter(removed_in=None).order_by("-id")
    if wanted := request.GET.get("q", "").strip():
        key = services.match_key(found, wanted)
        entries = entries.filter(Q(match_key=key) | Q(match_key__startswith=key))
    paginator = LimitedPaginator(entries, PER_PAGE)
    return render(
        request,
        "workspace/rules/list.html",
        title=f"List {name}",
        named_list=list_bodies([found])[0],
        entries=paginator.get_page(request.GET.get("page")),
        wanted=wanted,
        now=timezone.now(),
        may_write=may(request.user, Action.LISTS_WRITE),
    )


@page("lists/<str:name>/download.csv", name="named_list_download")
def named_list_download(request: HttpRequest, name: str) -> StreamingHttpResponse:
    entries = list_get(name).entries.filter(removed_in=None).order_by("id")
    rows = (
        (entry.value, entry.note, entry.expires_at.isoformat() if entry.expires_at else "")
        for entry in entries.iterator(chunk_size=5_000)
    )
    return csv_download(f"list-{name}.csv", COLUMNS, rows)


@page("lists/<str:name>/<str:what>/", name="named_list_action", action=Action.LISTS_WRITE)
@require_POST
def named_list_action(request: HttpRequest, name: str, what: str) -> HttpResponse:
    address = reverse("admin:named_list", args=[name])
    try:
        messages.success(request, _act(request, name, what))
        if what == "delete":
            address = reverse("admin:named_lists")
    except DomainError as error:
        messages.error(request, told(error))
    return HttpResponseRedirect(address)


def _act(request: HttpRequest, name: str, what: str) -> str:
    given, principal = request.POST, principal_of(request)
    match what:
        case "add":
            entry = NewEntry(given.get("value", "").strip(), given.get("note", "").strip(), _expiry(given))
            if errors := services.entry_errors(entry):
                raise Invalid("It cannot be added.", errors)
            services.entries_put(name=name, entries=[entry], principal=principal)
            _warn_of_several_in_one(request, [entry])
            if entry.expires_at is not None and entry.expires_at <= timezone.now():
                messages.warning(request, "Its last day is over already: no rule finds it on the list.")
                return f"{entry.value} was added."
            return f"{entry.value} is on the list from the next decision on."
        case "remove":
            removed = services.entries_remove(name=name, values=given.getlist("value"), principal=principal)
            return f"{removed} taken off the list."
        case "upload":
            return _upload(request, name)
        case "describe":
            services.list_update(name=name, description=given.get("description", ""), principal=principal)
            return "Saved."
        case "delete":
            services.list_delete(name=name, principal=principal)
            return f"The list {name} was deleted."
    raise Invalid(f"There is no action {what!r} on a list.")


def _upload(request: HttpRequest, name: str) -> str:
    file, pasted = request.FILES.get("file"), request.POST.get("pasted", "").strip("\r\n")
    if (file is None) == (not pasted.strip()):
        raise Invalid("Paste the entries, or choose a file: one of the two.")
    rows = read_pasted(pasted) if file is None else read_upload(file)
    if rows.rejected:
        raise Invalid(_rejected_words(rows))
    changed = services.entries_put(
        name=name,
        entries=rows.entries,
        principal=principal_of(request),
        is_replacing="is_replacing" in request.POST,
    )
    _warn_of_several_in_one(request, rows.entries)
    counts = f"{changed.added} added, {changed.updated} changed, {changed.removed} taken off"
    twice = len(rows.entries) - changed.added - changed.updated - changed.unchanged
    again = f" {twice} stood there more than once; the last of each holds." if twice else ""
    return f"{counts}, {changed.unchanged} as before.{again}"


def _rejected_words(rows: Rows) -> str:
    """Which lines are wrong and what of them; the first few say what there is to say of many."""
    count = len(rows.rejected)
    lines = [
        f"Line {line}: "
        + (errors[0].message if errors[0].path == "$" else f"{errors[0].path} {errors[0].message}")
        for line, errors in rows.rejected[:SHOWN_WRONG]
    ]
    more = [f"And {count - SHOWN_WRONG} lines more."] if count > SHOWN_WRONG else []
    what = "one line is not valid" if count == 1 else f"{count} lines are not valid"
    return " ".join([f"Nothing was changed: {what}.", *(f"{each}." for each in lines), *more])


def _warn_of_several_in_one(request: HttpRequest, entries: Sequence[NewEntry]) -> None:
    """Somebody may have meant several values; a list takes any text, and rules look for all of it."""
    suspect = [each.value for each in entries if "," in each.value or ";" in each.value]
    if suspect:
        count = "One value holds" if len(suspect) == 1 else f"{len(suspect)} values hold"
        messages.warning(
            request,
            f"{count} a comma or semicolon, such as “{suspect[0][:80]}”. It is one entry: where several are meant, "
            "take it off and give each a line of its own.",
        )


def _expiry(given: Any) -> datetime | None:
    """The end of the day given, UTC; None where none is given. Invalid for what is no day: it would never end."""
    day = day_of(given.get("expires_on", "").strip())
    return None if day is None else datetime.combine(day, time(23, 59, 59), tzinfo=UTC)


def _create(request: HttpRequest) -> HttpResponse:
    given = request.POST
    try:
        made = services.list_create(
            name=given.get("name", "").strip(),
            description=given.get("description", "").strip(),
            case_sensitive="case_sensitive" in given,
            principal=principal_of(request),
        )
    except DomainError as error:
        messages.error(request, told(error))
        return HttpResponseRedirect(reverse("admin:named_lists"))
    return HttpResponseRedirect(reverse("admin:named_list", args=[made.name]))
