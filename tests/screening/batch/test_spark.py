"""The same parity tests on Spark, where pyspark and Java are installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from screening.batch.columns import spark_session
from screening.batch.columns.scope import AsOf
from screening.batch.running import batch_advance
from screening.models import ScreeningBatch
from tests.clients import ApiClient
from tests.screening.batch.conftest import rule_create, transaction_store
from tests.screening.batch.test_facts_of_then import profiled_stream
from tests.screening.batch.test_lists_of_then import listed_stream
from tests.screening.batch.test_realtime_parity import assert_reproduced

needs_spark = pytest.mark.skipif(
    spark_session.missing() is not None, reason=f"Spark: {spark_session.missing()}"
)


@needs_spark
@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("as_of", ["event", "arrival"])
def test_on_spark_it_gives_the_reference_s_answer(as_of: AsOf, tmp_path: Path) -> None:
    from screening.batch.columns.spark import SparkRun
    from tests.screening.batch.test_reference_parity import compare_seeds

    assert compare_seeds(range(12), as_of, tmp_path, engine=SparkRun) > 50


def _advanced(batch_id: str) -> ScreeningBatch:
    batch = ScreeningBatch.objects.get(batch_id=batch_id)
    while batch_advance(batch.pk):
        pass
    batch.refresh_from_db()
    return batch


@needs_spark
@pytest.mark.slow
def test_a_batch_on_spark_stores_what_duckdb_stores(api: ApiClient, settings: Any) -> None:
    rule_create(api)
    for number in range(200):
        transaction_store(number, user_id=f"U{number % 7}")
    shown = []
    for engine in ("duckdb", "spark"):
        settings.BATCH_ENGINE = engine
        batch = _advanced(api.post("screening/batches/", {}).json()["batch_id"])
        assert batch.status == "completed", batch.error
        items = api.get(f"screening/batches/{batch.batch_id}/results/", page_size=1000).json()["items"]
        for item in items:
            for result in item["results"]:
                del result["id"], result["created_at"]
        shown.append(items)
    assert len(shown[0]) == 200
    assert any(item["overall_status"] == "flagged" for item in shown[0])
    assert shown[0] == shown[1]


def test_a_batch_says_what_spark_lacks(
    api: ApiClient, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule_create(api)
    transaction_store(1)
    settings.BATCH_ENGINE = "spark"
    monkeypatch.setattr(spark_session, "missing", lambda: "pyspark is not installed")
    batch = _advanced(api.post("screening/batches/", {}).json()["batch_id"])
    assert batch.status == "failed"
    assert "pyspark is not installed" in batch.error
    settings.BATCH_ENGINE = "duckdb"
    assert api.post(f"screening/batches/{batch.batch_id}/resume/").status_code in (200, 202)
    assert _advanced(str(batch.batch_id)).status == "completed"


@needs_spark
@pytest.mark.slow
def test_on_spark_lists_hold_what_they_held_then(api: ApiClient, settings: Any) -> None:
    settings.BATCH_ENGINE = "spark"
    assert_reproduced(api, listed_stream(api))


@needs_spark
@pytest.mark.slow
def test_on_spark_past_events_are_known_as_they_were_then(api: ApiClient, settings: Any) -> None:
    settings.BATCH_ENGINE = "spark"
    assert_reproduced(api, profiled_stream(api))
