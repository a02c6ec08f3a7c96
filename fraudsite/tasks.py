"""What beat has done for the shared base."""

from celery import shared_task

from fraudsite import idempotency, record_views, sessions


@shared_task(name="fraudsite.sessions_purge")
def sessions_purge() -> None:
    sessions.sessions_purge()


@shared_task(name="fraudsite.answers_purge")
def answers_purge() -> None:
    idempotency.answers_purge()


@shared_task(name="fraudsite.record_views_purge")
def record_views_purge() -> None:
    record_views.views_purge()
