"""Screening of events by workers: long lists, and what was left behind."""

from celery import shared_task

from ingestion.events.payloads import KINDS
from screening.enqueueing import EVENTS_SCREEN
from screening.events_api import services


@shared_task(name=EVENTS_SCREEN)
def events_screen(kind: str, ids: list[str]) -> int:
    return services.ids_screen(kind=KINDS[kind], ids=ids)


@shared_task(name="screening.events_sweep")
def events_sweep() -> int:
    return services.events_sweep()
