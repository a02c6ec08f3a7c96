"""The consumer's loop against librdkafka's mock broker: what is committed, what comes again, what is refused."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import orjson
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from django.db import DatabaseError, OperationalError, connection

from fraudsite.errors import FieldError
from ingestion.kafka.consumer import StreamConsumer, consumer_new
from ingestion.kafka.dead_letters import (
    CARD_REMOVED,
    DeadLetter,
    DeadLetterBox,
    DeadLettersNotWritten,
    readable,
)
from ingestion.kafka.topics import DEAD_LETTERS
from ingestion.models import Transaction
from tests.databases import session_takes_no_writes

pytestmark = pytest.mark.django_db

TOPIC = "transactions"


class Cluster:
    """A mock broker inside librdkafka, and a client for each side of the test."""

    def __init__(self) -> None:
        # The producer that holds the mock cluster tells its address by way of its metadata.
        self.producer = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": ""})
        broker = next(iter(self.producer.list_topics(timeout=10).brokers.values()))
        self.address = f"{broker.host}:{broker.port}"

    def send(self, *values: bytes | None, topic: str = TOPIC, partition: int = 0) -> None:
        for value in values:
            self.producer.produce(topic, value=value, partition=partition)
        assert self.producer.flush(10) == 0

    def stream(self, take: Callable[..., Any], *, letters: Any = None, group: str = "g") -> StreamConsumer:
        consumer = consumer_new([self.address], group, {"session.timeout.ms": "6000"})
        consumer.subscribe([TOPIC])
        return StreamConsumer(consumer=consumer, letters=letters or DeadLetterBox(self.producer), take=take)

    def committed(self, *, group: str = "g", partition: int = 0) -> int:
        client = Consumer({"bootstrap.servers": self.address, "group.id": group})
        position = client.committed([TopicPartition(TOPIC, partition)], timeout=10)[0].offset
        client.close()
        return position

    def letters(self, n: int) -> list[dict[str, Any]]:
        client = Consumer(
            {"bootstrap.servers": self.address, "group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest"}
        )
        client.subscribe([DEAD_LETTERS])
        found: list[dict[str, Any]] = []
        until = time.monotonic() + 30
        while len(found) < n and time.monotonic() < until:
            message = client.poll(0.2)
            if message is not None and message.error() is None:
                found.append(orjson.loads(message.value()) | {"headers": dict(message.headers())})
        client.close()
        return found


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def until(stream: StreamConsumer, done: Callable[[], bool], *, seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it did not happen in time"
        stream.step()


class Taken:
    """A `take` that remembers, and fails as often as it is told to."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.documents: list[Any] = []

    def __call__(self, kind: str, documents: Sequence[Any]) -> list[tuple[int, list[FieldError]]]:
        assert kind == "transaction"
        if self.failures:
            raise self.failures.pop(0)
        self.documents += [int(each["n"]) for each in documents]
        return []


def numbered(*numbers: int) -> list[bytes]:
    return [b'{"n": %d}' % number for number in numbers]


def test_it_takes_messages_in_order_and_commits_behind_the_last(cluster: Cluster) -> None:
    cluster.send(*numbered(*range(20)))
    taken = Taken()
    stream = cluster.stream(taken)
    until(stream, lambda: len(taken.documents) == 20)
    assert taken.documents == list(range(20))
    assert cluster.committed() == 20


def refusal_of_a_standby() -> DatabaseError:
    """As a service meets it."""
    session_takes_no_writes()
    with pytest.raises(DatabaseError) as caught:
        Transaction.objects.update(status="settled")
    connection.close()
    return caught.value


@pytest.mark.django_db(transaction=True)
def test_it_commits_nothing_while_the_database_is_away_and_then_takes_every_message_once(
    cluster: Cluster,
) -> None:
    cluster.send(*numbered(0, 1, 2))
    taken = Taken(OperationalError("gone"), refusal_of_a_standby())
    stream = cluster.stream(taken)
    until(stream, lambda: not taken.failures)
    assert taken.documents == []
    assert cluster.committed() < 0
    cluster.send(*numbered(3))
    until(stream, lambda: len(taken.documents) >= 4)
    assert taken.documents == [0, 1, 2, 3]
    assert cluster.committed() == 4


def test_it_takes_messages_again_whose_offsets_were_not_committed(cluster: Cluster) -> None:
    cluster.send(*numbered(0, 1))
    first = Taken()
    stream = cluster.stream(first)
    stream._commit = lambda messages: None  # type: ignore[method-assign]
    until(stream, lambda: len(first.documents) == 2)
    stream._consumer.close()
    again = Taken()
    second = cluster.stream(again)
    until(second, lambda: len(again.documents) == 2)
    assert again.documents == [0, 1]


def test_it_sends_what_cannot_be_read_to_the_dead_letters_with_the_reason(cluster: Cluster) -> None:
    cluster.send(b"{", b'{"n": 1}', None, b'{"n": NaN}', b"\xff\xfe")
    taken = Taken()
    stream = cluster.stream(taken)
    until(stream, lambda: stream.refused == 4)
    assert taken.documents == [1]
    assert cluster.committed() == 5
    letters = cluster.letters(4)
    assert [each["offset"] for each in letters] == [0, 2, 3, 4]
    assert {(each["reason"], each["topic"], each["partition"]) for each in letters} == {
        ("unparsable", TOPIC, 0)
    }
    assert [each["errors"][0]["path"] for each in letters] == ["$", "$", "n", "$"]
    assert letters[0]["payload"] == "{"
    assert letters[0]["headers"]["offset"] == b"0"


