"""All five topics through a real broker process, and the command itself, killed and stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import orjson
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from django.conf import settings
from django.db import connection

from ingestion.kafka.consumer import StreamConsumer, consumer_new, producer_new
from ingestion.kafka.dead_letters import DeadLetterBox
from ingestion.kafka.topics import DEAD_LETTERS, TOPICS
from ingestion.models import AlertEvent, CardEvent, CustomerProfile, LoginEvent, Transaction
from screening.models import Decision
from screening.reconciliation import counts_reconcile
from screening.streams import stream_take

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

AT = "2026-11-20T10:00:00Z"


def transaction(number: int, **given: Any) -> dict[str, Any]:
    return {
        "transaction_id": f"K{number}",
        "user_id": f"U{number % 5}",
        "account_id": f"A{number % 5}",
        "amount": "10",
        "transaction_type": "debit",
        "channel": "web",
        "occurred_at": AT,
        **given,
    }


@pytest.fixture
def topics(broker: str) -> str:
    """The topics anew: the broker outlives the test."""
    admin = AdminClient({"bootstrap.servers": broker})
    known = set(admin.list_topics(timeout=10).topics)
    for future in admin.delete_topics(
        [name for name in (*TOPICS, DEAD_LETTERS) if name in known] or ["none"]
    ).values():
        try:
            future.result(10)
        except Exception:
            continue
    for future in admin.create_topics([NewTopic(name, 2, 1) for name in (*TOPICS, DEAD_LETTERS)]).values():
        future.result(10)
    return broker


def send(broker: str, topic: str, *documents: Any) -> None:
    producer = Producer({"bootstrap.servers": broker})
    for document in documents:
        value = document if isinstance(document, bytes) else orjson.dumps(document)
        key = document.get("user_id", "") if isinstance(document, dict) else ""
        producer.produce(topic, value=value, key=key)
    assert producer.flush(20) == 0


def letters(broker: str, n: int) -> list[dict[str, Any]]:
    client = Consumer(
        {"bootstrap.servers": broker, "group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest"}
    )
    client.subscribe([DEAD_LETTERS])
    found: list[dict[str, Any]] = []
    until = time.monotonic() + 30
    while len(found) < n and time.monotonic() < until:
        message = client.poll(0.2)
        if message is not None and message.error() is None:
            found.append(orjson.loads(message.value()))
    client.close()
    return found


def eventually(
    done: Callable[[], bool], *, seconds: float = 90.0, step: Callable[[], Any] | None = None
) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it did not happen in time"
        step() if step else time.sleep(0.2)


def test_it_stores_and_screens_what_five_topics_carry(topics: str) -> None:
    send(topics, "transactions", *[transaction(number) for number in range(20)])
    send(
        topics,
        "transactions",
        transaction(3),
        transaction(4, amount="11"),
        transaction(5, card_id="4111111111111111"),
    )
    send(
        topics,
        "login_events",
        {"event_id": "L1", "user_id": "U1", "success": False, "occurred_at": AT},
        b"{oops",
    )
    card = {"event_id": "C1", "account_id": "A1", "user_id": "U1", "event_type": "block", "occurred_at": AT}
    send(topics, "card_events", card, card | {"event_type": "explode", "event_id": "C2"})
    send(topics, "alert_events", {"alert_id": "E1", "user_id": "U1", "alert_type": "x", "occurred_at": AT})
    kyc = {"user_id": "U1", "risk_tier": "high", "kyc_status": "verified", "updated_at": AT}
    send(topics, "kyc_profile_events", kyc)
    stream = StreamConsumer(
        consumer=consumer_new([topics], uuid.uuid4().hex, {"session.timeout.ms": "6000"}),
        letters=DeadLetterBox(producer_new([topics], {})),
        take=partial(stream_take, principal="kafka:test"),
    )
    stream._consumer.subscribe(list(TOPICS))
    eventually(lambda: stream.taken + stream.refused >= 29, step=stream.step)
    stream._consumer.close()
    assert (stream.taken, stream.refused) == (25, 4)
    assert Decision.objects.count() == 20
    assert not Transaction.objects.filter(arrival__isnull=True).exists()
    assert LoginEvent.objects.get().arrival is not None
    assert (CardEvent.objects.count(), AlertEvent.objects.count()) == (1, 1)
    assert CustomerProfile.objects.get().risk_tier == "high"
    found = {(each["topic"], each["reason"], each["errors"][0]["path"]) for each in letters(topics, 4)}
    assert found == {
        ("transactions", "invalid", "transaction_id"),
        ("transactions", "invalid", "card_id"),
        ("login_events", "unparsable", "$"),
        ("card_events", "invalid", "event_type"),
    }
    for user in range(5):
        by_arrival = Transaction.objects.filter(user_id=f"U{user}").order_by("arrival")
        in_order = [f"K{number}" for number in range(user, 20, 5)]
        assert list(by_arrival.values_list("transaction_id", flat=True)) == in_order


def reconcile() -> None:
    counts_reconcile()
    time.sleep(1)


def database_url() -> str:
    """Of the test's own database, for a process of its own."""
    found = connection.settings_dict
    query = {"host": found["HOST"]} | ({"port": found["PORT"]} if found["PORT"] else {})
    return (
        f"postgresql://{quote(found['USER'])}:{quote(found['PASSWORD'])}@/{found['NAME']}?{urlencode(query)}"
    )


def test_it_loses_and_doubles_nothing_when_the_process_is_killed(topics: str, tmp_path: Path) -> None:
    environment = os.environ | {
        "DATABASE_URL": database_url(),
        "REDIS_URL": settings.REDIS_URL,
        "KAFKA_BROKERS": topics,
        "KAFKA_OPTIONS": "session.timeout.ms=6000",
    }
    command = [
        sys.executable,
        "manage.py",
        "consume_kafka",
        "--topics",
        "transactions",
        "--group",
        uuid.uuid4().hex,
    ]

    def started() -> subprocess.Popen[bytes]:
        with (tmp_path / "log").open("ab") as log:
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=settings.BASE_DIR)

    send(topics, "transactions", *[transaction(number) for number in range(600)])
    first = started()
    try:
        eventually(lambda: Transaction.objects.exists())
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    second = started()
    try:
        send(topics, "transactions", *[transaction(number) for number in range(590, 610)])
        # What the killed process had counted but not stored is taken back by reconciliation, as beat has it run.
        eventually(lambda: Decision.objects.count() == 610, seconds=150, step=reconcile)
        second.send_signal(signal.SIGTERM)
        assert second.wait(30) == 0, (tmp_path / "log").read_text()[-2000:]
    finally:
        second.kill()
        second.wait()
    assert Transaction.objects.count() == 610
    assert Decision.objects.values("transaction_id").distinct().count() == 610
