"""The sections of reports, each a question to facts that do not change: (start, end) in, a table out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from django.conf import settings
from django.db import connection

from reporting.models import Report
from reporting.report_cells import Section

_DECISIONS = """
FROM screening_decision d JOIN ingestion_transaction t ON t.id = d.transaction_id
WHERE d.created_at >= %(start)s AND d.created_at < %(end)s
"""
_SUMS = """count(*), count(*) FILTER (WHERE d.outcome = 'approve'), count(*) FILTER (WHERE d.outcome = 'review'),
    count(*) FILTER (WHERE d.outcome = 'block'), sum(t.base_amount),
    sum(t.base_amount) FILTER (WHERE d.outcome <> 'approve')"""
_SUM_COLUMNS = (
    "Transactions",
    "Approved",
    "Review",
    "Blocked",
    "Not approved, %",
    "Amount",
    "Amount not approved",
)


def decisions_in_total(start: datetime, end: datetime) -> Section:
    more = "count(*) FILTER (WHERE d.degraded), avg(d.total_risk_score), count(*) FILTER (WHERE t.base_amount IS NULL)"
    sql = f"SELECT {_SUMS}, {more} {_DECISIONS}"
    row = _query(sql, start, end)[0]
    shown = _sums(row[:6])
    rows = [
        *([label, value] for label, value in zip(_SUM_COLUMNS, shown, strict=True)),
        ["Average risk score", _decimal(row[7])],
        ["Decided over SQL while Redis was away", _count(row[6])],
        ["Without an exchange rate, so in no amount here", _count(row[8])],
    ]
    return _section("Decisions", ("Figure", "Value"), rows, note=f"Amounts in {settings.BASE_CURRENCY}.")


def decisions_by_hour(start: datetime, end: datetime) -> Section:
    hour = "to_char(d.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:00')"
    sql = f"SELECT {hour}, {_SUMS} {_DECISIONS} GROUP BY 1 ORDER BY 1"
    return _summed("Decisions by hour (UTC)", "Hour", sql, start, end)


def decisions_by_day(start: datetime, end: datetime) -> Section:
    sql = f"SELECT to_char(d.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD'), {_SUMS} {_DECISIONS} GROUP BY 1 ORDER BY 1"
    return _summed("Decisions by day (UTC)", "Day", sql, start, end)


def decisions_by_channel(start: datetime, end: datetime) -> Section:
    sql = f"SELECT t.channel, {_SUMS} {_DECISIONS} GROUP BY 1 ORDER BY 2 DESC, 1"
    return _summed("Decisions by channel", "Channel", sql, start, end)


def merchants(start: datetime, end: datetime) -> Section:
    order = "ORDER BY 7 DESC NULLS LAST, 2 DESC, 1 LIMIT 25"
    sql = f"SELECT t.merchant_id, {_SUMS} {_DECISIONS} AND t.merchant_id IS NOT NULL GROUP BY 1 {order}"
    return _summed("Merchants by amount not approved (the first 25)", "Merchant", sql, start, end)


_RULE_HITS = """
SELECT h.rule_id, max(h.rule_version), count(*) FILTER (WHERE h.status = 'flagged' AND NOT h.is_shadow),
    count(*) FILTER (WHERE h.status = 'flagged' AND h.is_shadow), count(*) FILTER (WHERE h.status = 'error'),
    avg(h.risk_score) FILTER (WHERE h.status = 'flagged' AND NOT h.is_shadow),
    (SELECT v.definition ->> 'name' FROM rules_ruleversion v
     WHERE v.rule_id = h.rule_id AND v.number = max(h.rule_version))
