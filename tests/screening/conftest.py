"""Screening tests run against the real Redis and PostgreSQL: every test begins with both empty of counters."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from screening.engine import engines
from screening.realtime import fence, store


@pytest.fixture(autouse=True)
def _fresh_screening(request: pytest.FixtureRequest) -> Iterator[None]:
    """Forget what an earlier test's rulesets and counters taught this process."""
    store.forget_absence()
    store.forget_everything()
    engines.forget()
    fence.forget()
    return
