"""POST imports/ and what follows."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import uuid
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db.models import F

from ingestion.models import ImportJob, Transaction
from screening.imports.running import import_run
from screening.models import Decision
from tests.clients import ApiClient, assert_problem
from tests.ingestion.imports.files import csv_of, row

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def api() -> ApiClient:
    return ApiClient("transactions:write", "read")


def upload(api: ApiClient, content: bytes, *, file_name: str = "rows.csv", **fields: Any) -> Any:
    parts = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in fields.items()}
    return api.client.post("/api/v1/imports/", {"file": SimpleUploadedFile(file_name, content), **parts})


def imported(api: ApiClient, content: bytes, **fields: Any) -> dict[str, Any]:
    """Upload, and do a worker's work here."""
    answer = upload(api, content, **fields)
    assert answer.status_code == 202, answer.content
    assert answer.json()["status"] == "pending"
    assert not import_run(import_id=answer.json()["id"], screens_here=True)
    return api.get(f"imports/{answer.json()['id']}/").json()


def test_it_stores_and_screens_every_row_once(api: ApiClient, uploads: Path) -> None:
    body = imported(api, csv_of([row(number) for number in range(7)]), name="history")
    assert (body["status"], body["progress"], body["name"]) == ("completed", 1.0, "history")
    assert (body["rows_read"], body["accepted"], body["replayed"], body["rejected"]) == (7, 7, 0, 0)
    assert (body["screened"], body["total_rows"], body["delimiter"]) == (7, 7, ",")
    assert Decision.objects.count() == 7
    assert Transaction.objects.get(transaction_id="T3").amount == 12.5
    assert list(uploads.iterdir()) == []


def test_it_takes_the_same_rows_again_as_replays_and_other_payloads_as_conflicts(api: ApiClient) -> None:
    imported(api, csv_of([row(number) for number in range(5)]))
    body = imported(api, csv_of([row(0), row(1, amount="13"), row(5), row(5), row(5, amount="1")]))
    assert (body["accepted"], body["replayed"], body["rejected"]) == (1, 2, 2)
    assert [(each["row"], each["line"], each["path"]) for each in body["errors"]] == [
        (2, 3, "transaction_id"),
        (5, 6, "transaction_id"),
    ]
    assert Transaction.objects.get(transaction_id="T1").amount == 12.5


def test_it_says_row_by_row_what_is_wrong_and_takes_the_others(api: ApiClient) -> None:
    rows = [
        row(0),
        row(1, amount="-1", channel=""),
        row(2, user_id="4111111111111111 "),
        row(3, amount="NaN"),
    ]
    rows[2]["card_id"] = "4111111111111111"
    body = imported(api, csv_of(rows))
    assert (body["accepted"], body["rejected"]) == (1, 3)
    download = api.get(f"imports/{body['id']}/errors/")
    assert download["Content-Type"].startswith("text/csv")
    text = b"".join(download.streaming_content).decode()
    found = [(each["row"], each["line"], each["path"]) for each in csv.DictReader(io.StringIO(text))]
    assert found == [("2", "3", "amount"), ("2", "3", "channel"), ("3", "4", "card_id"), ("4", "5", "amount")]
    assert "4111111111111111" not in text


def test_it_maps_columns_constants_defaults_and_metadata(api: ApiClient) -> None:
    content = (
        b"Id;Customer;user_id;Sum;Kind;metadata.note;extra;When\n"
        b'X1;C1;A1;"10,5";CASH_IN;hi;?;2026-01-05 10:00:00\nX2;C1;A1;20.25;;"a\nb";?;2026-07-05 10:00:00\n'
    )
    body = imported(
        api,
        content,
        mapping={
            "Id": "transaction_id",
            "Customer": "user_id",
            "user_id": "account_id",
            "Sum": "amount",
            "Kind": "transaction_type",
            "When": "occurred_at",
            "extra": None,
            "channel": {"value": "pos"},
            "transaction_type": {"default": "debit"},
            "metadata.source": {"value": 7},
        },
        lower_case="true",
        time_zone="Europe/Berlin",
    )
    assert (body["delimiter"], body["accepted"], body["rejected"]) == (";", 1, 1)
    assert body["errors"][0]["path"] == "amount"
    stored = Transaction.objects.get(transaction_id="X2")
    assert (stored.user_id, stored.account_id, stored.channel) == ("C1", "A1", "pos")
    assert stored.transaction_type == "debit"
    assert stored.metadata == {"note": "a\nb", "source": 7}
    assert stored.occurred_at.isoformat() == "2026-07-05T08:00:00+00:00"