def test_it_says_what_was_refused_and_why(cluster: Cluster) -> None:
    def take(_kind: str, documents: Sequence[Any]) -> list[tuple[int, list[FieldError]]]:
        return [(i, [FieldError("n", "is odd")]) for i, each in enumerate(documents) if each["n"] % 2]

    cluster.send(*numbered(0, 1, 2, 3))
    stream = cluster.stream(take)
    until(stream, lambda: stream.taken + stream.refused == 4)
    letters = cluster.letters(2)
    assert [(each["reason"], each["offset"], each["errors"]) for each in letters] == [
        ("invalid", 1, [{"path": "n", "message": "is odd"}]),
        ("invalid", 3, [{"path": "n", "message": "is odd"}]),
    ]


def test_it_lets_one_message_that_fails_sink_no_other(cluster: Cluster) -> None:
    taken = Taken()

    def take(kind: str, documents: Sequence[Any]) -> list[tuple[int, list[FieldError]]]:
        if any(each["n"] == 2 for each in documents):
            raise ZeroDivisionError
        return taken(kind, documents)

    cluster.send(*numbered(0, 1, 2, 3))
    stream = cluster.stream(take)
    until(stream, lambda: stream.taken + stream.refused == 4)
    assert taken.documents == [0, 1, 3]
    assert [(each["reason"], each["offset"]) for each in cluster.letters(1)] == [("failed", 2)]


def test_it_commits_nothing_until_the_dead_letters_are_written(cluster: Cluster) -> None:
    class Away:
        def produce(self, *args: Any, **kwargs: Any) -> None:
            raise BufferError("queue full")

    cluster.send(b"no json")
    stream = cluster.stream(Taken(), letters=DeadLetterBox(Away()))
    for _ in range(40):
        stream.step()
        if stream._pause_s > 0.5:
            break
    assert stream._pause_s > 0.5
    assert cluster.committed() < 0
    stream._letters = DeadLetterBox(cluster.producer)
    until(stream, lambda: stream.refused == 1)
    assert cluster.committed() == 1


@pytest.mark.parametrize(
    "number",
    [
        "4111111111111111",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "4111111111111111 123",
        "7 4111111111111111",
        "4111.1111.1111.1111",
        "4111/1111/1111/1111",
        "4111\u20111111\u20111111\u20111111",
        "４１１１１１１１１１１１１１１１",
        r"\u0034111111111111111",
    ],
)
def test_it_repeats_no_card_number_in_a_dead_letter(number: str) -> None:
    assert (
        readable(f'{{"card_id": "{number}", "n": 12}}'.encode())
        == f'{{"card_id": "{CARD_REMOVED}", "n": 12}}'
    )


def test_it_leaves_the_rest_of_a_dead_letter_as_it_was() -> None:
    assert readable(b"2026112210000012345") == "2026112210000012345"
    for text in ("株式会社　日本 ①", r'{"a":"\u00e9"}', "10.0.0.1 4111"):
        assert readable(text.encode()) == text


def test_it_removes_a_card_number_that_a_longer_run_of_digits_hides() -> None:
    assert readable(b"000004111111111111111000000") == CARD_REMOVED


@pytest.mark.parametrize(("left", "error"), [(1, None), (0, "broker: message too large")])
def test_it_takes_no_letter_for_written_that_the_broker_did_not_confirm(left: int, error: str | None) -> None:
    class Unconfirmed:
        def produce(self, *args: Any, on_delivery: Callable[..., None], **kwargs: Any) -> None:
            if error:
                on_delivery(error, None)

        def flush(self, _seconds: float) -> int:
            return left

    class Sent:
        def topic(self) -> str:
            return TOPIC

        def partition(self) -> int:
            return 0

        offset = partition

        def key(self) -> None:
            return None

        def value(self) -> bytes:
            return b"{"

        def timestamp(self) -> tuple[int, int]:
            return 0, 0

    with pytest.raises(DeadLettersNotWritten):
        DeadLetterBox(Unconfirmed()).put([DeadLetter(Sent(), "unparsable")])


class Delivered:
    """A message as librdkafka hands it over."""

    def __init__(self, partition: int, offset: int) -> None:
        self._place = partition, offset

    def topic(self) -> str:
        return TOPIC

    def partition(self) -> int:
        return self._place[0]

    def offset(self) -> int:
        return self._place[1]

    def error(self) -> None:
        return None

    def value(self) -> bytes:
        return b'{"n": 1}'


class Paused:
    """A consumer of partition 0 that is given partition 1 while it waits."""

    def __init__(self) -> None:
        self.polled = [Delivered(0, 7), Delivered(1, 3)]
        self.sought: list[tuple[int, int]] = []
        self.paused: list[int] = []

    def poll(self, _seconds: float) -> Delivered | None:
        return self.polled.pop(0) if self.polled else None

    def consume(self, _most: int, _seconds: float) -> list[Delivered]:
        return [Delivered(0, 8)]

    def assignment(self) -> list[TopicPartition]:
        return [TopicPartition(TOPIC, 0)]

    def seek(self, position: TopicPartition) -> None:
        self.sought.append((position.partition, position.offset))

    def pause(self, positions: list[TopicPartition]) -> None:
        self.paused += [each.partition for each in positions]

    def resume(self, _positions: list[TopicPartition]) -> None:
        self.paused.append(-1)


def test_it_goes_back_to_the_first_it_did_not_take_on_partitions_it_is_given_meanwhile_too() -> None:
    consumer = Paused()
    stream = StreamConsumer(
        consumer=consumer, letters=DeadLetterBox(None), take=Taken(OperationalError("gone"))
    )
    assert stream.step() == 0
    assert consumer.sought == [(0, 7), (1, 3)]
    assert consumer.paused == [0, 1, -1]
