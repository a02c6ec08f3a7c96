"""What a file is, found out while its sender waits."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from fraudsite.errors import Invalid
from ingestion.imports.layout import Options, layout_of
from ingestion.imports.source import MAX_RECORD_BYTES, TextSource

LONG = b"0" * (3 * MAX_RECORD_BYTES)
HEADER = b"transaction_id,user_id,account_id,amount,transaction_type,channel\n"


@pytest.fixture(autouse=True)
def nothing_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """To skip the rest of a line is to decompress it, and it may be a gigabyte."""

    def refuse(self: TextSource) -> None:
        raise AssertionError("read on to the end of a long line")

    monkeypatch.setattr(TextSource, "_skip_line", refuse)


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content))
    return path


@pytest.mark.parametrize("content", [LONG, b'"a\n' + LONG], ids=["one line", "an open quote"])
def test_it_refuses_a_header_that_is_too_long_without_reading_to_its_end(
    tmp_path: Path, content: bytes
) -> None:
    with pytest.raises(Invalid) as refused:
        layout_of(written(tmp_path / "a.csv.gz", content), Options())
    assert "is longer than 131072 bytes" in refused.value.errors[0].message


@pytest.mark.parametrize("content", [HEADER + b"a,b," + LONG, b'{"transaction_id":"' + LONG])
def test_it_leaves_long_rows_to_the_worker(tmp_path: Path, content: bytes) -> None:
    layout = layout_of(written(tmp_path / "a.gz", content), Options())
    assert layout.start in (0, len(HEADER))