def test_it_reads_ndjson_as_the_bulk_endpoint_does(api: ApiClient) -> None:
    lines = [
        orjson.dumps(row(0)),
        b"",
        b'{"transaction_id": NaN}',
        b"[1]",
        orjson.dumps(row(1) | {"typo": 1}),
    ]
    body = imported(api, gzip.compress(b"\n".join(lines)), file_name="rows.ndjson.gz")
    assert (body["format"], body["is_gzip"], body["rows_read"], body["accepted"]) == ("ndjson", True, 4, 1)
    assert [(each["row"], each["line"], each["path"]) for each in body["errors"]] == [
        (2, 3, "transaction_id"),
        (3, 4, "$"),
        (4, 5, "typo"),
    ]


def test_it_reads_parquet_with_its_own_types(api: ApiClient, tmp_path: Path) -> None:
    rows = [row(number, amount=number + 0.25) for number in range(5)]
    table = pa.Table.from_pylist(rows)
    times = pc.strptime(table["occurred_at"], "%Y-%m-%dT%H:%M:%SZ", "us").cast(pa.timestamp("ns", "UTC"))
    table = table.set_column(table.schema.get_field_index("occurred_at"), "occurred_at", times)
    table = table.append_column("metadata", pa.array([{"n": number, "f": 0.5} for number in range(5)]))
    path = tmp_path / "rows.parquet"
    pq.write_table(table, path, row_group_size=2)
    body = imported(api, path.read_bytes(), file_name="rows.parquet")
    assert (body["format"], body["total_rows"], body["accepted"]) == ("parquet", 5, 5)
    stored = Transaction.objects.get(transaction_id="T4")
    assert (str(stored.amount), stored.metadata["n"], str(stored.metadata["f"])) == ("4.2500", 4, "0.5")
    assert stored.occurred_at.isoformat() == "2026-11-20T10:00:04+00:00"
    replay = imported(api, csv_of([row(4, amount="4.25", metadata='{"f": 0.5, "n": 4}')]))
    assert (replay["replayed"], replay["rejected"]) == (1, 0)


def test_a_local_time_that_never_was_is_an_error_and_one_that_came_twice_the_first(api: ApiClient) -> None:
    times = {
        "before": "2026-03-29T01:59:59",
        "never": "2026-03-29T02:30:00",
        "after": "2026-03-29 03:00:00",
        "twice": "2025-10-26T02:30:00",
        "offset": "2026-03-29T02:30:00Z",
        "first": "0001-01-01T00:00:00",
    }
    rows = [row(0, transaction_id=name, occurred_at=at) for name, at in times.items()]
    body = imported(api, csv_of(rows), time_zone="Europe/Berlin")
    assert [(each["row"], each["path"]) for each in body["errors"]] == [
        (2, "occurred_at"),
        (6, "occurred_at"),
    ]
    assert "never was in Europe/Berlin" in body["errors"][0]["message"]
    stored = Transaction.objects.values_list("transaction_id", "occurred_at")
    assert {name: at.isoformat()[5:16] for name, at in stored} == {
        "before": "03-29T00:59",
        "after": "03-29T01:00",
        "twice": "10-26T00:30",
        "offset": "03-29T02:30",
    }


def parquet_of(tmp_path: Path, n: int, **columns: pa.Array) -> bytes:
    """`n` rows, these columns of theirs as given."""
    table = pa.Table.from_pylist([row(number) for number in range(n)])
    for name, values in columns.items():
        if name in table.column_names:
            table = table.set_column(table.column_names.index(name), name, values)
        else:
            table = table.append_column(name, values)
    path = tmp_path / "rows.parquet"
    pq.write_table(table, path)
    return path.read_bytes()


def test_bytes_in_parquet_are_the_text_they_are(api: ApiClient, tmp_path: Path) -> None:
    """Not every writer says that a column is text."""
    users = pa.array(["Adé".encode(), b"\xff", b"U2"])
    metadata = pa.array([{"inner": b"x"}, None, None])
    body = imported(api, parquet_of(tmp_path, 3, user_id=users, metadata=metadata))
    assert [(each["row"], each["path"], each["message"]) for each in body["errors"]] == [
        (2, "user_id", "holds bytes that are no text in UTF-8")
    ]
    stored = {each.transaction_id: each for each in Transaction.objects.all()}
    assert {name: each.user_id for name, each in stored.items()} == {"T0": "Adé", "T2": "U2"}
    assert stored["T0"].metadata == {"inner": "x"}


