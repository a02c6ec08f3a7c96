"""How months of old transactions could leave: monthly partitions with a registry of every id, or deletion in chunks
with a registry of the ids that left. What each costs a payment, a look-up and the month's end.

    python -m fraudsite.dev with -- python -m benchmarks.retention [--rows 300000]

Both layouts are filled alike, with the indexes of the real tables; the statements take turns, so that a busy machine
slows both. Deletion is the real one (manage.py transactions_retire), beside which the real statement stores decisions.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fraudsite.settings")

import django

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402

from benchmarks.table import Row, quantile, table  # noqa: E402
from ingestion.models import RetiredTransaction, Transaction  # noqa: E402
from screening.decisions import DecisionFacts  # noqa: E402
from screening.realtime import fence  # noqa: E402
from screening.storing import DecidedTransaction, Effects, decisions_store  # noqa: E402

MONTHS = 84
USERS = 5_000
SINGLES = 1_500
BATCH = 250
BATCHES = 12
LOOKUPS = 300
ALERTED_EVERY = 50
# Deletion is watched for this long at most, and the quiet machine for as long.
WATCH_S = 12.0
PAUSE_S = 0.004

_COLUMNS = """transaction_id, user_id, account_id, amount, currency, base_amount, transaction_type, channel,
    merchant_id, device_id, card_id, country_code, status, metadata, occurred_at, arrival, received_at,
    payload_digest"""
_DECISION_COLUMNS = """decision_id, outcome, overall_status, total_risk_score, ruleset, degraded, results, facts,
    duration_ms, created_at"""
# What a decision under some fifty rules keeps, roughly.
_RESULTS = (
    '{"live": [' + ",".join(f'[{n},1,"c",0,[["{n}","10"]],null]' for n in range(50)) + '], "shadow": []}'
)


def _transactions(*, prefix: str, n: int, moment: str) -> str:
    """SELECT of `n` transactions; `prefix` is SQL, `moment` SQL over n."""
    return f"""SELECT {prefix} || n, 'user-' || mod(n, {USERS}), 'acct-' || mod(n, {USERS}), mod(n, 90000) + 1, 'NGN',
    mod(n, 90000) + 1, 'transfer', 'web', 'merchant-' || mod(n, 2000), 'device-' || mod(n, 7000),
    'card-' || mod(n, 6000), 'NG', 'completed', '{{}}'::jsonb, {moment}, 1000000 + n, {moment},
    decode(md5(n::text), 'hex') FROM generate_series(1, {n}) n"""


def _decision(moment: str) -> str:
    results = f"convert_to('{_RESULTS}', 'UTF8')"
    return f"gen_random_uuid(), 'approve', 'clean', 0, 1, false, {results}, '{{}}'::jsonb, 2.5, {moment}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=300_000)
    rows = parser.parse_args().rows
    call_command("migrate", interactive=False, verbosity=0)
    _step(f"{rows:,} transactions of {MONTHS} months, in each layout", lambda: _fill(rows))
    lines = [*_inserts(), *_lookups(), *_sizes(rows)]
    lines += [*_month_dropped(), *_months_deleted(rows)]
    print(table(lines))
    return 0


def _step(what: str, work: Callable[[], Any]) -> float:
    started = time.monotonic()
    work()
    took_s = time.monotonic() - started
    print(f"{what}: {took_s:.1f} s", file=sys.stderr, flush=True)
    return took_s


def _sql(statement: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return [] if cursor.description is None else list(cursor.fetchall())


# The layouts. (a) is made beside the real tables, (b) is the real tables.


def _fill(rows: int) -> None:
    span = f"now() - interval '1 hour' - ({rows} - n) * (interval '{MONTHS * 30} days' / {rows})"
    transactions = _transactions(prefix="'B'", n=rows, moment=span)
    _sql(f"INSERT INTO ingestion_transaction ({_COLUMNS}) {transactions}")
    _sql(
        f"INSERT INTO screening_decision (transaction_id, {_DECISION_COLUMNS}) "
        f"SELECT t.id, {_decision('t.occurred_at')} FROM ingestion_transaction t ORDER BY id"
    )
    _sql(
        "INSERT INTO screening_alert (alert_id, transaction_id, severity, occurred_at) SELECT gen_random_uuid(), id, "
        f"'low', occurred_at FROM ingestion_transaction WHERE mod(id, {ALERTED_EVERY}) = 0"
    )
    # Ids that left before, as many as there are transactions.
    _sql(
        "INSERT INTO ingestion_retiredtransaction SELECT 'gone-' || t.id, t.payload_digest, t.occurred_at, "
        "t.received_at, d.decision_id, d.outcome, d.overall_status, d.total_risk_score, d.ruleset, NULL, d.degraded, "
        "d.created_at, now() FROM ingestion_transaction t JOIN screening_decision d ON d.transaction_id = t.id"
    )
    _partitions_fill()
    _sql("ANALYZE")


def _partitions_fill() -> None:
    """By the month they came in: the event time is unknown while a transaction is pending."""
    _sql("CREATE SCHEMA parts")
    _sql(
        "CREATE TABLE parts.registry "
        "(transaction_id varchar(128) PRIMARY KEY, payload_digest bytea, received_at timestamptz)"
    )
    for name, key in (("ingestion_transaction", "received_at"), ("screening_decision", "created_at")):
        _sql(
            f"CREATE TABLE parts.{name} (LIKE public.{name} INCLUDING DEFAULTS INCLUDING CONSTRAINTS) "
            f"PARTITION BY RANGE ({key})"
        )
        sequence = f"nextval('public.{name}_id_seq')"
        _sql(f"ALTER TABLE parts.{name} ALTER COLUMN id SET DEFAULT {sequence}")
        today = datetime.now(UTC).date()
        for month in range(MONTHS + 2):
            low, high = (today - timedelta(days=30 * (MONTHS - month + edge)) for edge in (1, 0))
            _sql(
                f"CREATE TABLE parts.{name}_{month} PARTITION OF parts.{name} FOR VALUES FROM ('{low}') TO ('{high}')"
            )
        # The same indexes; unique ones would need the key of the partitions in them, so the id has none here.
        indexes = f"SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename = '{name}'"
        for (definition,) in _sql(indexes):
            if "UNIQUE" not in definition:
                _sql(f"CREATE INDEX ON parts.{definition.split(' ON public.', 1)[1]}")
        _sql(f"CREATE INDEX ON parts.{name} (id)")
    columns = f"SELECT id, {_COLUMNS} FROM public.ingestion_transaction"
    _sql(f"INSERT INTO parts.ingestion_transaction (id, {_COLUMNS}) {columns}")
    columns = f"id, transaction_id, {_DECISION_COLUMNS}"
    _sql(f"INSERT INTO parts.screening_decision ({columns}) SELECT {columns} FROM public.screening_decision")
    _sql(
        "INSERT INTO parts.registry SELECT transaction_id, payload_digest, received_at FROM ingestion_transaction"
    )


# What a payment's statement costs.

ASKED = (
    "WHERE (SELECT true FROM ingestion_retiredtransaction gone "
    "WHERE gone.transaction_id = input.transaction_id) IS NULL"
)
LAYOUTS = ("plain", "chunks", "partitions")


def _statement(layout: str, n: int) -> str:
    """Stores `n` decided transactions, those that are new, as screening/storing.py does; $1: what ids begin with."""
    transactions = _transactions(prefix="$1", n=n, moment="now()")
    given = f"WITH input({_COLUMNS}) AS MATERIALIZED ({transactions})"
    decided = f"(transaction_id, {_DECISION_COLUMNS}) SELECT stored.id, {_decision('now()')} FROM stored"
    if layout == "partitions":
        return f"""{given}, new AS (
            INSERT INTO parts.registry SELECT transaction_id, payload_digest, received_at FROM input
            ON CONFLICT (transaction_id) DO NOTHING RETURNING transaction_id
        ), stored AS (
            INSERT INTO parts.ingestion_transaction ({_COLUMNS})
            SELECT input.* FROM input JOIN new USING (transaction_id) RETURNING id
        ), decided AS (INSERT INTO parts.screening_decision {decided}) SELECT count(*) FROM stored"""
    return f"""{given}, stored AS (
        INSERT INTO ingestion_transaction ({_COLUMNS}) SELECT * FROM input {ASKED if layout == "chunks" else ""}
        ON CONFLICT (transaction_id) DO NOTHING RETURNING id
    ), decided AS (INSERT INTO screening_decision {decided}) SELECT count(*) FROM stored"""


def _inserts() -> list[Row]:
    """Median ms of a statement that stores one decided transaction, and of one that stores many."""
    found = []
    for n, repeats, what in ((1, SINGLES, "store one"), (BATCH, BATCHES, f"store {BATCH}")):
        times: dict[str, list[float]] = {name: [] for name in LAYOUTS}
        for name in LAYOUTS:
            _sql(f"PREPARE {name}_{n} (text) AS {_statement(name, n)}")
        for _ in range(repeats):
            for name, taken in times.items():
                started = time.perf_counter()
                stored = _sql(f"EXECUTE {name}_{n} ('{uuid.uuid4().hex}')")[0][0]
                taken.append((time.perf_counter() - started) * 1000)
                assert stored == n, (name, stored)
        floor = statistics.median(times["plain"])
        for name, label in (
            ("chunks", "asks the registry of those that left"),
            ("partitions", "registry and partitions"),
        ):
            median = statistics.median(times[name])
            found.append(Row(f"{what}: {label}", f"{median:.2f} ms", f"{floor:.2f} ms", median / floor))
    return found


def _lookups() -> list[Row]:
    """What refilling a counter asks: one user's transactions of 30 days, by the time of the event."""
    times: dict[str, list[float]] = {"public": [], "parts": []}
    for n in range(LOOKUPS):
        for schema, taken in times.items():
            started = time.perf_counter()
            _sql(
                f"SELECT count(*), min(occurred_at) FROM {schema}.ingestion_transaction "
                f"WHERE user_id = 'user-{n * 7 % USERS}' AND occurred_at > now() - interval '30 days'"
            )
            taken.append((time.perf_counter() - started) * 1000)
    plain, parts = (statistics.median(times[schema]) for schema in ("public", "parts"))
    return [
        Row(f"a user's 30 days: {MONTHS} partitions", f"{parts:.2f} ms", f"{plain:.2f} ms", parts / plain)
    ]