FROM screening_rulehit h WHERE h.created_at >= %(start)s AND h.created_at < %(end)s
GROUP BY h.rule_id ORDER BY 3 DESC, 1
"""


def rule_hits(start: datetime, end: datetime) -> Section:
    rows = [
        [name, f"{rule_id} v{version}", _count(hits), _count(shadow), _count(errors), _decimal(score)]
        for rule_id, version, hits, shadow, errors, score, name in _query(_RULE_HITS, start, end)
    ]
    columns = ("Rule", "Id, newest version that hit", "Hits", "In shadow", "Failed", "Average score")
    return _section("Rules", columns, rows, note="Rules that neither hit nor failed are not listed.")


_RULE_FINDINGS = """
WITH disposed AS (
    SELECT DISTINCT ON (e.case_id) e.case_id, e.details ->> 'disposition' AS disposition FROM screening_caseentry e
    WHERE e.kind = 'disposed' AND e.created_at >= %(start)s AND e.created_at < %(end)s ORDER BY e.case_id, e.id DESC
)
SELECT a.rule_id, max(v.definition ->> 'name'), count(*), count(*) FILTER (WHERE d.disposition = 'confirmed_fraud'),
    count(*) FILTER (WHERE d.disposition = 'false_positive'), count(*) FILTER (WHERE d.disposition = 'inconclusive')
FROM disposed d JOIN screening_alert a ON a.case_id = d.case_id
JOIN rules_ruleversion v ON v.rule_id = a.rule_id AND v.number = a.rule_version
WHERE a.rule_id IS NOT NULL AND a.created_at < %(end)s GROUP BY a.rule_id ORDER BY 3 DESC, 1
"""


def rule_findings(start: datetime, end: datetime) -> Section:
    rows = []
    for rule_id, name, alerts, fraud, false, open_ in _query(_RULE_FINDINGS, start, end):
        share = _percent(false, fraud + false)
        rows.append([name, str(rule_id), _count(alerts), _count(fraud), _count(false), _count(open_), share])
    columns = (
        "Rule",
        "Id",
        "Alerts",
        "Confirmed fraud",
        "False positive",
        "Inconclusive",
        "False positives, %",
    )
    note = (
        "Alerts of cases closed in the period. The percentage is of alerts with a finding; it is not a "
        "false-positive rate, which would need to know of what did not hit."
    )
    return _section("What the rules' alerts turned out to be", columns, rows, note=note)


_RULE_CHANGES = """
SELECT to_char(v.live_from AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'), v.definition ->> 'name', v.number,
    CASE WHEN v.is_active THEN 'in force' ELSE 'switched off' END, v.authored_by, coalesce(v.reviewed_by, ''),
    v.change_note
FROM rules_ruleversion v WHERE v.live_from >= %(start)s AND v.live_from < %(end)s ORDER BY v.live_from, v.id
"""


def rule_changes(start: datetime, end: datetime) -> Section:
    rows = [[*row[:2], f"v{row[2]}", *row[3:]] for row in _query(_RULE_CHANGES, start, end)]
    columns = ("When (UTC)", "Rule", "Version", "Became", "Written by", "Approved by", "Change")
    return _section("Rules that came in force", columns, rows)


def alerts_raised(start: datetime, end: datetime) -> Section:
    sql = """SELECT severity, coalesce(signal, ''), count(*), count(DISTINCT account_id) FROM screening_alert
        WHERE created_at >= %(start)s AND created_at < %(end)s GROUP BY 1, 2
        ORDER BY array_position(ARRAY['critical', 'high', 'medium', 'low'], severity::text), 3 DESC, 2"""
    rows = [
        [severity, signal, _count(n), _count(accounts)]
        for severity, signal, n, accounts in _query(sql, start, end)
    ]
    return _section("Alerts", ("Severity", "Signal", "Alerts", "Accounts"), rows)


_CASES = """
SELECT count(*) FILTER (WHERE kind = 'opened'), count(*) FILTER (WHERE kind = 'reopened'),
    count(*) FILTER (WHERE kind = 'disposed' AND details ->> 'disposition' = 'confirmed_fraud'),
    count(*) FILTER (WHERE kind = 'disposed' AND details ->> 'disposition' = 'false_positive'),
    count(*) FILTER (WHERE kind = 'disposed' AND details ->> 'disposition' = 'inconclusive')
FROM screening_caseentry WHERE created_at >= %(start)s AND created_at < %(end)s
"""
_HOURS_TO_CLOSE = """
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM e.created_at - c.opened_at) / 3600)
FROM screening_caseentry e JOIN screening_case c ON c.id = e.case_id
WHERE e.kind = 'disposed' AND e.created_at >= %(start)s AND e.created_at < %(end)s
"""


def cases_worked(start: datetime, end: datetime) -> Section:
    opened, reopened, fraud, false, inconclusive = _query(_CASES, start, end)[0]
    hours = _query(_HOURS_TO_CLOSE, start, end)[0][0]
    rows = [
        ["Opened", _count(opened)],
        ["Opened again", _count(reopened)],
        ["Closed: confirmed fraud", _count(fraud)],
        ["Closed: false positive", _count(false)],
        ["Closed: inconclusive", _count(inconclusive)],
        ["Median hours from opening to closing", _decimal(None if hours is None else Decimal(str(hours)))],
    ]
    return _section("Cases", ("Figure", "Value"), rows)


def threshold_transactions(start: datetime, end: datetime) -> Section:
    """What a threshold report would have to hold, and what stays just below it."""
    limit = settings.STRUCTURING_THRESHOLD
    at_limit, near = (
        "t.base_amount >= %(limit)s",
        "t.base_amount >= %(limit)s * 0.9 AND t.base_amount < %(limit)s",
    )
    sql = f"""SELECT count(*) FILTER (WHERE {at_limit}), count(*) FILTER (WHERE {near}),
        count(DISTINCT t.account_id) FILTER (WHERE {at_limit}) {_DECISIONS}"""
    above, just_below, accounts = _query(sql, start, end, limit=limit)[0]
    amount = f"{limit:,} {settings.BASE_CURRENCY}"
    rows = [
        [f"Transactions of {amount} or more", _count(above)],
        ["Accounts that made them", _count(accounts)],
        [f"Transactions of 90 % of {amount} or more, below it", _count(just_below)],
    ]
    return _section("Transactions at the reporting threshold", ("Figure", "Value"), rows)


def changes_by_people(start: datetime, end: datetime) -> Section:
    sql = """SELECT actor, table_name, action, count(*) FROM reporting_auditentry
        WHERE at >= %(start)s AND at < %(end)s GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""
    rows = [
        [actor, table, action, _count(number)] for actor, table, action, number in _query(sql, start, end)
    ]
    return _section("Changes by people, keys and processes", ("Who", "What", "Action", "Changes"), rows)


