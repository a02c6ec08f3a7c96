"""What the log says of a payment, wherever it is worked on."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import structlog
from redis import Redis

from fraudsite.celery import app
from fraudsite.logging import TRANSACTIONS
from screening.counting import fence, store
from tests.admin.samples import payment
from tests.clients import ApiClient

pytestmark = pytest.mark.django_db


class Lines(logging.Handler):
    """What is written to the log, as whoever collects it reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.read.append(json.loads(self.format(record)))

    def of(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.read if line["event"] == event]


@pytest.fixture(autouse=True)
def _nothing_counted(redis_client: Redis) -> None:
    """An earlier test's payment of the same id is not on its way here."""
    store.forget_everything()
    fence.forget()


@pytest.fixture
def lines() -> Any:
    """The lines about payments, and every other line."""
    found = Lines()
    loggers = [logging.getLogger(TRANSACTIONS), logging.getLogger()]
    for logger in loggers:
        handler = Lines()
        handler.read = found.read
        handler.setFormatter(logger.handlers[0].formatter)
        logger.addHandler(handler)
    yield found
    for logger in loggers:
        logger.removeHandler(logger.handlers[-1])


def test_it_names_the_payment_its_decision_and_the_request(lines: Lines) -> None:
    api = ApiClient()
    api.client.defaults["HTTP_X_REQUEST_ID"] = "till-7"
    answer = payment(api, "T1")
    (line,) = lines.of("transaction_decided")
    assert line["transaction_id"] == "T1"
    assert line["decision_id"] == answer["screening"]["decision_id"]
    assert line["decision"] == answer["screening"]["decision"]
    assert (line["request_id"], line["level"], line["logger"]) == ("till-7", "info", TRANSACTIONS)
    assert line["timestamp"].endswith("Z")


def test_it_names_the_payment_a_refused_request_was_about(lines: Lines) -> None:
    api = ApiClient()
    payment(api, "T1")
    body = {
        "transaction_id": "T1",
        "user_id": "another",
        "account_id": "A1",
        "amount": 1,
        "transaction_type": "debit",
        "channel": "web",
    }
    assert api.post("transactions/", body).status_code == 409
    (line,) = lines.of("request")
    assert (line["status"], line["transaction_id"]) == (409, "T1")
    assert api.get("transactions/none/").status_code == 404
    assert "transaction_id" not in lines.of("request")[-1], "the next request is about something else"


def test_it_names_every_payment_of_a_bulk_with_its_job(lines: Lines) -> None:
    rows = [
        {
            "transaction_id": f"B{number}",
            "user_id": "U1",
            "account_id": "A1",
            "amount": 1,
            "transaction_type": "debit",
            "channel": "web",
        }
        for number in range(3)
    ]
    job_id = ApiClient().post("transactions/bulk/", rows).json()["job_id"]
    found = lines.of("transaction_accepted")
    assert [(each["transaction_id"], each["job_id"]) for each in found] == [
        (f"B{n}", job_id) for n in range(3)
    ]


def test_it_says_nothing_of_single_payments_when_it_is_told_to_be_quiet(lines: Lines) -> None:
    logger = logging.getLogger(TRANSACTIONS)
    logger.setLevel(logging.WARNING)
    try:
        payment(ApiClient(), "T1")
    finally:
        logger.setLevel(logging.INFO)
    assert lines.of("transaction_decided") == []


def test_a_task_run_where_it_is_asked_for_leaves_the_request_its_id() -> None:
    @app.task(name="tests.look")
    def look() -> dict[str, Any]:
        return dict(structlog.contextvars.get_contextvars())

    structlog.contextvars.clear_contextvars()
    with structlog.contextvars.bound_contextvars(request_id="till-7"):
        inside = look.apply().get()
        after = structlog.contextvars.get_contextvars()
    assert (inside["request_id"], inside["task"]) == ("till-7", "tests.look")
    assert after == {"request_id": "till-7"}
