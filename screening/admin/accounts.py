"""One account: its risk now, where its signals come from, who it is connected with; and the list of those at risk."""

from __future__ import annotations

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone

from fraudsite import charts
from fraudsite.admin_site import page, render
from fraudsite.errors import Missing
from fraudsite.models import RecordView
from fraudsite.record_views import view_note
from ingestion.events.selectors import customer_is_known, profiles_latest
from ingestion.models import Transaction
from screening.admin.history import payment_point
from screening.admin.picture import connections_picture
from screening.alerts.selectors import alerts_about
from screening.cases.selectors import cases_about
from screening.risk.selectors import RiskyAccounts, account_require_known, account_risk, signals_past
from screening.risk.tiers import RECOMMENDATIONS, advice
from screening.selectors import payments_of

TIERS = ("critical", "high", "medium")
PER_PAGE = 100


@page("accounts/", name="accounts_at_risk")
def accounts_at_risk(request: HttpRequest) -> HttpResponse:
    tier = request.GET.get("tier", "")
    at = timezone.now()
    found = RiskyAccounts(at=at, tier=tier) if tier in TIERS else RiskyAccounts(at=at, minimum="medium")
    shown = Paginator(found, PER_PAGE).get_page(request.GET.get("page"))
    return render(
        request,
        "workspace/screening/accounts.html",
        title="Accounts at risk",
        shown=shown,
        accounts=[{"risk": each, "recommendation": RECOMMENDATIONS[each.tier]} for each in shown],
        tiers=TIERS,
        tier=tier,
    )


@page("accounts-find/", name="account_find")
def account_find(request: HttpRequest) -> HttpResponse:
    """To the account with this id, else to the customer with it."""
    wanted = request.GET.get("account", "").strip()
    try:
        account_require_known(wanted)
    except Missing:
        if not customer_is_known(wanted):
            raise Missing(f"There is no account or customer {wanted}.") from None
        return HttpResponseRedirect(reverse("admin:customer", args=[wanted]))
    return HttpResponseRedirect(reverse("admin:account", args=[wanted]))


@page("accounts/<path:account_id>/", name="account")
def account_page(request: HttpRequest, account_id: str) -> HttpResponse:
    account_require_known(account_id)
    at = timezone.now()
    risk = account_risk(account_id, at)
    payments = list(payments_of(account_id=account_id)[:60])
    users = sorted({each.user_id for each in payments})
    cases = cases_about(account_ids=[account_id], users_alone=users)
    view_note(request, RecordView.Kind.ACCOUNT, account_id, user_id=users[0] if len(users) == 1 else None)
    return render(
        request,
        "workspace/screening/account.html",
        title=f"Account {account_id}",
        account_id=account_id,
        risk=risk,
        advice=advice(risk.tier, has_open_case=cases.filter(closed_at=None).exists()),
        payments=payments[:25],
        amounts=_chart(payments),
        users=users[:10],
        profiles=profiles_latest(users[:10]),
        past_signals=signals_past(account_id, at)[:20],
        alerts=alerts_about(account_ids=[account_id], users_alone=users)[:15],
        cases=cases[:15],
        picture=connections_picture(account_id),
        now=at,
    )


def _chart(payments: list[Transaction]) -> str:
    rows = payments[::-1]
    return charts.stems(
        [payment_point(row) for row in rows],
        marks=[hasattr(row, "decision") and row.decision.outcome != "approve" for row in rows],
        title=f"Amounts of the last {len(rows)} transactions in order; those not approved are marked",
    )
