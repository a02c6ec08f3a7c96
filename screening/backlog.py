"""How many transactions may wait for a worker."""

from __future__ import annotations

from django.conf import settings
from django.db import connection

from fraudsite.errors import Overloaded
from fraudsite.short_cache import kept

# How long a process goes by what it counted; the count reads an index of pending rows only.
COUNTED_FOR_S = 0.5


def backlog_admit() -> None:
    """Raises Overloaded when as many are pending as may be."""
    limit = settings.MAX_PENDING_TRANSACTIONS
    if kept("pending", COUNTED_FOR_S, lambda: _pending_up_to(limit)) >= limit:
        raise Overloaded(
            f"{limit} transactions wait for a worker already; nothing was stored. Try again later."
        )


def _pending_up_to(limit: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM (SELECT FROM ingestion_transaction WHERE arrival IS NULL LIMIT %s) AS pending",
            [limit],
        )
        return int(cursor.fetchone()[0])
