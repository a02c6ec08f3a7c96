"""What beat has done for the shared base."""

from celery import shared_task

from fraudsite.sessions import sessions_purge as purge


@shared_task(name="fraudsite.sessions_purge")
def sessions_purge() -> None:
    purge()
