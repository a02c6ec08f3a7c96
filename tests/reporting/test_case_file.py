"""A case as a file to take away: everything in it, and that somebody took it."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from reporting.case_file import case_file_make, case_sections
from reporting.models import AuditEntry
from screening.cases.services import case_dispose, case_note
from screening.models import Case, CaseEntry
from screening.outbox.worker import outbox_work
from tests.admin.samples import case_of_payments, payment, rule
from tests.clients import ApiClient
from tests.staff import StaffClient

pytestmark = pytest.mark.django_db


@pytest.fixture
def case() -> Case:
    return case_of_payments()


def rows(case: Case, title: str) -> list[list[str]]:
    (found,) = [each for each in case_sections(case, at=timezone.now()) if each["title"] == title]
    assert all(len(row) == len(found["columns"]) == len(found["widths"]) for row in found["rows"])
    return found["rows"]


def take(client: StaffClient, case: Case) -> Any:
    return client.post(reverse("admin:case_file", args=[case.case_id]))


def test_it_tells_what_was_found_said_and_done(case: Case) -> None:
    case_note(case_id=case.case_id, text="Called the customer: knows nothing of it", principal="user:eve")
    case_dispose(case_id=case.case_id, disposition="confirmed_fraud", principal="user:eve")
    case.refresh_from_db()

    facts = dict(rows(case, "The case"))
    assert (facts["Finding"], facts["Account"], facts["Customer"]) == ("Confirmed Fraud", "A1", "U1")
    assert facts["Closed"].endswith("by user:eve")
    found = [row for row in rows(case, "What was found") if row[2] == "Large amount, version 1"]
    assert {row[4] for row in found} == {"T0"}, "repeats are left out"
    assert "1,500" in found[0][3], "the evidence in words"
    payments = rows(case, "Payments that raised an alert")
    assert {row[0] for row in payments} == {"T0", "T1", "T2"}
    assert {row[-1] for row in payments} == {"fraud"}
    assert rows(case, "Notes")[0][1:] == ["user:eve", "Called the customer: knows nothing of it"]
    assert [row[1:] for row in rows(case, "What was done")][-1] == [
        "user:eve",
        "closed the case: confirmed fraud, 3 transactions labelled",
    ]


def test_it_is_a_pdf_and_stands_in_the_history_and_the_audit_trail(case: Case) -> None:
    version = case.version
    client = StaffClient("eve", "Investigator")
    assert "Case file (PDF)" in client.page(reverse("admin:case", args=[case.case_id]))

    answer = take(client, case)

    assert answer.content.startswith(b"%PDF")
    assert f'filename="case-{case.pk}-' in answer["Content-Disposition"]
    entry = CaseEntry.objects.get(kind="file_made")
    assert (entry.case_id, entry.actor) == (case.pk, "user:eve")
    case.refresh_from_db()
    assert case.version == version, "who has the case open may go on"
    assert "user:eve made the case file" in " ".join(
        client.page(reverse("admin:case", args=[case.case_id])).split()
    )


@pytest.mark.django_db(transaction=True)
def test_the_audit_trail_names_who_took_it() -> None:
    rule()
    payment(ApiClient(), "T0")
    outbox_work()
    take(StaffClient("aud", "Auditor"), Case.objects.get(account_id="A1"))

    entry = AuditEntry.objects.filter(table_name="screening_caseentry").latest("number")
    assert (entry.actor, '"file_made"' in entry.body) == ("user:aud", True)


def test_it_is_for_who_works_cases_or_audits(case: Case) -> None:
    assert take(StaffClient("ann", "Analyst"), case).status_code == 200
    author = StaffClient("ron", "Rule author")
    assert take(author, case).status_code == 403
    assert "Case file" not in author.page(reverse("admin:case", args=[case.case_id]))
    assert author.get(reverse("admin:case_file", args=[case.case_id])).status_code == 405
    missing = reverse("admin:case_file", args=["00000000-0000-0000-0000-000000000000"])
    assert StaffClient("eve", "Investigator").post(missing).status_code == 404
    assert CaseEntry.objects.filter(kind="file_made").count() == 1


def test_long_names_and_any_script_fit_on_the_page() -> None:
    rule()
    payment(
        ApiClient(), "T" * 128, user_id="U" * 128, account_id="A" * 128, counterparty_account_id="B" * 128
    )
    outbox_work()
    case = Case.objects.get()
    case_note(case_id=case.case_id, text="未知 " + "x" * 9_000 + "\n=1+1\nعميل", principal="user:eve")

    assert case_file_make(case_id=case.case_id, principal="user:eve")[1].startswith(b"%PDF")
