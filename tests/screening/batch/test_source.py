"""Rows out of PostgreSQL are the same by ADBC and, where ADBC cannot connect, by COPY."""

from __future__ import annotations

from typing import Any
from unittest import mock

import adbc_driver_postgresql.dbapi as adbc
import duckdb
import pyarrow as pa
import pytest
from django.conf import settings
from django.db import OperationalError, connection

from fraudsite.environment import server_options
from screening.batch.columns import source
from screening.batch.running import batch_advance
from screening.models import ScreeningBatch
from tests.clients import ApiClient
from tests.databases import session_takes_no_writes
from tests.screening.batch.conftest import rule_create, transaction_store
from tests.screening.batch.test_robustness import TRANSACTIONS, results

SELECT = {
    "text": ("t.a", "text"),
    'odd "name"': ("t.b", "bigint"),
    "flag": ("t.c", "boolean"),
    "at": ("t.d", "instant"),
}
VALUES = (
    "FROM (VALUES ('plain', 1, true, '2026-03-02T12:00:00.000001Z'::timestamptz), "
    "('', 9223372036854775807, false, '1969-12-31T23:59:59.999999Z'), (NULL, NULL, NULL, NULL), "
    "(E'two\\nlines, \"quoted\", \\\\N', -9223372036854775808, true, '2262-01-01T00:00:00Z'), "
    "('NULL', 0, false, '2026-03-02T12:00:00+05:30'), ('Łódź 🙂', 2, true, '2026-03-02T12:00:00.5Z')) AS t(a, b, c, d)"
)