def _sizes(rows: int) -> list[Row]:
    transaction = sum(_bytes(name) for name in ("ingestion_transaction", "screening_decision")) / rows
    return [
        Row(
            f"bytes an id: {label}",
            f"{_bytes(name) / rows:.0f}",
            f"{transaction:.0f}",
            _bytes(name) / rows / transaction,
        )
        for label, name in (
            ("that left, with its decision", "ingestion_retiredtransaction"),
            ("of every transaction, with partitions", "parts.registry"),
        )
    ]


def _bytes(name: str) -> int:
    return int(_sql(f"SELECT pg_total_relation_size('{name}'::regclass)")[0][0])


# The end of a month.


def _month_dropped() -> list[Row]:
    """What is alerted on has to be kept: it is moved to a table without partitions first."""
    _sql("CREATE TABLE parts.kept (LIKE parts.ingestion_transaction INCLUDING DEFAULTS)")
    held = _sql("SELECT count(*) FROM parts.ingestion_transaction_2")[0][0]

    def drop() -> None:
        _sql(
            "INSERT INTO parts.kept SELECT * FROM parts.ingestion_transaction_2 t "
            "WHERE EXISTS (SELECT FROM screening_alert a WHERE a.transaction_id = t.id)"
        )
        _sql("DROP TABLE parts.ingestion_transaction_2, parts.screening_decision_2")

    took_s = _step("a month's partitions dropped", drop)
    return [Row(f"a month of {held:,} leaves: partitions", f"{took_s * 1000:.0f} ms", "")]


