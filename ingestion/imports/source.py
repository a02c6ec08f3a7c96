"""The bytes of an import's file, decompressed, from an offset on; and what tells one format from another."""

from __future__ import annotations

import gzip
import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GZIP_MAGIC = b"\x1f\x8b"
PARQUET_MAGIC = b"PAR1"
UTF8_BOM = b"\xef\xbb\xbf"
UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
# A file that decompresses to more than this is no file of 2 million transactions.
MAX_TEXT_BYTES = 8 * 1024**3
# One record, a quoted cell with newlines included.
MAX_RECORD_BYTES = 128 * 1024
SKIP_BYTES = 1024 * 1024


class SourceUnreadable(Exception):
    """The file is gone, cut off or not what it says it is; nothing more can be read from it."""


@dataclass(slots=True)
class RawRow:
    """One record as it stands in the file. `values` by column name; None when it cannot be read: `problem` says why.
    `end` and `end_line` are where the next record begins."""

    row: int
    line: int | None
    values: dict[str, Any] | None
    end: int
    end_line: int
    problem: str = ""
    path: str = "$"


def is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == GZIP_MAGIC


class TextSource:
    """Physical lines of a (compressed) text file, with the offset and number of the next one. Memory stays bounded:
    a line is read up to MAX_RECORD_BYTES, the rest of a longer one is skipped.

    Whoever `only_looks` at the beginning gets the rest as the next line: a megabyte can decompress to a line of a
    gigabyte, and whoever sent it is waiting for an answer."""

    def __init__(
        self, path: Path, *, is_gzip: bool, offset: int = 0, lines: int = 0, only_looks: bool = False
    ) -> None:
        self._only_looks = only_looks
        self._raw = path.open("rb")
        self._file: Any = gzip.GzipFile(fileobj=self._raw) if is_gzip else self._raw
        self._put_back: list[bytes] = []
        self.offset = 0
        self.lines = lines
        self._skip(offset)

    def _skip(self, offset: int) -> None:
        if self._file is self._raw:
            self._raw.seek(offset)
            self.offset = offset
            return
        while self.offset < offset:
            chunk = self._read(lambda: self._file.read(min(SKIP_BYTES, offset - self.offset)))
            if not chunk:
                raise SourceUnreadable("the file is shorter than it was")
            self.offset += len(chunk)

    def line(self) -> tuple[bytes, bool]:
        """(the next line with its end, whether it was cut because it is too long); empty at the end of the file."""
        line = self._put_back.pop() if self._put_back else self._read_line(MAX_RECORD_BYTES + 1)
        self.offset += len(line)
        if self.offset > MAX_TEXT_BYTES:
            raise SourceUnreadable(f"the file has more than {MAX_TEXT_BYTES} bytes of text")
        is_cut = len(line) > MAX_RECORD_BYTES and not line.endswith(b"\n")
        if is_cut and not self._only_looks:
            self._skip_line()
        self.lines += bool(line)
        return line, is_cut

    def _skip_line(self) -> None:
        while rest := self._read_line(SKIP_BYTES):
            self.offset += len(rest)
            if self.offset > MAX_TEXT_BYTES or rest.endswith(b"\n"):
                return

    def put_back(self, lines: list[bytes]) -> None:
        """Give these lines, the last that were read, out again."""
        self._put_back.extend(reversed(lines))
        self.offset -= sum(map(len, lines))
        self.lines -= len(lines)

    @property
    def bytes_read(self) -> int:
        """Of the file as it is stored, for progress."""
        return self.offset if self._file is self._raw else self._raw.tell()

    def _read_line(self, limit: int) -> bytes:
        return self._read(lambda: self._file.readline(limit))

    def _read(self, read: Any) -> bytes:
        try:
            return bytes(read())
        except (OSError, EOFError, zlib.error) as error:
            raise SourceUnreadable(f"the file cannot be decompressed: {error}") from error

    def close(self) -> None:
        self._file.close()
        self._raw.close()


def head(path: Path, size: int = 64 * 1024) -> bytes:
    """The first bytes of the text."""
    source = TextSource(path, is_gzip=is_gzip(path), only_looks=True)
    try:
        found = io.BytesIO()
        while found.tell() < size:
            line, _ = source.line()
            if not line:
                break
            found.write(line)
        return found.getvalue()
    finally:
        source.close()
