"""The Fraud Detection Handbook's own window columns, an outside oracle: not one value may differ."""

from __future__ import annotations

import csv
import gzip
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from ingestion.models import Transaction
from rules.core.compile import CompiledRuleset, compile_rule
from rules.core.lists import NO_LISTS
from rules.core.parse import parse_rule
from screening.batch.columns.engine import ColumnRun
from screening.batch.columns.outcomes import Judge
from screening.batch.columns.scope import AsOf, Scope
from screening.batch.columns.stage import Memory

SAMPLE = Path(__file__).resolve().parents[4] / "shared" / "data" / "handbook_small_customers.csv.gz"
DAYS = (1, 7, 30)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SAMPLE.exists(), reason="the handbook sample is not on this machine"),
]


def windows_ruleset() -> CompiledRuleset:
    conditions = [
        {
            "field": "amount",
            "operator": "gte",
            "value": 0,
            "aggregate_function": function,
            "time_window": f"{24 * days}h",
            "group_by": ["user_id"],
        }
        for days in DAYS
        for function in ("count", "avg")
    ]
    document = {
        "name": "handbook",
        "rule_type": "velocity",
        "conditions": conditions,
        "actions": [{"action_type": "flag", "parameters": {"risk_score": 1}}],
    }
    return CompiledRuleset([compile_rule(parse_rule(document).rule, rule_id=1)])


def sample_store() -> dict[str, list[Decimal]]:
    """Store the sample; returns the oracle's six columns by transaction id."""
    expected, rows = {}, []
    with gzip.open(SAMPLE, "rt") as file:
        for line in sorted(csv.DictReader(file), key=lambda each: int(each["seq"])):
            expected[line["transaction_id"]] = [
                Decimal(line[name])
                for days in DAYS
                for name in (
                    f"CUSTOMER_ID_NB_TX_{days}DAY_WINDOW",
                    f"CUSTOMER_ID_AVG_AMOUNT_{days}DAY_WINDOW",
                )
            ]
            rows.append(
                Transaction(
                    transaction_id=line["transaction_id"],
                    user_id=line["user_id"],
                    account_id=line["user_id"],
                    amount=Decimal(line["amount"]),
                    currency="NGN",
                    transaction_type="debit",
                    channel="pos",
                    merchant_id=line["merchant_id"],
                    occurred_at=datetime.fromisoformat(line["occurred_at"]),
                    arrival=int(line["seq"]) + 1,
                    payload_digest=bytes(16),
                )
            )
    Transaction.objects.bulk_create(rows, batch_size=2_000)
    return expected


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("as_of", ["event", "arrival"])
def test_not_one_window_value_differs(as_of: AsOf, tmp_path: Path) -> None:
    expected = sample_store()
    ids = dict(Transaction.objects.values_list("pk", "transaction_id"))
    different = compared = 0
    with ColumnRun(windows_ruleset(), NO_LISTS, Scope(as_of=as_of), Memory(tmp_path)) as run:
        assert run.prepare() == len(expected)
        run.compute()
        judge = Judge(run)
        columns = ["s.id", "s.us", "s.arrival", *run.event_sql(), *judge.number_columns()]
        width = len(run.event_columns())
        rows = run.database.execute(f"SELECT {', '.join(columns)} {judge.from_sql()}").fetchall()
        for pk, us, arrival, *values in rows:
            results = judge.results(values[width:], run.event_of(us, arrival, values[:width]))
            for oracle, result in zip(expected[ids[pk]], results, strict=True):
                assert result.value is not None
                compared += 1
                # The oracle's averages are binary floats, printed; ours are exact to 12 digits.
                different += abs(result.value - oracle) > Decimal("1e-9") * max(abs(oracle), Decimal(1))
    assert compared == 6 * len(expected)
    assert different == 0