def _months_deleted(rows: int) -> list[Row]:
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    before = midnight - timedelta(days=1830)
    started = time.monotonic()
    quiet = _stored_meanwhile(lambda: time.monotonic() - started > WATCH_S / 2)
    here = Transaction.objects.filter(occurred_at__lt=before).count()
    gone = RetiredTransaction.objects.count()
    command = [sys.executable, "manage.py", "transactions_retire", "--before", str(before.date())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    while RetiredTransaction.objects.count() == gone and process.poll() is None:
        time.sleep(0.01)
    began = time.monotonic()
    busy = _stored_meanwhile(lambda: process.poll() is not None)
    said = process.communicate()[0]
    took_s = time.monotonic() - began
    if process.returncode:
        raise SystemExit(f"transactions_retire failed: {said}")
    print(said, file=sys.stderr)
    left = here - Transaction.objects.filter(occurred_at__lt=before).count()
    # Counters of the statistics reach their view a moment after the statements.
    time.sleep(1.5)
    dead = _sql("SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'ingestion_transaction'")[0][0]
    sizes = [_bytes("ingestion_transaction")]
    vacuum_s = _step("VACUUM", lambda: _sql("VACUUM ingestion_transaction, screening_decision"))
    sizes.append(_bytes("ingestion_transaction"))
    month = rows / MONTHS
    found = [
        Row(f"a month of {month:,.0f} leaves: chunks", f"{took_s / left * month * 1000:.0f} ms", ""),
        Row("transactions that leave a second", f"{left / took_s:,.0f}", ""),
        Row("dead rows afterwards, of those that left", f"{dead:,}", f"{left:,}", dead / left),
        Row(
            "VACUUM of both tables, to the deletion",
            f"{vacuum_s:.2f} s",
            f"{took_s:.2f} s",
            vacuum_s / took_s,
        ),
        Row(
            "size after VACUUM, to before",
            f"{sizes[1] / 2**20:.0f} MiB",
            f"{sizes[0] / 2**20:.0f} MiB",
            sizes[1] / sizes[0],
        ),
    ]
    for share in (0.5, 0.95, 0.99):
        slow, floor = quantile(busy, share), quantile(quiet, share)
        found.append(
            Row(
                f"store a decision meanwhile, p{share * 100:.0f}",
                f"{slow:.2f} ms",
                f"{floor:.2f} ms",
                slow / floor,
            )
        )
    return found


def _stored_meanwhile(is_over: Callable[[], bool]) -> list[float]:
    """ms of each of the real statements that store one decision, with pauses between them."""
    times: list[float] = []
    while not is_over():
        state = fence.refresh()
        row = _decided()
        started = time.perf_counter()
        result = decisions_store([row], epoch=state.epoch, ruleset=0)
        times.append((time.perf_counter() - started) * 1000)
        assert result.passed, result
        assert result.decision_pks, result
        time.sleep(PAUSE_S)
    return times


def _decided() -> DecidedTransaction:
    now = datetime.now(UTC)
    fields = {
        "transaction_id": uuid.uuid4().hex,
        "user_id": "user-1",
        "account_id": "acct-1",
        "amount": Decimal(100),
        "base_amount": Decimal(100),
        "currency": "NGN",
        "transaction_type": "transfer",
        "channel": "web",
        "status": "pending",
        "metadata": {},
        "occurred_at": now,
    }
    decision = DecisionFacts(
        decision_id=uuid.uuid4(),
        outcome="approve",
        overall_status="clean",
        total_risk_score=Decimal(0),
        ruleset=0,
        allowed_by=None,
        degraded=False,
        results=[],
        shadow=[],
        duration_ms=1.0,
        created_at=now,
    )
    return DecidedTransaction(fields, bytes(16), int(now.timestamp() * 1_000_000), now, decision, Effects())


if __name__ == "__main__":
    raise SystemExit(main())
