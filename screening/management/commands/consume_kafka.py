"""`manage.py consume_kafka`: transactions and events from Kafka, until SIGTERM."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from functools import partial
from typing import Any

import structlog
from confluent_kafka import KafkaException
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from fraudsite.garbage import collect_seldom
from ingestion.kafka.consumer import StreamConsumer, consumer_new, producer_new
from ingestion.kafka.dead_letters import DeadLetterBox
from ingestion.kafka.topics import TOPICS
from screening.streams import stream_take

log = structlog.get_logger(__name__)


class Command(BaseCommand):
    help = (
        "Store and screen what comes in over Kafka (KAFKA_BROKERS). Any number of processes share the topics."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--topics", nargs="+", choices=TOPICS, default=list(TOPICS))
        parser.add_argument("--group", default=settings.KAFKA_GROUP, help="the consumer group")
        parser.add_argument("--brokers", default="", help="host:port,… (default: KAFKA_BROKERS)")

    def handle(self, *args: Any, **options: Any) -> None:
        brokers = options["brokers"].split(",") if options["brokers"] else settings.KAFKA_BROKERS
        if not brokers:
            raise CommandError("Set KAFKA_BROKERS to host:port,… or give --brokers.")
        try:
            stream = _stream(brokers, options["group"])
        except (KafkaException, TypeError) as error:
            raise CommandError(f"KAFKA_OPTIONS cannot be used: {error}") from error
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: stream.stop())
        collect_seldom()
        log.info("stream_started", topics=options["topics"], group=options["group"])
        stream.run(options["topics"])
        log.info("stream_stopped", taken=stream.taken, refused=stream.refused)


def _stream(brokers: Sequence[str], group: str) -> StreamConsumer:
    extra = settings.KAFKA_OPTIONS
    return StreamConsumer(
        consumer=consumer_new(brokers, group, extra),
        letters=DeadLetterBox(producer_new(brokers, extra)),
        take=partial(stream_take, principal=f"kafka:{group}"),
    )