def without_adbc(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses at which ADBC was tried."""
    tried = []

    def refuse(uri: str, *given: Any, **more: Any) -> Any:
        tried.append(uri)
        raise adbc.OperationalError("no such server", status_code=adbc_status())

    monkeypatch.setattr(adbc, "connect", refuse)
    return tried


def adbc_status() -> Any:
    from adbc_driver_manager import AdbcStatusCode

    return AdbcStatusCode.IO


def read() -> list[tuple[Any, ...]]:
    with source.rows(SELECT, VALUES) as reader:
        table = reader.read_all()
    columns = [
        column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
        if pa.types.is_timestamp(column.type)
        else column
        for column in table.columns
    ]
    assert table.column_names == list(SELECT)
    return list(zip(*(column.to_pylist() for column in columns), strict=True))


@pytest.mark.django_db(transaction=True)
def test_both_ways_read_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    by_adbc = read()
    assert by_adbc[1] == ("", 2**63 - 1, False, -1)
    assert by_adbc[2] == (None, None, None, None)
    assert by_adbc[3][0] == 'two\nlines, "quoted", \\N'
    tried = without_adbc(monkeypatch)
    assert read() == by_adbc
    assert len(tried) == 1


@pytest.mark.django_db(transaction=True)
def test_both_ways_connect_as_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Payments have a time limit, which what is read here has not."""
    given = server_options("-c search_path=fraud,public -c lock_timeout=7s", statement_timeout=8000)
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", {"connect_timeout": 3, "options": given})
    monkeypatch.setattr(settings, "STATEMENT_TIMEOUT_MS", 8000)
    told = {
        name: (f"current_setting('{name}')", "text")
        for name in ("search_path", "lock_timeout", "statement_timeout")
    }
    with source.rows(told, "FROM (VALUES (1)) v") as reader:
        by_adbc = reader.read_all().to_pylist()
    assert by_adbc == [{"search_path": "fraud,public", "lock_timeout": "7s", "statement_timeout": "0"}]
    without_adbc(monkeypatch)
    connection.close()
    with source.rows(told, "FROM (VALUES (1)) v") as reader:
        by_copy = reader.read_all().to_pylist()
    connection.close()
    assert by_copy == [{"search_path": "fraud,public", "lock_timeout": "7s", "statement_timeout": "8s"}]


def backends_end(pids_before: set[int]) -> None:
    """As a server that is restarted does with whoever came since."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'fraudsite-batch' "
            "AND datname = current_database() AND pid <> ALL(%s)",
            [list(pids_before)],
        )
        assert cursor.fetchall() == [(True,)]


def backends() -> set[int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'fraudsite-batch' "
            "AND datname = current_database()"
        )
        return {pid for (pid,) in cursor.fetchall()}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("reads", ["duckdb", "arrow"])
def test_a_database_that_goes_away_while_it_is_read_is_said_to(reads: str) -> None:
    with pytest.raises(OperationalError, match="libpq"):
        read_while_it_goes_away(reads)


def read_while_it_goes_away(reads: str) -> None:
    before = backends()
    many = {"n": ("g", "bigint"), "t": ("repeat('x', 500)", "text")}
    with source.rows(many, "FROM generate_series(1, 500000) g") as reader:
        reader.read_next_batch()
        backends_end(before)
        if reads == "arrow":
            reader.read_all()
            return
        with duckdb.connect() as database:
            database.register("reading", reader)
            database.execute("SELECT count(*), max(t) FROM reading").fetchall()


@pytest.mark.django_db(transaction=True)
def test_a_statement_that_is_wrong_is_not_taken_for_a_database_that_is_away() -> None:
    with (
        pytest.raises(adbc.Error, match="does not exist"),
        source.rows({"n": ("no_such_column", "bigint")}, "FROM ingestion_transaction"),
    ):
        pass


def test_a_batch_tells_no_statement_that_adbc_refuses(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule_create(api)
    transaction_store(1)
    batch_id = api.post("screening/batches/", {}).json()["batch_id"]
    # As where the tables are in a schema that its connection does not look in.
    elsewhere = {**connection.settings_dict["OPTIONS"], "options": "-c search_path=nowhere"}
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", elsewhere)
    batch_advance(ScreeningBatch.objects.get(batch_id=batch_id).pk)
    answer = api.get(f"screening/batches/{batch_id}/").json()
    assert (answer["status"], "ingestion_transaction" in str(answer)) == ("failed", False)


def test_a_batch_whose_database_goes_away_goes_on_later(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule_create(api)
    transaction_store(1)
    batch_id = api.post("screening/batches/", {}).json()["batch_id"]
    batch = ScreeningBatch.objects.get(batch_id=batch_id)
    broken = adbc.OperationalError(
        "IO: [libpq] PQgetCopyData() failed: server closed the connection unexpectedly",
        status_code=adbc_status(),
    )
    with mock.patch.object(adbc.Cursor, "execute", side_effect=broken), pytest.raises(OperationalError):
        batch_advance(batch.pk)
    batch.refresh_from_db()
    assert batch.status == "running"
    assert batch_advance(batch.pk) is False
    batch.refresh_from_db()
    assert (batch.status, batch.processed_transactions) == ("completed", 1)


def test_a_batch_whose_database_takes_no_writes_goes_on_later(api: ApiClient) -> None:
    rule_create(api)
    transaction_store(1)
    batch_id = api.post("screening/batches/", {}).json()["batch_id"]
    batch = ScreeningBatch.objects.get(batch_id=batch_id)
    # It was under way when the server became a standby.
    ScreeningBatch.objects.update(status="running")
    session_takes_no_writes()
    with pytest.raises(OperationalError, match="read-only"):
        batch_advance(batch.pk)
    connection.close()
    batch.refresh_from_db()
    assert batch.status == "running"
    assert batch_advance(batch.pk) is False
    batch.refresh_from_db()
    assert (batch.status, batch.processed_transactions) == ("completed", 1)


def test_a_batch_without_adbc_gives_the_same_results(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    rule_create(api)
    for number in range(TRANSACTIONS):
        note = {"note": 'a, "b"\nc'} if number % 3 == 0 else {}
        transaction_store(
            number, user_id=f"U{number % 4}", device_id=None if number % 5 else "", metadata=note
        )
    rule_create(
        api,
        "Noted",
        conditions=[
            {"field": "metadata.note", "operator": "contains", "value": "b"},
            {"field": "device_id", "operator": "is_null"},
        ],
    )
    before = results(api)
    assert {each["Noted"]["status"] for each in before.values()} > {"flagged"}
    tried = without_adbc(monkeypatch)
    assert results(api) == before
    assert tried
