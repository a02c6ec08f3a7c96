"""Who looked at whose records: each time staff open a person's page, look for one, or take payments away as a file.

The audit trail says what was changed; this says what was only read. Lists without a search are not noted, nor what
clients read with their keys.
"""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone

from fraudsite.chunks import worked_off
from fraudsite.client_address import client_address
from fraudsite.models import RecordView
from fraudsite.sessions import is_by_person

PURGE_AT_ONCE, PURGE_FOR_S = 5_000, 20.0


def view_note(request: HttpRequest, kind: str, subject: str, *, user_id: str | None = None) -> None:
    """Note that whoever is logged in was shown `subject`; `user_id` is the customer whose it is, where there is one.

    Not where a page renews itself, and not what a form sends: what that changes is in the audit trail.
    """
    if request.method != "GET" or not is_by_person(request):
        return
    RecordView.objects.create(
        viewed_by=request.user.get_username(),
        kind=kind,
        subject=subject[: RecordView.SUBJECT_LENGTH],
        user_id=user_id,
        address=client_address(request) or None,
    )


def views_purge() -> int:
    """Forget what was viewed longer ago than `RECORD_VIEW_RETENTION_DAYS`; returns how many there were."""
    before = timezone.now() - timedelta(days=settings.RECORD_VIEW_RETENTION_DAYS)

    def step() -> int:
        old = RecordView.objects.filter(viewed_at__lt=before).values("pk")[:PURGE_AT_ONCE]
        return RecordView.objects.filter(pk__in=list(old.values_list("pk", flat=True))).delete()[0]

    return worked_off(step, for_s=PURGE_FOR_S)
