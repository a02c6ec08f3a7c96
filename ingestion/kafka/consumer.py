"""Reading topics in batches: stored first, then offsets committed, so that nothing is lost and a replay is harmless.

What is done with the messages is the caller's `take`; it must be idempotent, because a message comes again whenever
a process dies, or a partition moves, between the database's commit and the offset's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from django.db import InterfaceError, OperationalError, close_old_connections

from fraudsite.errors import Busy, FieldError
from fraudsite.json_body import JsonBodyError, decode
from ingestion.kafka.dead_letters import (
    FAILED,
    INVALID,
    UNPARSABLE,
    DeadLetter,
    DeadLetterBox,
    DeadLettersNotWritten,
    Message,
)
from ingestion.kafka.topics import KINDS

log = structlog.get_logger(__name__)

BATCH_SIZE = 500
# How long a batch is waited for; a single message waits no longer than this.
LINGER_S = 0.05
IDLE_S = 0.5
MAX_MESSAGE_BYTES = 1024 * 1024
# Pauses while the database or the dead-letter topic is away.
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 5.0
POLL_S = 0.2
# A broker that is away is tried again once a second: librdkafka alone tries, and writes a line, twenty times.
AWAY_OPTIONS = {"reconnect.backoff.ms": 1_000}
AWAY = (OperationalError, InterfaceError, Busy, DeadLettersNotWritten)

# (kind, decoded JSON values) → (position, what is wrong) of those that were refused. Everything else is committed.
Take = Callable[[str, Sequence[Any]], list[tuple[int, list[FieldError]]]]


def consumer_new(brokers: Sequence[str], group: str, options: dict[str, str]) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": ",".join(brokers),
            "group.id": group,
            "client.id": "fraudsite",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "allow.auto.create.topics": False,
            # Read ahead at most this much, however far behind the group is.
            "queued.max.messages.kbytes": 16_384,
            "fetch.message.max.bytes": MAX_MESSAGE_BYTES,
            **AWAY_OPTIONS,
            **options,
        }
    )


def producer_new(brokers: Sequence[str], options: dict[str, str]) -> Producer:
    return Producer(
        {
            "bootstrap.servers": ",".join(brokers),
            "client.id": "fraudsite",
            "acks": "all",
            "message.timeout.ms": 10_000,
            **AWAY_OPTIONS,
            **options,
        }
    )


class StreamConsumer:
    """One process's share of the topics. `run` returns after `stop`."""

    def __init__(self, *, consumer: Any, letters: DeadLetterBox, take: Take) -> None:
        self._consumer = consumer
        self._letters = letters
        self._take = take
        self._is_stopping = False
        self._pause_s = FIRST_PAUSE_S
        self.taken = 0
        self.refused = 0

    def stop(self) -> None:
        """Finish the batch at hand and leave. Safe in a signal handler."""
        self._is_stopping = True

    def run(self, topics: Sequence[str]) -> None:
        self._consumer.subscribe(list(topics))
        try:
            while not self._is_stopping:
                self.step()
        finally:
            self._consumer.close()

    def step(self) -> int:
        """Read and deal with one batch; how many messages it had."""
        messages = self._read()
        if not messages:
            return 0
        close_old_connections()
        try:
            letters = self._deal_with(messages)
            self._letters.put(letters)
        except AWAY as error:
            self._come_again(messages, error)
            return 0
        self._commit(messages)
        self._pause_s = FIRST_PAUSE_S
        self.taken += len(messages) - len(letters)
        self.refused += len(letters)
        return len(messages)

    def _read(self) -> list[Message]:
        first = self._consumer.poll(IDLE_S)
        if first is None:
            return []
        more = self._consumer.consume(BATCH_SIZE - 1, LINGER_S)
        return [message for message in (first, *more) if not _is_error(message)]

    def _deal_with(self, messages: Sequence[Message]) -> list[DeadLetter]:
        """Everything that can be taken is committed afterwards; the rest is returned."""
        letters: list[DeadLetter] = []
        # Messages of one partition stay in their order: topics are told apart, their messages are not shuffled.
        in_topics = sorted(messages, key=lambda message: message.topic())
        for topic, of_topic in groupby(in_topics, key=lambda message: message.topic()):
            letters.extend(self._take_topic(KINDS[topic], list(of_topic)))
        return letters

    def _take_topic(self, kind: str, messages: Sequence[Message]) -> Iterator[DeadLetter]:
        readable: list[tuple[Message, Any]] = []
        for message in messages:
            try:
                readable.append((message, _decoded(message)))
            except JsonBodyError as error:
                yield DeadLetter(message, UNPARSABLE, [FieldError(error.path, error.message)])
        if readable:
            yield from self._take_all(kind, readable)

    def _take_all(self, kind: str, readable: Sequence[tuple[Message, Any]]) -> Iterator[DeadLetter]:
        try:
            refused = self._take(kind, [document for _, document in readable])
        except AWAY:
            raise
        except Exception as error:
            if len(readable) == 1:
                message = readable[0][0]
                log.exception("message_failed", topic=message.topic(), offset=message.offset())
                yield DeadLetter(message, FAILED, [FieldError("$", type(error).__name__)])
                return
            # One of them does it: each by itself, so that it does not sink the others.
            for each in readable:
                yield from self._take_all(kind, [each])
            return
        for index, errors in refused:
            yield DeadLetter(readable[index][0], INVALID, errors)

    def _commit(self, messages: Sequence[Message]) -> None:
        try:
            self._consumer.commit(offsets=_positions(messages, last=True), asynchronous=False)
        except KafkaException as error:
            # The partition moved, or the broker is away: the messages come again, as replays.
            log.warning("offsets_not_committed", reason=str(error))

    def _come_again(self, messages: Sequence[Message], error: Exception) -> None:
        """Go back to before the batch and wait, still a member of the group."""
        log.warning("stream_paused", seconds=self._pause_s, reason=str(error).strip()[:300])
        self._rewind(messages)
        assigned = self._consumer.assignment()
        self._consumer.pause(assigned)
        until = time.monotonic() + self._pause_s
        while time.monotonic() < until and not self._is_stopping:
            message = self._consumer.poll(POLL_S)
            if message is not None and not _is_error(message):
                # Of a partition that was assigned meanwhile.
                self._rewind([message])
                self._consumer.pause([TopicPartition(message.topic(), message.partition())])
        self._consumer.resume(self._consumer.assignment())
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def _rewind(self, messages: Sequence[Message]) -> None:
        for position in _positions(messages, last=False):
            try:
                self._consumer.seek(position)
            except KafkaException as error:
                # Not ours any more: its new owner begins at the committed offset, which is before this batch.
                log.info("partition_not_rewound", topic=position.topic, reason=str(error))


def _positions(messages: Sequence[Message], *, last: bool) -> list[TopicPartition]:
    """By partition, the offset behind the last message, or that of the first."""
    found: dict[tuple[str, int], int] = {}
    for message in messages:
        place = message.topic(), message.partition()
        if last:
            found[place] = message.offset() + 1
        else:
            found.setdefault(place, message.offset())
    return [TopicPartition(topic, partition, offset) for (topic, partition), offset in found.items()]


def _decoded(message: Message) -> Any:
    value = message.value()
    if value is None:
        raise JsonBodyError("$", "has no value")
    if len(value) > MAX_MESSAGE_BYTES:
        raise JsonBodyError("$", f"is larger than {MAX_MESSAGE_BYTES} bytes")
    return decode(value)


def _is_error(message: Any) -> bool:
    error = message.error()
    if error is None:
        return False
    if error.code() != KafkaError._PARTITION_EOF:
        log.warning("kafka_error", reason=str(error))
    return True
