"""Screening of events by workers: long lists, and what was left behind."""

from celery import shared_task

from fraudsite.queueing import enqueue
from ingestion.events.payloads import KINDS
from screening.events_api import services


@shared_task(name="screening.events_screen")
def events_screen(kind: str, ids: list[str]) -> int:
    return services.ids_screen(kind=KINDS[kind], ids=ids)


@shared_task(name="screening.events_sweep")
def events_sweep() -> int:
    return services.events_sweep()


def events_enqueue(*, kind: str, ids: list[str]) -> None:
    """Hand events to a worker; while the broker is away they wait for the sweep."""
    for start in range(0, len(ids), services.CHUNK):
        enqueue(events_screen, kind, ids[start : start + services.CHUNK])
