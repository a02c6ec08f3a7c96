"""What a client asked for under a key of its own, and was answered: asked again, it is told that and nothing is done.

Payments and events need none of it: they have ids. This is for what each request makes anew, such as a case's note.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from fraudsite.chunks import worked_off
from fraudsite.errors import Unprocessable
from fraudsite.models import AnsweredRequest

KEPT = timedelta(hours=24)
PURGE_AT_ONCE = 5_000
PURGE_FOR_S = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` is JSON."""

    status: int
    body: str


def answered_once(
    make: Callable[[], Answer], *, principal: str, key: str, digest: bytes
) -> tuple[Answer, bool]:
    """What `make` answers, or answered before under the principal's key; and whether it was before. What it does and
    that it was done are one commit, and a second request waits for the first. What raises is not remembered.

    Raises Unprocessable where the key was used for another request (another `digest`).
    """
    with transaction.atomic():
        # Whoever comes second waits here until the first has committed, or was rolled back.
        kept, is_first = AnsweredRequest.objects.get_or_create(
            principal=principal, key=key, defaults={"digest": digest}
        )
        if not is_first:
            if bytes(kept.digest) != digest:
                raise Unprocessable("This Idempotency-Key was used for another request.")
            return Answer(kept.status, kept.body), True
        answer = make()
        kept.status, kept.body = answer.status, answer.body
        kept.save(update_fields=["status", "body"])
        return answer, False


def answers_purge() -> int:
    """Forget what was answered longer ago than `KEPT`; returns how many there were."""
    before = timezone.now() - KEPT

    def step() -> int:
        old = AnsweredRequest.objects.filter(answered_at__lt=before).values("pk")[:PURGE_AT_ONCE]
        return AnsweredRequest.objects.filter(pk__in=list(old.values_list("pk", flat=True))).delete()[0]

    return worked_off(step, for_s=PURGE_FOR_S)
