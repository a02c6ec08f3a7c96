"""Who may move a case where, as data."""

from __future__ import annotations

from collections.abc import Mapping

from fraudsite.errors import Conflict
from screening.cases.models import Case

Status = Case.Status

# Closing is only by a disposition (`case_dispose`); a closed case that is opened again loses it.
TRANSITIONS: Mapping[str, frozenset[str]] = {
    Status.OPEN: frozenset({Status.IN_REVIEW, Status.ESCALATED}),
    Status.IN_REVIEW: frozenset({Status.OPEN, Status.ESCALATED}),
    Status.ESCALATED: frozenset({Status.IN_REVIEW}),
    Status.CLOSED: frozenset({Status.IN_REVIEW}),
}
MAY_BE_DISPOSED = frozenset({Status.OPEN, Status.IN_REVIEW, Status.ESCALATED})
# What a case's alerts are while it is in a status.
ALERT_STATUS: Mapping[str, str] = {
    Status.OPEN: "open",
    Status.IN_REVIEW: "in_review",
    Status.ESCALATED: "in_review",
    Status.CLOSED: "closed",
}


def check_transition(current: str, wanted: str) -> None:
    if wanted in TRANSITIONS[current]:
        return
    if wanted == Status.CLOSED:
        raise Conflict("A case is closed by giving its disposition (dispose).")
    if wanted == current:
        raise Conflict(f"The case is {current} already.")
    allowed = ", ".join(sorted(TRANSITIONS[current]))
    raise Conflict(f"A case that is {current} cannot become {wanted}; from here it may become {allowed}.")
