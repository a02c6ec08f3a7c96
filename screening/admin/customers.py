"""One customer, as a regulator asks about one: who it is, payments, alerts and cases, and a file of all payments."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils import timezone

from fraudsite.admin_site import page, render
from fraudsite.downloads import MAX_ROWS, csv_download
from fraudsite.errors import Invalid
from ingestion.models import Transaction
from ingestion.selectors import amount_text
from rules.models import Rule
from screening.alerts.models import Alert
from screening.cases.models import Case
from screening.connections.customers import customer_body
from screening.decisions import STATUS_LETTERS

_CHUNK = 1_000
COLUMNS = (
    "transaction_id",
    "occurred_at",
    "account_id",
    "counterparty_account_id",
    "amount",
    "currency",
    "transaction_type",
    "channel",
    "merchant_id",
    "merchant_name",
    "location",
    "country_code",
    "status",
    "decision",
    "risk_score",
    "rules_hit",
)


@page("customers/<path:user_id>/", name="customer")
def customer_page(request: HttpRequest, user_id: str) -> HttpResponse:
    """Raises Missing for a customer nothing was ever heard of."""
    customer = customer_body(user_id, at=timezone.now())
    accounts = [each["account_id"] for each in customer["accounts"]]
    about = Q(user_id=user_id) | Q(account_id__in=accounts)
    return render(
        request,
        "workspace/screening/customer.html",
        title=f"Customer {user_id}",
        customer=customer,
        payments=_payments(user_id).defer("metadata", "decision__results", "decision__facts")[:25],
        alerts=Alert.objects.filter(about, repeat_of=None)
        .select_related("case")
        .order_by("-occurred_at")[:15],
        cases=Case.objects.filter(about).order_by("-id")[:15],
    )


@page("customer-payments/<path:user_id>/", name="customer_payments")
def customer_payments(request: HttpRequest, user_id: str) -> StreamingHttpResponse:
    """All payments with what was decided of each and by which rules, newest first, as CSV."""
    customer_body(user_id, at=timezone.now())
    payments = _payments(user_id)
    if payments[MAX_ROWS : MAX_ROWS + 1].exists():
        raise Invalid(
            f"These are more than {MAX_ROWS:,} payments. `GET transactions/?user_id=` gives them in pages."
        )
    return csv_download("customer-payments.csv", COLUMNS, _rows(payments))


def _payments(user_id: str) -> QuerySet[Transaction]:
    of_user = Transaction.objects.filter(user_id=user_id, occurred_at__isnull=False)
    return of_user.select_related("decision").order_by("-occurred_at", "-id")


def _rows(payments: QuerySet[Transaction]) -> Iterator[Iterator[str]]:
    names = dict(Rule.objects.values_list("pk", "name"))
    for row in payments.defer("metadata", "decision__facts").iterator(chunk_size=_CHUNK):
        yield _cells(row, names)


def _cells(row: Transaction, names: dict[int, str]) -> Iterator[str]:
    decision = getattr(row, "decision", None)
    values: dict[str, Any] = {
        "occurred_at": _instant(row.occurred_at),
        "amount": amount_text(row.amount),
        "decision": decision.outcome if decision else "pending",
        "risk_score": f"{decision.total_risk_score.normalize():f}" if decision else "",
        "rules_hit": "; ".join(_hit(decision, names)) if decision else "",
    }
    for name in COLUMNS:
        value = values[name] if name in values else getattr(row, name)
        yield "" if value is None else str(value)


def _hit(decision: Any, names: dict[int, str]) -> Iterator[str]:
    for rule_id, _, status, *_ in decision.results["live"]:
        if status == STATUS_LETTERS["flagged"]:
            yield names.get(rule_id, f"rule {rule_id}")


def _instant(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone(UTC).isoformat()
