"""A field that clients may give is stored on every way in, answered, and known to the rules: what is added to
`ingestion.payloads` and forgotten further on fails here."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from fraudsite.json_body import decode
from ingestion.events.payloads import KINDS
from ingestion.models import Transaction
from ingestion.payloads import FIELD_NAMES
from ingestion.serializers import TransactionSerializer
from rules.core.fields import FIELDS
from screening.events import EVENT_SOURCES
from screening.imports.running import import_run
from screening.pending import pending_screen
from screening.streams import stream_take
from tests.clients import ApiClient
from tests.ingestion.imports.conftest import uploads
from tests.ingestion.imports.files import csv_of

__all__ = ["uploads"]
pytestmark = pytest.mark.django_db(transaction=True)

GIVEN: dict[str, Any] = {
    "transaction_id": "T1",
    "user_id": "U1",
    "account_id": "A1",
    "counterparty_account_id": "A2",
    "amount": "12.34",
    "currency": "USD",
    "transaction_type": "debit",
    "channel": "web",
    "merchant_id": "M1",
    "merchant_category": "5411",
    "merchant_name": "Corner Shop",
    "location": "Lagos",
    "country_code": "NG",
    "latitude": 6.5244,
    "longitude": 3.3792,
    "ip_address": "197.210.1.1",
    "device_id": "D1",
    "card_id": "card-1",
    "card_last4": "4242",
    "status": "settled",
    "metadata": {"note": "x"},
    "occurred_at": "2026-03-04T10:00:00Z",
}


def submitted(api: ApiClient) -> None:
    assert api.post("transactions/", GIVEN).status_code == 201


def accepted(api: ApiClient) -> None:
    assert api.post("transactions/?mode=async", GIVEN).status_code == 202


def in_bulk(api: ApiClient) -> None:
    assert api.post("transactions/bulk/", [GIVEN]).json()["accepted"] == 1


def streamed(api: ApiClient) -> None:
    assert stream_take("transaction", [decode(orjson.dumps(GIVEN))], principal="tests") == []


def imported(api: ApiClient) -> None:
    columns = {name: value for name, value in GIVEN.items() if name != "metadata"}
    file = SimpleUploadedFile("rows.csv", csv_of([{**columns, "metadata.note": GIVEN["metadata"]["note"]}]))
    answer = api.client.post("/api/v1/imports/", {"file": file})
    assert answer.status_code == 202, answer.content
    import_run(import_id=answer.json()["id"], screens_here=True)


def test_there_is_a_value_here_for_every_field() -> None:
    assert set(GIVEN) == set(FIELD_NAMES)


@pytest.mark.parametrize("way", [submitted, accepted, in_bulk, streamed, imported])
def test_every_way_in_stores_and_answers_every_field(way: Any) -> None:
    api = ApiClient()
    way(api)
    pending_screen([Transaction.objects.get().pk])
    answered = api.get("transactions/T1/").json()
    assert {name: answered.get(name) for name in GIVEN} == GIVEN
    assert api.get("transactions/T1/screening/").json()["decision"] == "approve"


def test_the_schema_has_every_field_that_is_answered() -> None:
    api = ApiClient()
    submitted(api)
    assert set(TransactionSerializer().fields) == set(api.get("transactions/T1/").json())


def test_rules_may_name_every_field_of_every_event() -> None:
    assert set(FIELD_NAMES) - {"metadata"} <= set(FIELDS["transaction"])
    for kind in EVENT_SOURCES.keys() - {"transaction"}:
        assert set(KINDS[kind].names) == set(EVENT_SOURCES[kind].columns) <= set(FIELDS[kind])
