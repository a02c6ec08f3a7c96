"""The parity benchmark on a short stream: real time, batch and the reference say the same of every transaction."""

from __future__ import annotations

import pytest

from benchmarks.parity import run
from fraudsite.dev import throw_away
from tests.clients import ApiClient

# Rules over groups that are of no one user.
SHARED = {"parity: incoming", "parity: ring", "parity: merchant"}


@pytest.mark.slow
def test_nothing_differs_over_a_stream(api: ApiClient) -> None:
    found = run(1_500, seed=7, jobs=1)
    assert found.transactions == 1_500
    assert min(found.ties, found.late, found.repeated, found.refused, found.corrections) > 0
    assert found.compared == 19 * 1_500
    assert found.hits > 1_000
    assert found.differing_event == 0, found.examples
    if throw_away.is_on_cluster():
        # What several users share is weaker there: docs/decisions/0009-redis-cluster.md.
        assert found.differing_rules <= SHARED, found.examples
    else:
        assert found.differing_arrival == 0, found.examples
