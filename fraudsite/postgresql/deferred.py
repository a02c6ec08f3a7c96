"""What triggers put off to the end of a transaction, done before it: so that locks taken after it are held for less."""

from __future__ import annotations

from django.db import connection


def deferred_now() -> None:
    """Run the deferred triggers of what was changed so far (the audit trail's, foreign keys); what is changed from
    here on waits for the commit again. Raises what the commit would have."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
