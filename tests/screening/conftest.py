"""Screening tests run against the real Redis and PostgreSQL: every test begins with both empty of counters."""

from __future__ import annotations

import pytest

from fraudsite.short_cache import forget_kept
from rules.list_snapshots import forget_lists
from screening.counting import fence, store
from screening.engine import engines


@pytest.fixture(autouse=True)
def _fresh_screening() -> None:
    forget_what_was_learned()


def forget_what_was_learned() -> None:
    """Forget what an earlier test taught this process."""
    forget_kept()
    forget_lists()
    store.forget_absence()
    store.forget_everything()
    engines.forget()
    fence.forget()
