"""What waits in the queues, wherever they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.conf import settings
from django_celery_beat.schedulers import ModelEntry
from redis import Redis

from fraudsite import queueing
from fraudsite.absence import Absence
from fraudsite.celery import app
from fraudsite.environment import broker_url
from fraudsite.queueing import enqueue, queue_depths
from reporting.metrics import platform_metrics

Broker = Callable[[str], None]


@pytest.fixture
def broker_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    """As a process that was started with this CELERY_BROKER_URL."""

    def put(url: str) -> None:
        monkeypatch.setenv("CELERY_BROKER_URL", url)
        monkeypatch.setattr(queueing, "_absence", Absence(5))
        queueing._producers.cache_clear()

    yield put
    queueing._producers.cache_clear()


def test_it_counts_what_waits_at_a_broker_of_its_own(broker_at: Broker, redis_client: Redis) -> None:
    broker_at(broker_url(settings.REDIS_URL, 5))
    assert queue_depths() == {"realtime": 0, "batch": 0, "default": 0}
    for task in ("screening.pending_sweep", "screening.outbox_work", "screening.events_screen"):
        assert enqueue(task)
    assert queue_depths() == {"realtime": 1, "batch": 0, "default": 2}


def test_what_looks_after_batches_does_not_wait_for_one(broker_at: Broker, redis_client: Redis) -> None:
    broker_at(broker_url(settings.REDIS_URL, 5))
    for task in ("screening.batch_sweep", "screening.batch_advance", "screening.backtest_advance"):
        assert enqueue(task)
    assert queue_depths() == {"realtime": 0, "batch": 2, "default": 1}


@pytest.mark.django_db
def test_it_tells_that_its_broker_is_away(broker_at: Broker) -> None:
    assert b"fraudsite_broker_up 1.0" in platform_metrics()
    broker_at(broker_url("unix:///nonexistent/broker.sock", 1))
    assert queue_depths() is None
    assert b"fraudsite_broker_up 0.0" in platform_metrics()


@pytest.mark.django_db
@pytest.mark.parametrize("name", settings.CELERY_BEAT_SCHEDULE)
def test_what_beat_sends_is_thrown_away_when_its_turn_comes_too_late(name: str) -> None:
    """Of a task that takes thirty seconds and is sent every five, a worker would else never come to the end."""
    entry = ModelEntry.from_entry(name, app=app, **settings.CELERY_BEAT_SCHEDULE[name])
    # No sooner than clocks of two machines may differ.
    assert 10 <= entry.options["expires"] <= max(entry.schedule.run_every.total_seconds(), 10)
