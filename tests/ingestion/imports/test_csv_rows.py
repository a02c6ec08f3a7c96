"""CSV files as they come."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from ingestion.imports.csv_rows import CsvRows, delimiter_of
from ingestion.imports.source import MAX_RECORD_BYTES, RawRow, SourceUnreadable, TextSource, is_gzip

COLUMNS = ["a", "b"]


def rows_of(path: Path, *, offset: int = 0, line: int = 0, row: int = 0) -> list[RawRow]:
    source = TextSource(path, is_gzip=is_gzip(path), offset=offset, lines=line)
    rows = CsvRows(source, delimiter=",", columns=COLUMNS, row=row)
    if offset == 0:
        assert rows.header() == COLUMNS
    found = list(rows)
    source.close()
    return found


def written(tmp_path: Path, text: bytes) -> Path:
    path = tmp_path / "rows.csv"
    path.write_bytes(text)
    return path


def test_it_reads_a_byte_order_mark_quotes_with_newlines_and_a_last_line_without_end(tmp_path: Path) -> None:
    rows = rows_of(written(tmp_path, b'\xef\xbb\xbfa,b\r\n1,"x\r\ny, ""z"""\r\n\r\n2,last'))
    assert [(each.row, each.line, each.values) for each in rows] == [
        (1, 2, {"a": "1", "b": 'x\r\ny, "z"'}),
        (2, 5, {"a": "2", "b": "last"}),
    ]


def test_it_goes_on_from_the_end_of_any_row(tmp_path: Path) -> None:
    lines = [b'%d,"line one\nline %d"\n' % (number, number) for number in range(40)]
    for name, text in (
        ("plain", b"a,b\n" + b"".join(lines)),
        ("gzip", gzip.compress(b"a,b\n" + b"".join(lines))),
    ):
        path = tmp_path / name
        path.write_bytes(text)
        rows = rows_of(path)
        assert len(rows) == 40
        for at in (0, 7, 38):
            rest = rows_of(path, offset=rows[at].end, line=rows[at].end_line, row=rows[at].row)
            assert rest == rows[at + 1 :]


def test_it_reports_a_row_of_another_length_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    rows = rows_of(written(tmp_path, b"a,b\n1\n2,\xff\n3,4,5\n6,7\n"))
    assert [each.problem for each in rows] == [
        "has 1 cells where the header has 2",
        "is not valid UTF-8",
        "has 3 cells where the header has 2",
        "",
    ]
    assert rows[3].values == {"a": "6", "b": "7"}


@pytest.mark.parametrize("n", [2, 30_000])
def test_it_loses_only_the_row_whose_quote_is_never_closed(tmp_path: Path, n: int) -> None:
    """Whether the file ends within what a record may have, or not."""
    after = b"".join(b"%d,y\n" % number for number in range(n))
    rows = rows_of(written(tmp_path, b'a,b\n1,"open\n' + after))
    assert rows[0].problem
    assert [each.values["a"] for each in rows[1:]] == [str(number) for number in range(n)]
    assert [each.line for each in rows[:3]] == [2, 3, 4]


def test_it_takes_the_rows_behind_a_broken_quoted_cell(tmp_path: Path) -> None:
    rows = rows_of(written(tmp_path, b'a,b\n1,"open\n2,"x"\n3,z\n'))
    assert rows[0].problem.startswith("is not valid CSV")
    assert [each.values for each in rows[1:]] == [{"a": "2", "b": "x"}, {"a": "3", "b": "z"}]


def test_it_skips_a_line_longer_than_any_record_may_be_without_holding_it(tmp_path: Path) -> None:
    rows = rows_of(written(tmp_path, b"a,b\n1," + b"x" * (3 * MAX_RECORD_BYTES) + b"\n2,y\n"))
    assert [bool(each.problem) for each in rows] == [True, False]
    assert rows[1].values == {"a": "2", "b": "y"}


def test_it_says_that_a_compressed_file_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 50_000)[:-200])
    source = TextSource(path, is_gzip=True)
    with pytest.raises(SourceUnreadable):
        list(CsvRows(source, delimiter=",", columns=COLUMNS))
    source.close()


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_it_finds_the_delimiter_by_the_names_it_makes(delimiter: str) -> None:
    line = delimiter.join(["transaction_id", '"amount, in; EUR|net"', "user_id"])
    assert delimiter_of(line, likely=frozenset({"transaction_id", "user_id"})) == delimiter
