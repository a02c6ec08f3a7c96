"""One customer, as a regulator asks about one: who it is, payments, alerts and cases, and a file of all payments."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils import timezone

from fraudsite.admin_site import page, render
from fraudsite.downloads import MAX_ROWS, csv_download
from fraudsite.errors import Invalid
from fraudsite.models import RecordView
from fraudsite.record_views import view_note
from screening.alerts.selectors import alerts_about
from screening.cases.selectors import cases_about
from screening.connections.customers import customer_body
from screening.connections.payment_rows import PAYMENT_COLUMNS, payment_rows
from screening.selectors import payments_of


@page("customers/<path:user_id>/", name="customer")
def customer_page(request: HttpRequest, user_id: str) -> HttpResponse:
    """Raises Missing for a customer nothing was ever heard of."""
    customer = customer_body(user_id, at=timezone.now())
    view_note(request, RecordView.Kind.CUSTOMER, user_id, user_id=user_id)
    accounts = [each["account_id"] for each in customer["accounts"]]
    return render(
        request,
        "workspace/screening/customer.html",
        title=f"Customer {user_id}",
        customer=customer,
        payments=payments_of(user_id=user_id)[:25],
        alerts=alerts_about(account_ids=accounts, user_id=user_id)[:15],
        cases=cases_about(account_ids=accounts, user_id=user_id)[:15],
    )


@page("customer-payments/<path:user_id>/", name="customer_payments")
def customer_payments_file(request: HttpRequest, user_id: str) -> StreamingHttpResponse:
    """All payments with what was decided of each and by which rules, newest first, as CSV."""
    customer_body(user_id, at=timezone.now())
    payments = payments_of(user_id=user_id)
    if payments[MAX_ROWS : MAX_ROWS + 1].exists():
        raise Invalid(
            f"There are more than {MAX_ROWS:,} payments. `GET transactions/?user_id=` gives them in pages."
        )
    view_note(request, RecordView.Kind.FILE, user_id, user_id=user_id)
    return csv_download("customer-payments.csv", PAYMENT_COLUMNS, payment_rows(payments))
