"""How many rows of a table PostgreSQL read, for what must not read all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction
from django.db.models import Model


class RowsRead:
    number = 0


@contextmanager
def rows_read(model: type[Model]) -> Iterator[RowsRead]:
    """`number` is known behind the block, which is one transaction. The planner is told what there is."""
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {model._meta.db_table}")
    # PostgreSQL counts for itself what one transaction reads.
    with transaction.atomic():
        result, before = RowsRead(), _read(model)
        yield result
        result.number = _read(model) - before


def _read(model: type[Model]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables"
            " WHERE relid = %s::regclass",
            [model._meta.db_table],
        )
        return int(cursor.fetchone()[0])
