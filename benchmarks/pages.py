"""Server time and query count of every page of the workspace, with a million transactions in the database.

    python -m fraudsite.dev with -- python -m benchmarks.pages [--transactions 1000000]

The floor is 300 ms a page and a query count that does not grow with rows: each list is also opened on a database of a
hundredth of the size, and must ask as many queries. Figures kept for some seconds are forgotten before each request.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fraudsite.settings")

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402

from fraudsite.services import api_key_create  # noqa: E402
from fraudsite.short_cache import forget_kept  # noqa: E402
from reporting.reports import report_make  # noqa: E402
from reporting.rollups import rollups_run  # noqa: E402
from rules.models import Rule  # noqa: E402
from screening.models import Case  # noqa: E402
from screening.outbox.worker import outbox_work  # noqa: E402

FLOOR_MS = 300
REPEATS = 5
DAYS = 30

_TRANSACTIONS = """
INSERT INTO ingestion_transaction (transaction_id, user_id, account_id, counterparty_account_id, amount, currency,
    base_amount, transaction_type, channel, merchant_id, device_id, card_id, country_code, status, metadata,
    occurred_at,
    arrival, received_at, payload_digest)
SELECT 'B' || n, 'user-' || n %% 50000, 'acct-' || n %% 60000, 'acct-' || (n * 7) %% 60000, (n %% 90000) + 1, 'NGN',
    (n %% 90000) + 1, 'transfer', (ARRAY['web','mobile','pos','atm'])[1 + n %% 4], 'merchant-' || n %% 2000,
    'device-' || n %% 70000, 'card-' || n %% 60000, 'NG', 'pending', '{}',
    now() - interval '2 minutes' - (%(last)s - n) * (%(span)s * interval '1 second' / %(last)s),
    1000000 + n, now(), decode(md5(n::text), 'hex')
FROM generate_series(%(first)s, %(last)s) AS n
"""
_DECISIONS = """
INSERT INTO screening_decision (decision_id, transaction_id, outcome, overall_status, total_risk_score,
    ruleset, degraded,
    results, facts, duration_ms, created_at)
SELECT gen_random_uuid(), t.id, CASE WHEN t.id %% 25 = 0 THEN 'review' WHEN t.id %% 331 = 0 THEN 'block' ELSE
    'approve' END,
    CASE WHEN t.id %% 25 = 0 OR t.id %% 331 = 0 THEN 'flagged' ELSE 'clean' END, CASE WHEN t.id %% 25 = 0 THEN
    60 ELSE 0 END,
    1, false, convert_to('{"live": [], "shadow": []}', 'UTF8'), '{}', 2.5, t.occurred_at
FROM ingestion_transaction t WHERE t.transaction_id LIKE 'B%%' ORDER BY t.id
"""
_HITS = """
INSERT INTO screening_rulehit (decision_id, rule_id, rule_version, status, risk_score, is_shadow, created_at)
SELECT d.id, (%(rules)s::bigint[])[1 + d.id %% array_length(%(rules)s::bigint[], 1)], 1, 'flagged', 60, false,
    d.created_at
FROM screening_decision d WHERE d.outcome <> 'approve'
"""
_CASES = """
INSERT INTO screening_case (case_id, title, user_id, account_id, status, priority, priority_rank, assignee, alert_count,
    version, opened_at, last_alert_at, due_at, closed_at, closed_by, disposition)
SELECT gen_random_uuid(), 'case ' || n, 'user-' || n, 'acct-' || n, CASE WHEN n %% 3 = 0 THEN 'closed' ELSE 'open' END,
    (ARRAY['low','medium','high','critical'])[1 + n %% 4], n %% 4, '', 1, 1, now() - n * interval '90 seconds',
    now() - n * interval '90 seconds', now() - n * interval '90 seconds' + interval '1 day',
    CASE WHEN n %% 3 = 0 THEN now() END, '', CASE WHEN n %% 3 = 0 THEN 'false_positive' END