SECTIONS: dict[str, tuple[Callable[[datetime, datetime], Section], ...]] = {
    Report.Kind.DAILY_OPERATIONS: (
        decisions_in_total,
        decisions_by_hour,
        decisions_by_channel,
        rule_hits,
        alerts_raised,
        cases_worked,
        merchants,
    ),
    Report.Kind.WEEKLY_RULES: (decisions_in_total, decisions_by_day, rule_hits, rule_findings, rule_changes),
    Report.Kind.MONTHLY_COMPLIANCE: (
        decisions_in_total,
        decisions_by_day,
        threshold_transactions,
        alerts_raised,
        cases_worked,
        rule_findings,
        rule_changes,
        changes_by_people,
    ),
}


def _summed(title: str, first: str, sql: str, start: datetime, end: datetime) -> Section:
    rows = [[row[0], *_sums(row[1:7])] for row in _query(sql, start, end)]
    return _section(title, (first, *_SUM_COLUMNS), rows)


def _sums(row: Sequence[Any]) -> list[str]:
    transactions, approved, review, blocked, amount, flagged_amount = row
    return [
        _count(transactions),
        _count(approved),
        _count(review),
        _count(blocked),
        _percent(review + blocked, transactions),
        _money(amount),
        _money(flagged_amount),
    ]


def _section(title: str, columns: Sequence[str], rows: list[list[str]], note: str = "") -> Section:
    return {"title": title, "columns": list(columns), "rows": rows, "note": note}


def _query(sql: str, start: datetime, end: datetime, **more: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, {"start": start, "end": end, **more})
        return list(cursor.fetchall())


def _count(number: int) -> str:
    return f"{number:,}"


def _money(amount: Decimal | None) -> str:
    return f"{(amount or Decimal(0)).quantize(Decimal('0.01'), ROUND_HALF_EVEN):,}"


def _decimal(value: Decimal | None) -> str:
    return "" if value is None else f"{value.quantize(Decimal('0.1'), ROUND_HALF_EVEN):,}"


def _percent(part: int, whole: int) -> str:
    return f"{(Decimal(100 * part) / whole).quantize(Decimal('0.1'), ROUND_HALF_EVEN)}" if whole else ""
