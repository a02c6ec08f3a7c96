"""Rows out of PostgreSQL are the same by ADBC and, where ADBC cannot connect, by COPY."""

from __future__ import annotations

from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa
import pytest

from screening.batch.columns import source
from tests.clients import ApiClient
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
