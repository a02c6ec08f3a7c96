"""Messages that cannot be taken go to `fraud_dlq`, with the reason and where they came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from fraudsite.errors import FieldError, errors_body
from fraudsite.exact_json import to_json
from ingestion.card_numbers import card_numbers_remove
from ingestion.kafka.topics import DEAD_LETTERS

UNPARSABLE, INVALID, FAILED = "unparsable", "invalid", "failed"
MAX_PAYLOAD = 64 * 1024
FLUSH_S = 15.0
CARD_REMOVED = "[card number removed]"


class Message(Protocol):
    """What is used of confluent_kafka.Message."""

    def topic(self) -> str: ...
    def partition(self) -> int: ...
    def offset(self) -> int: ...
    def key(self) -> Any: ...
    def value(self) -> Any: ...
    def timestamp(self) -> tuple[int, int]: ...


class DeadLettersNotWritten(Exception):
    """The broker did not confirm them: the messages must come again."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """`reason`: unparsable (no JSON), invalid (not what the topic carries), failed (a fault of ours)."""

    message: Message
    reason: str
    errors: list[FieldError] = field(default_factory=list)

    def value(self) -> bytes:
        message = self.message
        kind, timestamp_ms = message.timestamp()
        return to_json(
            {
                "reason": self.reason,
                "errors": errors_body(self.errors),
                "topic": message.topic(),
                "partition": message.partition(),
                "offset": message.offset(),
                "timestamp_ms": timestamp_ms if kind else None,
                "key": readable(message.key()),
                "payload": readable(message.value()),
            }
        )

    def headers(self) -> list[tuple[str, bytes]]:
        message = self.message
        facts = {
            "reason": self.reason,
            "topic": message.topic(),
            "partition": message.partition(),
            "offset": message.offset(),
        }
        return [(name, str(value).encode()) for name, value in facts.items()]


def readable(raw: bytes | None) -> str | None:
    """The bytes as text, what is no UTF-8 marked, full card numbers removed: they are stored nowhere."""
    if raw is None:
        return None
    return card_numbers_remove(raw[:MAX_PAYLOAD].decode("utf-8", "replace"), CARD_REMOVED)


class DeadLetterBox:
    """Writes letters and waits until the broker has them."""

    def __init__(self, producer: Any, *, topic: str = DEAD_LETTERS) -> None:
        self._producer = producer
        self._topic = topic

    def put(self, letters: list[DeadLetter]) -> None:
        """Raises DeadLettersNotWritten unless all of them are confirmed."""
        if not letters:
            return
        failures: list[str] = []

        def delivered(error: Any, _message: Any) -> None:
            if error is not None:
                failures.append(str(error))

        try:
            for letter in letters:
                # Letters of one partition share a key, so that they stay in its order.
                self._producer.produce(
                    self._topic,
                    key=f"{letter.message.topic()}/{letter.message.partition()}",
                    value=letter.value(),
                    headers=letter.headers(),
                    on_delivery=delivered,
                )
            left = self._producer.flush(FLUSH_S)
        except Exception as error:
            # BufferError (too many at once) or KafkaException: none may be taken for written.
            raise DeadLettersNotWritten(str(error)) from error
        if left or failures:
            raise DeadLettersNotWritten(failures[0] if failures else f"{left} not confirmed in time")
