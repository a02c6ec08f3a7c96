"""One job of the batch benchmark in a process of its own, so that its peak memory is its own.

    python -m benchmarks.batch_process load ROWS | floor | batch | pack | backtest | sweep

Prints one line of JSON: seconds, rows, peak_mib and where the time went. Needs DATABASE_URL.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fraudsite.settings")
SAMPLE = Path(__file__).resolve().parents[2] / "shared" / "data" / "handbook_small_customers.csv.gz"
DAYS = (1, 7, 30)
DAY_US = 86_400_000_000
SWEEP_POINTS = 20


def conditions() -> list[dict[str, Any]]:
    """Six windows: count and average amount of a customer over 1, 7 and 30 days."""
    return [
        {
            "field": "amount",
            "operator": "gt",
            "value": value,
            "aggregate_function": function,
            "time_window": f"{24 * days}h",
            "group_by": ["user_id"],
        }
        for days, count in zip(DAYS, (8, 40, 150), strict=True)
        for function, value in (("count", count), ("avg", 100))
    ]


def document(chosen: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return {
        "name": name,
        "rule_type": "velocity",
        "conditions": [{"any": chosen}],
        "actions": [{"action_type": "score", "parameters": {"risk_score": 10}}],
    }


def load(rows: int) -> dict[str, Any]:
    """The handbook sample, repeated with shifted ids until there are `rows`."""
    from django.db import connection

    with gzip.open(SAMPLE, "rt") as file:
        lines = sorted(csv.DictReader(file), key=lambda line: int(line["seq"]))
    copied = io.StringIO()
    writer = csv.writer(copied)
    for number, line in enumerate(lines):
        writer.writerow([number, line["user_id"], line["amount"], line["merchant_id"], line["occurred_at"]])
    copied.seek(0)
    copies = -(-rows // len(lines))
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMP TABLE sample (n bigint, user_id text, amount numeric, merchant text, at timestamptz)"
        )
        cursor.copy_expert("COPY sample FROM STDIN (FORMAT csv)", copied)
        cursor.execute(
            "INSERT INTO ingestion_transaction (transaction_id, user_id, account_id, amount, currency, base_amount, "
            "transaction_type, channel, merchant_id, status, metadata, occurred_at, arrival, received_at, "
            "payload_digest) "
            "SELECT 'T' || (c * 100000 + n), user_id || '-' || c, user_id || '-' || c, amount, 'NGN', amount, 'debit', "
            "'pos', merchant || '-' || c, 'completed', '{}', at, row_number() OVER (ORDER BY at, c, n), at, "
            "decode('00000000000000000000000000000000', 'hex') "
            "FROM sample, generate_series(1, %s) c ORDER BY at, c, n LIMIT %s",
            [copies, rows],
        )
        cursor.execute("ANALYZE ingestion_transaction")
    return {"rows": rows}


def floor() -> dict[str, Any]:
    """What nobody can do without: read the columns, six windows in DuckDB, write them back. No rules, no state."""
    import duckdb
    from django.db import connection

    from screening.batch.columns import source

    started = time.perf_counter()
    database = duckdb.connect(config={"threads": 2})
    select = {
        "id": ("t.id", "bigint"),
        "user_id": ("t.user_id", "text"),
        "amount": ("(t.amount * 10000)::bigint", "bigint"),
        "us": ("t.occurred_at", "instant"),
        "arrival": ("t.arrival", "bigint"),
    }
    with source.rows(select, "FROM ingestion_transaction t WHERE t.arrival IS NOT NULL") as reader:
        database.register("reading", reader)
        database.execute("CREATE TABLE raw AS SELECT * REPLACE (epoch_us(us) AS us) FROM reading")
        database.unregister("reading")
    read = time.perf_counter()
    database.execute(
        "CREATE TABLE ordered AS SELECT *, us::HUGEINT * 4096 + rank AS k FROM (SELECT *, row_number() OVER "
        "(PARTITION BY user_id, us ORDER BY arrival) - 1 AS rank FROM raw)"
    )
    frames = ", ".join(
        f"w{d} AS (PARTITION BY user_id ORDER BY k RANGE BETWEEN (({d * DAY_US}::HUGEINT - 1) * 4096 + rank) "
        "PRECEDING AND CURRENT ROW)"
        for d in DAYS
    )
    columns = ", ".join(f"count(*) OVER w{d} AS c{d}, sum(amount) OVER w{d} AS s{d}" for d in DAYS)
    database.execute(f"CREATE TABLE windows AS SELECT id, {columns} FROM ordered WINDOW {frames}")
    computed = time.perf_counter()
    names = ", ".join(f"c{d} bigint, s{d} bigint" for d in DAYS)
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS bare_floor")
        cursor.execute(f"CREATE TABLE bare_floor (id bigint PRIMARY KEY, {names})")
    with tempfile.TemporaryDirectory() as folder, connection.cursor() as cursor:
        path = Path(folder) / "windows.csv"
        database.execute(f"COPY (SELECT * FROM windows) TO '{path}' (HEADER false)")
        # Opened when DuckDB is done with it: it writes beside the file and puts the whole in its place.
        with path.open("rb") as file:
            cursor.copy_expert("COPY bare_floor FROM STDIN (FORMAT csv)", file)
    written = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM bare_floor")
        ((rows,),) = cursor.fetchall()
        cursor.execute("DROP TABLE bare_floor")
    return {
        "rows": rows,
        "seconds": written - started,
        "read_s": read - started,
        "windows_s": computed - read,
        "write_s": written - computed,
    }


def batch() -> dict[str, Any]:
    return _batch([document(conditions(), "six windows")])


def pack() -> dict[str, Any]:
    from rules.pack import pack_entries

    documents = [{**entry.document, "is_active": True} for entry in pack_entries()]
    return _batch([each for each in documents if "transaction" in each.get("trigger", ["transaction"])])


def _batch(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """Asked for through the service, advanced as the worker does."""
    from rules.services import rule_create
    from screening.batch.running import batch_advance
    from screening.batch.services import batch_create

    ids = [_rule(rule_create, each) for each in documents]
    started = time.perf_counter()
    row = batch_create(body={"rule_ids": ids}, principal="user:benchmark")
    while batch_advance(row.pk):
        pass
    seconds = time.perf_counter() - started
    row.refresh_from_db()
    assert row.status == "completed", row.error
    return {"rows": row.processed_transactions, "flagged": row.flagged_transactions, "seconds": seconds}


def _rule(create: Callable[..., Any], wording: dict[str, Any]) -> int:
    from rules.models import Rule
    from rules.services import rule_update

    known = Rule.objects.filter(name=wording["name"]).first()
    if known is not None:
        # The pack is installed with every platform, most of it inactive.
        rule_update(rule_id=known.pk, changes={"is_active": True}, principal="user:benchmark")
        return int(known.pk)
    return int(create(document=wording, principal="user:benchmark").version.rule_id)


def backtest() -> dict[str, Any]:
    return _backtest({})


def sweep() -> dict[str, Any]:
    values = [5 + point for point in range(SWEEP_POINTS)]
    return _backtest({"sweep": {"path": "conditions[0].any[0].value", "values": values}})


def _backtest(more: dict[str, Any]) -> dict[str, Any]:
    from screening.batch.backtest_services import backtest_create
    from screening.batch.backtesting import backtest_advance

    started = time.perf_counter()
    row = backtest_create(
        body={"rule": document(conditions()[:1], "tried"), **more}, principal="user:benchmark"
    )
    while backtest_advance(row.pk):
        pass
    seconds = time.perf_counter() - started
    row.refresh_from_db()
    assert row.status == "completed", row.error
    return {"rows": row.processed_transactions, "hits": row.result["hits"], "seconds": seconds}


def main(arguments: list[str]) -> None:
    django.setup()
    name, *values = arguments
    jobs: dict[str, Callable[..., dict[str, Any]]] = {
        "load": load,
        "floor": floor,
        "batch": batch,
        "pack": pack,
        "backtest": backtest,
        "sweep": sweep,
    }
    found = jobs[name](*(int(value) for value in values))
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"job": name, **found, "peak_mib": round(peak_mib)}, default=float))


if __name__ == "__main__":
    main(sys.argv[1:])
