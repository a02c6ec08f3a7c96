"""A case on paper: what was found, said and done, for a regulator, a court or an auditor."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import zip_longest
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from ingestion.events.models import CustomerProfile, Label
from ingestion.models import Transaction
from ingestion.selectors import money_words
from reporting.audit import head
from reporting.report_cells import Section
from screening.cases.evidence import alerts_with_evidence
from screening.cases.history_words import entry_words
from screening.cases.models import Case
from screening.cases.selectors import case_get, payments_alerted
from screening.cases.services import case_file_note
from screening.risk.selectors import account_risk

ALERTS_SHOWN = PAYMENTS_SHOWN = 500
# Characters and lines of a cell that fit on a page however narrow its column.
PIECE, PIECE_LINES = 600, 12


@transaction.atomic
def case_file_make(*, case_id: UUID, principal: str) -> tuple[str, bytes]:
    """(name, PDF). That it was made, by whom, is in the case's history and in the audit trail."""
    # What draws PDF takes longer to import than Django; most processes never do.
    from reporting.report_pdf import document_pdf

    case, now, newest = case_get(case_id), timezone.now(), head()
    case_file_note(case=case, principal=principal)
    content = document_pdf(
        f"Case {case.pk}: {case.title}",
        ["Confidential. What was found, said and done; times are UTC."],
        case_sections(case, at=now),
        made=[
            ("Case", str(case.case_id)),
            ("Made", f"{_time(now)} UTC by {principal}"),
            ("Audit trail when it was made", f"{newest.number}:{newest.digest}"),
        ],
        made_at=now,
    )
    return f"case-{case.pk}-{now:%Y-%m-%d}.pdf", content


def case_sections(case: Case, *, at: datetime) -> list[Section]:
    return [
        _facts(case, at),
        _found(case),
        _payments(case),
        _section("Notes", {"When": 2, "Who": 2, "Note": 9}, _notes(case)),
        _section("What was done", {"When": 2, "Who": 2, "What": 9}, _history(case)),
    ]


def _section(title: str, columns: dict[str, int], rows: Iterable[list[str]], note: str = "") -> Section:
    """`columns`: how wide each is beside the others."""
    return {
        "title": title,
        "columns": list(columns),
        "widths": tuple(columns.values()),
        "rows": [piece for row in rows for piece in _pieces(row)],
        "note": note,
    }


def _pieces(row: list[str]) -> list[list[str]]:
    """A row as rows that fit on a page each: what is too long goes on below."""
    return [list(piece) for piece in zip_longest(*map(_cell_pieces, row), fillvalue="")]


def _cell_pieces(cell: str) -> list[str]:
    lines = [line[at : at + PIECE] for line in cell.split("\n") for at in range(0, len(line) or 1, PIECE)]
    found = [""]
    for line in lines:
        together = f"{found[-1]}\n{line}" if found[-1] else line
        if len(together) > PIECE or together.count("\n") >= PIECE_LINES:
            found.append(line)
        else:
            found[-1] = together
    return found


def _facts(case: Case, at: datetime) -> Section:
    facts = {
        "Status": case.get_status_display(),
        "Finding": case.get_disposition_display() if case.disposition else "none yet",
        "Priority": case.priority,
        "Opened": _time(case.opened_at),
        "To be closed by": _time(case.due_at),
        "Closed": f"{_time(case.closed_at)} by {case.closed_by}" if case.closed_at else "no",
        "Worked by": case.assignee or "nobody",
        "Customer": case.user_id or "",
        "Account": case.account_id or "",
    }
    profile = CustomerProfile.objects.filter(user_id=case.user_id).first() if case.user_id else None
    if profile is not None:
        facts |= {
            "Customer's risk tier": profile.risk_tier,
            "KYC": profile.kyc_status,
            "Account type": profile.account_type or "",
            "Country of residence": profile.country_of_residence or "",
        }
    if case.account_id:
        risk = account_risk(case.account_id, at)
        facts["Account's risk now"] = f"{risk.tier} ({risk.score.normalize():f})"
    rows = [[name, str(value).replace("_", " ")] for name, value in facts.items() if value]
    return _section("The case", {"Fact": 3, "As it stands": 10}, rows)


def _found(case: Case) -> Section:
    alerts = alerts_with_evidence(case, at_most=ALERTS_SHOWN)
    n = case.alerts.filter(repeat_of=None).count()
    note = f"The newest {ALERTS_SHOWN} of {n:,}." if n > len(alerts) else ""
    rows = [_found_row(each["alert"], each["result"], each["looked_for"]) for each in alerts]
    return _section(
        "What was found", {"When": 2, "Severity": 1, "Rule": 3, "What": 6, "Payment": 3}, rows, note
    )


def _found_row(alert: Any, result: dict[str, Any] | None, looked_for: str) -> list[str]:
    met = (
        [each["text"] for each in result["details"]["conditions"] if each["met"]] if result else [looked_for]
    )
    rule = f"{alert.rule.name}, version {alert.rule_version}" if alert.rule else ""
    payment = alert.transaction.transaction_id if alert.transaction else ""
    what = "\n".join(text for text in (alert.reason or (alert.signal or "").replace("_", " "), *met) if text)
    return [_time(alert.occurred_at), alert.severity, rule, what, payment]


def _payments(case: Case) -> Section:
    marked = payments_alerted(case)
    shown = Transaction.objects.filter(pk__in=marked).select_related("decision")
    newest = list(
        shown.defer("decision__results", "decision__facts").order_by("-occurred_at")[:PAYMENTS_SHOWN]
    )
    proved: dict[str, bool] = {}
    ids = [each.transaction_id for each in newest]
    # The latest known comes first.
    for label in Label.objects.filter(transaction_id__in=ids, known_from__lte=timezone.now()):
        proved.setdefault(label.transaction_id, label.is_fraud)
    columns = {"Payment": 4, "When": 2, "Amount": 2, "Type, channel": 2, "To": 3, "Country": 1}
    return _section(
        "Payments that raised an alert",
        columns | {"Decision": 1, "Proved to be": 1},
        (_payment_row(each, proved.get(each.transaction_id)) for each in newest),
        f"The newest {PAYMENTS_SHOWN} of {len(marked):,}." if len(marked) > len(newest) else "",
    )


def _payment_row(row: Transaction, is_fraud: bool | None) -> list[str]:
    decision = getattr(row, "decision", None)
    return [
        row.transaction_id,
        _time(row.occurred_at),
        money_words(row),
        f"{row.transaction_type}, {row.channel}".replace("_", " "),
        row.counterparty_account_id or row.merchant_name or row.merchant_id or "",
        row.country_code or "",
        decision.outcome if decision else "pending",
        {None: "", True: "fraud", False: "no fraud"}[is_fraud],
    ]


def _notes(case: Case) -> Iterable[list[str]]:
    return ([_time(note.created_at), note.author, note.text] for note in case.notes.all())


def _history(case: Case) -> Iterable[list[str]]:
    return ([_time(each.created_at), each.actor, entry_words(each)] for each in case.entries.all())


def _time(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"