FROM generate_series(1, %(cases)s) AS n
"""
_ALERTS = """
INSERT INTO screening_alert (alert_id, kind, decision_id, rule_id, rule_version, transaction_id, event_kind,
    event_id, user_id,
    account_id, signal, severity, reason, status, case_id, occurred_at, created_at)
SELECT gen_random_uuid(), 'rule', h.decision_id, h.rule_id, 1, d.transaction_id, 'transaction', 'B' || h.id, t.user_id,
    t.account_id, 'velocity', (ARRAY['low','medium','high','critical'])[1 + h.id %% 4], 'a reason', 'open',
    (SELECT min(id) FROM screening_case) + h.id %% %(cases)s, h.created_at, h.created_at
FROM screening_rulehit h JOIN screening_decision d ON d.id = h.decision_id JOIN ingestion_transaction t ON t.id
    = d.transaction_id
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transactions", type=int, default=1_000_000)
    most = parser.parse_args().transactions
    staff = _prepare()
    few = max(most // 100, 100)
    _fill(1, few, whole=most)
    small = {name: _measured(staff, path)[3] for name, path in _pages().items()}
    _fill(few + 1, most, whole=most)
    slow = _print_table(staff, small, most)
    return 1 if slow else 0


def _prepare() -> Client:
    call_command("migrate", interactive=False, verbosity=0)
    call_command("rulepack", "install", verbosity=0)
    root = User.objects.create_superuser("root", password="not needed")
    staff = Client(SERVER_NAME="localhost")
    staff.force_login(root)
    _pay_for_real()
    return staff


def _pay_for_real() -> None:
    """A dozen payments through the API, so that there is a decision with evidence and a case with alerts."""
    _key, raw = api_key_create(name="bench", scopes=["transactions:write"], created_by="user:bench")
    client = Client(headers={"authorization": f"Api-Key {raw}"}, SERVER_NAME="localhost")
    for index in range(12):
        body = {
            "transaction_id": f"R{index}",
            "user_id": "real",
            "account_id": "acct-real",
            "amount": "150000",
        }
        body |= {
            "transaction_type": "transfer",
            "channel": "web",
            "counterparty_account_id": "acct-7",
            "device_id": "device-7",
        }
        response = client.post("/api/v1/transactions/", body, content_type="application/json")
        assert response.status_code == 201, response.content
    outbox_work()


def _fill(first: int, last: int, *, whole: int) -> None:
    started = time.monotonic()
    rules = list(Rule.objects.values_list("pk", flat=True)[:20])
    cases = max(20, last // 400)
    values = {"first": first, "last": last, "span": DAYS * 86_400, "rules": rules, "cases": cases}
    with connection.cursor() as cursor:
        if first > 1:
            cursor.execute(
                "TRUNCATE screening_rulehit, screening_alert, reporting_minutefigures, reporting_merchanthour, "
                "reporting_rollupstate CASCADE"
            )
            cursor.execute(
                "DELETE FROM screening_decision WHERE transaction_id IN "
                "(SELECT id FROM ingestion_transaction WHERE transaction_id LIKE 'B%')"
            )
            cursor.execute("DELETE FROM ingestion_transaction WHERE transaction_id LIKE 'B%'")
            values["first"] = 1
        cursor.execute(_TRANSACTIONS, values)
        cursor.execute(_DECISIONS, values)
        cursor.execute(_HITS, values)
        cursor.execute(_CASES, values)
        cursor.execute(_ALERTS, values)
    rollups_run(steps=DAYS * 24 + 5)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    print(f"{last:,} transactions, {cases:,} cases in {time.monotonic() - started:.0f} s", file=sys.stderr)


def _pages() -> dict[str, str]:
    case = Case.objects.order_by("-alert_count", "id").first()
    rule = Rule.objects.order_by("id").first()
    assert case is not None
    assert rule is not None
    report = report_make(kind="daily_operations", principal="user:bench")
    return {
        "operations centre": "/admin/operations/",
        "operations, live part": "/admin/operations/live/",
        "transactions": "/admin/ingestion/transaction/",
        "transactions, page 100": "/admin/ingestion/transaction/?p=100",
        "transactions of a user": "/admin/ingestion/transaction/?q=user-77",
        "transactions, nothing found": "/admin/ingestion/transaction/?q=nobody",
        "transaction": "/admin/payments/R11/",
        "decisions": "/admin/screening/decision/",
        "decisions, blocked": "/admin/screening/decision/?outcome__exact=block",
        "decisions of an account": "/admin/screening/decision/?q=acct-77",
        "cases": "/admin/cases/",
        "cases, overdue and mine": "/admin/cases/?overdue=1&assignee=me",
        "case": f"/admin/cases/{case.case_id}/",
        "accounts at risk": "/admin/accounts/",
        "account": "/admin/accounts/acct-77/",
        "alerts": "/admin/screening/alert/",
        "alerts, critical": "/admin/screening/alert/?severity__exact=critical",
        "rules": "/admin/rules/rule/",
        "rule": f"/admin/rules/rule/{rule.pk}/change/",
        "rule builder": "/admin/rules/rule/add/",
        "waiting for approval": "/admin/rules/waiting/",
        "rulesets": "/admin/rules/rulesetversion/",
        "lists": "/admin/lists/",
        "imports": "/admin/imports/",
        "batches": "/admin/batches/",
        "backtests": "/admin/backtests/",
        "reports": "/admin/reports/",
        "report": f"/admin/reports/{report.report_id}/",
        "rule performance, 7 days": "/admin/performance/?days=7",
        "rule performance, 90 days": "/admin/performance/?days=90",
        "merchants and channels, day": "/admin/exposure/?hours=24",
        "merchants and channels, 30 days": "/admin/exposure/?hours=720",
        "audit trail": "/admin/audit/",
        "webhooks": "/admin/webhooks/",
        "API keys": "/admin/fraudsite/apikey/",
        "users": "/admin/auth/user/",
    }


def _measured(staff: Client, path: str) -> tuple[float, float, float, int]:
    """(median ms, least ms, this process's CPU ms, queries), the first request left out.

    On a busy machine the median says how busy it is; the least and the CPU time say more about the page.
    """
    times: list[float] = []
    cpu_ms: list[float] = []
    queries = 0
    for _ in range(REPEATS + 1):
        forget_kept()
        with CaptureQueriesContext(connection) as captured:
            started, cpu = time.perf_counter(), time.process_time()
            response: Any = staff.get(path)
            body = response.content
            times.append((time.perf_counter() - started) * 1000)
            cpu_ms.append((time.process_time() - cpu) * 1000)
        # 302: the small database has no such page.
        assert response.status_code in (200, 302), (path, response.status_code, body[:300])
        queries = len(captured)
    return statistics.median(times[1:]), min(times[1:]), statistics.median(cpu_ms[1:]), queries


def _print_table(staff: Client, small: dict[str, int], most: int) -> list[str]:
    failed = []
    print(
        f"| page ({most:,} transactions) | median ms | least ms | CPU ms | floor | queries | with a hundredth |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, path in _pages().items():
        took_ms, least_ms, cpu_ms, queries = _measured(staff, path)
        # A page that shows more rows of a bounded list may ask no more than one that shows fewer.
        is_bad = took_ms > FLOOR_MS or queries > small[name] + 2
        failed += [name] if is_bad else []
        figures = f"{took_ms:.0f} | {least_ms:.0f} | {cpu_ms:.0f} | {FLOOR_MS} | {queries} | {small[name]}"
        print(f"| {name}{' **!**' if is_bad else ''} | {figures} |", flush=True)
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