def test_a_value_of_parquet_that_nothing_can_hold_is_its_rows_error_alone(
    api: ApiClient, tmp_path: Path
) -> None:
    at = 1_795_842_000_000_000
    times = pa.array([at, 2**62, at, -(2**62)], pa.timestamp("us", "UTC"))
    body = imported(api, parquet_of(tmp_path, 4, occurred_at=times))
    assert (body["status"], body["accepted"], body["rejected"]) == ("completed", 2, 2)
    assert [(each["row"], each["path"]) for each in body["errors"]] == [
        (2, "occurred_at"),
        (4, "occurred_at"),
    ]
    coarse = pa.array([at // 1_000, 2**54 + 1_795_842_000_000], pa.timestamp("ms", "UTC"))
    body = imported(api, parquet_of(tmp_path, 2, occurred_at=coarse))
    assert [(each["row"], each["path"]) for each in body["errors"]] == [(2, "occurred_at")]


def test_a_map_of_parquet_is_an_object(api: ApiClient, tmp_path: Path) -> None:
    pairs = [[("a", "1"), ("b", "2")], [("a", "1"), ("a", "2")]]
    metadata = pa.array(pairs, pa.map_(pa.string(), pa.string()))
    body = imported(api, parquet_of(tmp_path, 2, metadata=metadata))
    assert [(each["row"], each["path"]) for each in body["errors"]] == [(2, "metadata")]
    assert Transaction.objects.get().metadata == {"a": "1", "b": "2"}


def test_it_screens_the_rows_of_a_user_in_the_order_of_the_file(api: ApiClient) -> None:
    rows = [row(number, transaction_id=f"Z{900 - number}") for number in range(600)]
    imported(api, csv_of(rows))
    for user in ("U0", "U1", "U2"):
        by_arrival = Transaction.objects.filter(user_id=user).order_by("arrival")
        in_file = [each["transaction_id"] for each in rows if each["user_id"] == user]
        assert list(by_arrival.values_list("transaction_id", flat=True)) == in_file


@pytest.mark.parametrize(
    ("content", "fields", "path"),
    [
        (b"", {}, "file"),
        (codecs.BOM_UTF8, {}, "file"),
        (gzip.compress(codecs.BOM_UTF8, mtime=0), {}, "file"),
        (codecs.BOM_UTF8 + b"\n", {"format": "ndjson"}, "file"),
        (b"\x00\x01\x02" * 100, {}, "file"),
        (b"PAR1 but no more", {}, "file"),
        (b"\x1f\x8b\x08 not gzip", {}, "file"),
        (b'[{"transaction_id": "T"}]', {}, "file"),
        ("transaction_id\n".encode("utf-16"), {}, "file"),
        (csv_of([row(1, merchant="x")]), {}, "merchant"),
        (csv_of([row(1)]).replace(b"user_id", b"account_id"), {}, "account_id"),
        (csv_of([row(1)]), {"mapping": "no"}, "mapping"),
        (csv_of([row(1)]), {"mapping": "[]"}, "mapping"),
        (csv_of([row(1)]), {"mapping": {"amount": "sum"}}, "mapping.amount"),
        (csv_of([row(1)]), {"mapping": {"nowhere": "amount"}}, "mapping.nowhere"),
        (csv_of([row(1)]), {"mapping": {"amount": None}}, "amount"),
        (csv_of([row(1)]), {"mapping": {"amount": {"values": 1}}}, "mapping.amount"),
        (
            csv_of([row(1, kind="web")]),
            {"mapping": {"kind": "channel", "channel": {"value": "pos"}}},
            "mapping.kind",
        ),
        (csv_of([row(1)]), {"mapping": {"channel": {"value": "pos"}}}, "channel"),
        (csv_of([row(1)]), {"format": "xlsx"}, "format"),
        (csv_of([row(1)]), {"format": "parquet"}, "file"),
        (csv_of([row(1)]), {"delimiter": "x"}, "delimiter"),
        (csv_of([row(1)]), {"lower_case": "maybe"}, "lower_case"),
        (csv_of([row(1)]), {"time_zone": "Mars/Olympus"}, "time_zone"),
        (csv_of([row(1)]), {"time_zone": "../../etc/passwd"}, "time_zone"),
        (csv_of([row(1)]), {"colour": "red"}, "colour"),
    ],
)
def test_it_refuses_what_can_never_be_imported_and_keeps_nothing(
    api: ApiClient, uploads: Path, content: bytes, fields: dict[str, Any], path: str
) -> None:
    problem = assert_problem(upload(api, content, **fields), 400)
    assert path in {each["path"] for each in problem["errors"]}, problem
    assert not ImportJob.objects.exists()
    assert list(uploads.iterdir()) == []


def test_it_refuses_bodies_that_are_no_upload(api: ApiClient, settings: Any, uploads: Path) -> None:
    assert_problem(api.post("imports/", {"file": "x"}), 415)
    assert_problem(api.client.post("/api/v1/imports/", {"name": "no file"}), 400, "file")
    broken = api.client.post(
        "/api/v1/imports/", b"--x\r\ngarbage", content_type="multipart/form-data; boundary=x"
    )
    assert_problem(broken, 400)
    two = {"a": SimpleUploadedFile("a.csv", b"x"), "b": SimpleUploadedFile("b.csv", b"y")}
    assert_problem(api.client.post("/api/v1/imports/", two), 400, "file")
    settings.IMPORT_MAX_BYTES = 1024
    assert_problem(upload(api, csv_of([row(number) for number in range(50)])), 413)
    assert not uploads.exists() or list(uploads.iterdir()) == []


@pytest.mark.parametrize("status", ["running", "failed", "cancelled"])
def test_nothing_but_what_is_complete_is_done(api: ApiClient, status: str) -> None:
    """A compressed file that is cut off is read to its end before that is noticed."""
    job_id = upload(api, csv_of([row(1)])).json()["id"]
    ImportJob.objects.update(status=status, bytes_read=F("size_bytes"))
    assert 0.99 < api.get(f"imports/{job_id}/").json()["progress"] < 1


def test_it_asks_for_the_right_key(api: ApiClient) -> None:
    reader, writer = ApiClient("read"), ApiClient("transactions:write")
    assert_problem(upload(reader, csv_of([row(1)])), 403)
    assert_problem(upload(ApiClient(raw_key="wrong"), csv_of([row(1)])), 401)
    import_id = upload(writer, csv_of([row(1)])).json()["id"]
    for path in ("imports/", f"imports/{import_id}/", f"imports/{import_id}/errors/"):
        assert_problem(writer.get(path), 403)
        assert reader.get(path).status_code == 200
    for verb in ("cancel", "resume"):
        assert_problem(reader.post(f"imports/{import_id}/{verb}/"), 403)
    assert_problem(reader.get(f"imports/{uuid.uuid4()}/"), 404)
    assert_problem(reader.get("imports/nonsense/"), 404)
    assert_problem(reader.get("imports/", status="unheard"), 400)
    assert reader.get("imports/", status="pending").json()["total"] == 1


def test_it_cancels_and_goes_on_behind_the_last_row(api: ApiClient, uploads: Path) -> None:
    import_id = upload(api, csv_of([row(number) for number in range(9)])).json()["id"]
    assert api.post(f"imports/{import_id}/cancel/").json()["status"] == "cancelled"
    assert not import_run(import_id=import_id, screens_here=True)
    assert not Transaction.objects.exists()
    assert_problem(api.post(f"imports/{import_id}/cancel/"), 409)
    resumed = api.post(f"imports/{import_id}/resume/")
    assert (resumed.status_code, resumed.json()["status"]) == (202, "pending")
    assert_problem(api.post(f"imports/{import_id}/resume/"), 409)
    assert not import_run(import_id=import_id, screens_here=True)
    assert api.get(f"imports/{import_id}/").json()["screened"] == 9
    assert_problem(api.post(f"imports/{import_id}/resume/"), 409)
    assert list(uploads.iterdir()) == []


def test_it_leaves_nothing_behind_of_a_body_that_breaks_off(api: ApiClient, uploads: Path) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="%s"; filename="p.csv"\r\n\r\ntransaction_id\r\n'
    fields = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="f%d"\r\n\r\n1\r\n' % n for n in range(2000)
    )
    for body in (part % b"file" + part % b"more" + b"--x--\r\n", part % b"file" + fields + b"--x--\r\n"):
        answer = api.client.post("/api/v1/imports/", body, content_type="multipart/form-data; boundary=x")
        assert 400 <= answer.status_code < 500, answer.content
    assert list(uploads.iterdir()) == []
