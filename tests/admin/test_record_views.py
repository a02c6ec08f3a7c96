"""Who of staff looked at whose records is kept, for who may read the audit trail."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import quote

import pytest
from django.utils import timezone

from fraudsite.models import RecordView
from fraudsite.record_views import views_purge
from tests.clients import ApiClient
from tests.staff import StaffClient

pytestmark = pytest.mark.django_db(transaction=True)

PAYMENT = {
    "transaction_id": "T/1",
    "user_id": "ngozi",
    "account_id": "ngozi-savings",
    "amount": "100.00",
    "currency": "NGN",
    "transaction_type": "debit",
    "channel": "web",
}


@pytest.fixture
def analyst() -> StaffClient:
    assert ApiClient("transactions:write").post("transactions/", PAYMENT).status_code == 201
    return StaffClient("ada", "Analyst")


def noted() -> list[tuple[str, str, str, str | None]]:
    rows = RecordView.objects.order_by("id").values_list("viewed_by", "kind", "subject", "user_id")
    return list(rows)


def test_each_page_of_a_person_is_noted(analyst: StaffClient) -> None:
    analyst.page("/admin/customers/ngozi/")
    analyst.page("/admin/accounts/ngozi-savings/")
    analyst.page(f"/admin/payments/{quote('T/1', safe='')}/")
    analyst.page("/admin/ingestion/transaction/", q="ngozi")
    analyst.page("/admin/screening/decision/", q="T/1")
    assert analyst.get("/admin/customer-payments/ngozi/").status_code == 200

    assert noted() == [
        ("ada", "customer", "ngozi", "ngozi"),
        ("ada", "account", "ngozi-savings", "ngozi"),
        ("ada", "payment", "T/1", "ngozi"),
        ("ada", "search", "ngozi", None),
        ("ada", "search", "T/1", None),
        ("ada", "file", "ngozi", "ngozi"),
    ]
    assert RecordView.objects.filter(address="127.0.0.1").count() == 6


def test_what_a_payment_was_looked_for_by_is_noted(analyst: StaffClient) -> None:
    day = timezone.now().date().isoformat()
    analyst.page("/admin/payments-find/", amount="100", last4="", since=day, until=day)
    analyst.page("/admin/payments-find/", since=day)
    analyst.page("/admin/payments-find/", amount="none")

    assert noted() == [("ada", "search", f"amount 100, {day} to {day}", "ngozi")]


def test_nothing_is_noted_of_what_was_not_shown(analyst: StaffClient) -> None:
    assert analyst.get("/admin/customers/nobody/").status_code == 404
    analyst.page("/admin/ingestion/transaction/")
    analyst.get("/admin/customers/ngozi/", headers={"X-Requested-With": "live"})
    analyst.logout()
    assert analyst.get("/admin/customers/ngozi/").status_code == 302

    assert noted() == []


def test_auditors_find_who_looked_at_a_customer_and_nobody_else_does(analyst: StaffClient) -> None:
    analyst.page("/admin/accounts/ngozi-savings/")
    auditor = StaffClient("olu", "Auditor")
    views = "/admin/fraudsite/recordview/"

    assert "ngozi-savings" in auditor.page(views)
    assert "ngozi-savings" in auditor.page(views, q="ngozi")
    assert "ngozi-savings" in auditor.page(views, q="ada")
    assert "ngozi-savings" not in auditor.page(views, q="bola")
    assert analyst.get(views).status_code == 403
    pk = RecordView.objects.get(subject="ngozi-savings").pk
    assert auditor.post(f"{views}{pk}/delete/", {"post": "yes"}).status_code == 403
    assert auditor.post(f"{views}{pk}/change/", {"subject": "other"}).status_code == 403


def test_views_leave_after_their_time(analyst: StaffClient) -> None:
    analyst.page("/admin/customers/ngozi/")
    analyst.page("/admin/accounts/ngozi-savings/")
    long_ago = timezone.now() - timedelta(days=401)
    RecordView.objects.filter(kind="customer").update(viewed_at=long_ago)

    assert views_purge() == 1
    assert [kind for _, kind, *_ in noted()] == ["account"]
