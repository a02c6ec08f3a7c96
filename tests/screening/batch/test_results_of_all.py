"""The results of all batches together: `GET screening/results/?screening_type=batch`."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from screening.batch.models import BatchResult
from screening.models import ScreeningBatch
from tests.clients import ApiClient
from tests.rows_read import rows_read
from tests.screening.batch.conftest import rule_create, transaction_store
from tests.screening.batch.test_batches import run, start

pytestmark = pytest.mark.django_db


@pytest.fixture
def rule_id(api: ApiClient) -> int:
    """Of the first of three rules; two hit on two of four payments. Screened in two batches."""
    for number in range(4):
        transaction_store(number)
    first = rule_create(api)
    rule_create(api, "Second too")
    rule_create(api, "Web", conditions=[{"field": "channel", "operator": "eq", "value": "pos"}])
    for _ in range(2):
        run(start(api))
    return first


def listed(api: ApiClient, **wanted: Any) -> dict[str, Any]:
    return api.get("screening/results/", screening_type="batch", **wanted).json()


@pytest.mark.parametrize(("status", "number"), [("", 24), ("flagged", 8), ("error", 0), ("clean", 16)])
def test_they_come_page_by_page_as_in_one(api: ApiClient, rule_id: int, status: str, number: int) -> None:
    by_status = {"status": status} if status else {}
    for wanted in (by_status, by_status | {"rule_id": rule_id}):
        whole = listed(api, **wanted)["items"]
        assert "rule_id" in wanted or len(whole) == number
        assert {each["status"] for each in whole} <= {status or each["status"] for each in whole}
        pages = [listed(api, page=page, page_size=3, **wanted) for page in range(1, len(whole) // 3 + 2)]
        assert [each["id"] for page in pages for each in page["items"]] == [each["id"] for each in whole]
        assert {page["total"] for page in pages} == {len(whole)}


def test_they_come_with_the_oldest_batch_first_if_asked(api: ApiClient, rule_id: int) -> None:
    for wanted in ({}, {"status": "flagged"}, {"rule_id": rule_id}):
        newest, oldest = (
            [each["id"] for each in listed(api, ordering=way, **wanted)["items"]]
            for way in ("-created_at", "created_at")
        )
        half = len(newest) // 2
        assert newest == [each["id"] for each in listed(api, **wanted)["items"]]
        assert oldest == newest[half:] + newest[:half]


def test_what_hit_is_found_without_reading_what_did_not(api: ApiClient, rule_id: int) -> None:
    batch = ScreeningBatch.objects.latest("id")
    clean = BatchResult.objects.filter(statuses__regex="^c+$").values().first()
    assert clean is not None
    batch.pk, batch.batch_id = None, uuid.uuid4()
    batch.save()
    BatchResult.objects.bulk_create(
        BatchResult(**clean | {"batch_id": batch.pk, "position": position}) for position in range(1, 1_001)
    )
    with rows_read(BatchResult) as read:
        flagged = listed(api, status="flagged")
        assert listed(api, status="error")["total"] == 0
        assert listed(api, status="flagged", rule_id=rule_id, page_size=1)["total"] == 4
    assert (flagged["total"], {each["status"] for each in flagged["items"]}) == (8, {"flagged"})
    assert read.number < 100
    assert listed(api)["total"] == 24 + 3 * 1_000
    assert listed(api, rule_id=rule_id)["total"] == 8 + 1_000
