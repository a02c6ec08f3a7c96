"""What leaves, as gzipped NDJSON: a transaction a line, with its decision, hits and corrections as they were stored."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Collection
from pathlib import Path

from django.db import connection

from fraudsite.compressed_json import json_text
from fraudsite.errors import FieldError, Invalid

# As text made by the database: exact, and with every column there is; a decision's evidence as the JSON it is.
_LINES = """
SELECT (to_jsonb(t) || jsonb_build_object(
    'decision', to_jsonb(d) || jsonb_build_object('results', evidence.results),
    'hits', (SELECT coalesce(jsonb_agg(to_jsonb(h) ORDER BY h.id), '[]')
        FROM screening_rulehit h WHERE h.decision_id = d.id),
    'revisions', (SELECT coalesce(jsonb_agg(to_jsonb(r) ORDER BY r.id), '[]')
        FROM ingestion_transactionrevision r WHERE r.transaction_id = t.id)
))::text
FROM unnest(%s::bigint[], %s::jsonb[]) AS evidence(decision_id, results)
JOIN screening_decision d ON d.id = evidence.decision_id JOIN ingestion_transaction t ON t.id = d.transaction_id
ORDER BY t.occurred_at, t.arrival, t.id
"""
_EVIDENCE = "SELECT id, results FROM screening_decision WHERE transaction_id = ANY (%s)"


class ExportFile:
    """A new file. Every chunk is a gzip member of its own and on the disk when `add` returns: whatever is deleted
    afterwards can be read, also from a file whose last member broke off."""

    def __init__(self, path: Path) -> None:
        """Raises Invalid when there is such a file already, or none can be made."""
        try:
            self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        except FileExistsError:
            raise Invalid(
                f"There is a file {path} already: every run exports to a new one.",
                [FieldError("export", "must not exist")],
            ) from None
        except OSError as error:
            raise Invalid(
                f"{path} cannot be written: {error.strerror}.", [FieldError("export", "cannot be written")]
            ) from error
        self.path = path.absolute()
        self._digest = hashlib.sha256()
        self._before_last = (0, self._digest.copy())

    def add(self, pks: Collection[int]) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_EVIDENCE, [list(pks)])
            evidence = {pk: json_text(stored).decode() for pk, stored in cursor.fetchall()}
            cursor.execute(_LINES, [list(evidence), list(evidence.values())])
            lines = "".join(f"{line}\n" for (line,) in cursor.fetchall())
        member = gzip.compress(lines.encode(), compresslevel=6)
        self._before_last = (self._file.tell(), self._digest.copy())
        self._file.write(member)
        self._flush()
        self._digest.update(member)

    def size(self) -> int:
        return self._file.tell()

    def take_back(self, size: int) -> None:
        """Without the last `add`, if that made the file longer than `size`: what it holds has not left after all."""
        if self._file.tell() <= size:
            return
        at, self._digest = self._before_last
        self._file.seek(at)
        self._file.truncate()
        self._flush()

    def _flush(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    @property
    def digest(self) -> str:
        """SHA-256 of the file so far."""
        return self._digest.hexdigest()

    def close(self) -> None:
        self._file.close()
