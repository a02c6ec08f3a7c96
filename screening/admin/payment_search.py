"""Finding a payment by what somebody on the telephone knows of it: when, how much, where, the card's last digits."""

from __future__ import annotations

import re
from datetime import date, timedelta
from decimal import Decimal

from django.db import OperationalError, transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from psycopg2.errors import QueryCanceled

from fraudsite.admin_site import day_of, page, render, told
from fraudsite.errors import FieldError, Invalid
from fraudsite.models import RecordView
from fraudsite.record_views import view_note
from ingestion.models import Transaction
from ingestion.selectors import transactions_told

SHOWN = 100
# No index leads to an amount: what is looked through is bounded by days.
DAYS_BACK, MOST_DAYS = 7, 31
ASKED = ("since", "until", "amount", "last4", "merchant", "who")
_AMOUNT = re.compile(r"(\d{1,12}|\d{1,3}(,\d{3}){1,3})(\.\d{1,4})?")


@page("payments-find/", name="payment_find")
def payment_find(request: HttpRequest) -> HttpResponse:
    """The newest payments that are like what is told; the last week's where no day is."""
    given = {name: request.GET.get(name, "").strip() for name in ASKED}
    wrong = ""
    payments: list[Transaction] = []
    try:
        first, last = _days(given)
        given |= {"since": first.isoformat(), "until": last.isoformat()}
        if request.GET:
            found = transactions_told(
                first=first,
                last=last,
                amount=_amount(given["amount"]),
                card_last4=given["last4"],
                merchant=given["merchant"],
                who=given["who"],
            )
            payments = _within_time(found)
            _note(request, given, payments)
    except Invalid as error:
        wrong = told(error)
    return render(
        request,
        "workspace/screening/payment_find.html",
        title="Find a payment",
        given=given,
        wrong=wrong,
        is_asked=bool(request.GET) and not wrong,
        payments=payments[:SHOWN],
        are_more=len(payments) > SHOWN,
        most_days=MOST_DAYS,
    )


def _note(request: HttpRequest, given: dict[str, str], payments: list[Transaction]) -> None:
    """Who looked for whom is kept; the newest payments of some days, whoever's, are a list like any other."""
    facts = [f"{name} {given[name]}" for name in ("who", "amount", "last4", "merchant") if given[name]]
    if facts:
        users = {each.user_id for each in payments}
        days = f"{given['since']} to {given['until']}"
        view_note(
            request,
            RecordView.Kind.SEARCH,
            ", ".join([*facts, days]),
            user_id=users.pop() if len(users) == 1 else None,
        )


def _within_time(found: QuerySet[Transaction]) -> list[Transaction]:
    """One more than is shown. Raises Invalid where the days hold more than can be looked through in time."""
    wanted = found.select_related("decision").defer("metadata", "decision__results", "decision__facts")
    try:
        with transaction.atomic():
            return list(wanted[: SHOWN + 1])
    except OperationalError as error:
        if not isinstance(error.__cause__, QueryCanceled):
            raise
        raise Invalid("These days hold too many payments to look through in time: give fewer days.") from None


def _days(given: dict[str, str]) -> tuple[date, date]:
    """The days looked through, both included; of one that is given both."""
    since, until = day_of(given["since"]), day_of(given["until"])
    last = until or since or timezone.now().date()
    first = since or (last if until else last - timedelta(days=DAYS_BACK - 1))
    if first > last:
        raise Invalid("No day is in it.", [FieldError("$", "the first day comes after the last")])
    if last - first >= timedelta(days=MOST_DAYS):
        raise Invalid(f"At most {MOST_DAYS} days are looked through at a time.")
    return first, last


def _amount(written: str) -> Decimal | None:
    if not written:
        return None
    if not _AMOUNT.fullmatch(written):
        raise Invalid(
            f"“{written}” is not an amount: write it like 1500.75, a point before the decimals, commas only between "
            "thousands as in 1,000,000.50."
        )
    return Decimal(written.replace(",", ""))
