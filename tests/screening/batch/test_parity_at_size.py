"""The parity benchmark on a short stream: real time, batch and the reference say the same of every transaction."""

from __future__ import annotations

import pytest

from benchmarks.parity import run
from tests.clients import ApiClient


@pytest.mark.slow
def test_nothing_differs_over_a_stream(api: ApiClient) -> None:
    found = run(1_500, seed=7, jobs=1)
    assert found.transactions == 1_500
    assert min(found.ties, found.late, found.repeated, found.refused, found.corrections) > 0
    assert found.compared == 19 * 1_500
    assert found.hits > 1_000
    assert (found.differing_arrival, found.differing_event) == (0, 0), found.examples
