"""Whose turn it is when more waits than one round deals with."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

LIVE = timedelta(hours=1)


def live_first(rows: QuerySet[Any], at: str, limit: int) -> list[Any]:
    """What happened within the hour (`at` names the field), then what is older: an import of a year's payments raises
    thousands of alerts, and somebody may be robbing an account now."""
    since = timezone.now() - LIVE
    live = list(rows.filter(**{f"{at}__gte": since})[:limit])
    return live + list(rows.filter(**{f"{at}__lt": since})[: limit - len(live)])
