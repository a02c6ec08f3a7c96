"""What was counted and not stored is taken back out of the counters, and put back where it was stored after all."""

from __future__ import annotations

import structlog
from django.db import InterfaceError, OperationalError, connection

from fraudsite.postgresql.deadlines import NoAnswer
from ingestion.models import Transaction
from rules.core.durations import to_us
from screening.counting import fence, store
from screening.deciding import Candidate
from screening.engine import Engine
from screening.velocity.errors import StoreUnavailable
from screening.velocity.filling import groups_locked
from screening.velocity.reading import Counting, counting_of

log = structlog.get_logger(__name__)


def take_back(engine: Engine, epoch: int, candidate: Candidate) -> bool:
    """Take a count back out of every counter. False when Redis does not answer or has begun another epoch:
    reconciliation does it later, or the epoch took the count with it.

    Another attempt may have gone on with the count and stored it meanwhile: it stays then. Whoever stores what they
    only went on with puts it back likewise (`realtime._settle`), so that one of the two sees what the other did."""
    arrival = candidate.arrival
    if arrival is None:
        return True
    counting = _counting_again(engine, candidate)
    try:
        store.uncount(
            epoch=epoch,
            wires=counting.request.wires,
            occurred_us=to_us(candidate.event["occurred_at"]),
            arrival=arrival,
            event_id=counting.request.event_id,
            index_tag=counting.request.index_tag,
        )
    except StoreUnavailable as error:
        log.warning(
            "count_not_taken_back", transaction_id=candidate.fields["transaction_id"], reason=str(error)
        )
        return False
    try:
        stored = stored_row(candidate)
    except (OperationalError, InterfaceError):
        stored = None
    if stored is not None and stored.arrival == arrival:
        put_back(engine, epoch, candidate, arrival)
    candidate.arrival = None
    return True


def put_back(engine: Engine, epoch: int, candidate: Candidate, arrival: int) -> None:
    """Have what is stored with this arrival in the counters, where it may have been taken out."""
    wires = _counting_again(engine, candidate).request.wires
    occurred_us = to_us(candidate.event["occurred_at"])
    try:
        # Whoever fills one of these counters has read the database before or after it was stored.
        with groups_locked([wire.tag for wire in wires]):
            store.correct(epoch=epoch, wires=wires, occurred_us=occurred_us, arrival=arrival)
    except StoreUnavailable as error:
        fence.lost(epoch, reason=str(error))


def _counting_again(engine: Engine, candidate: Candidate) -> Counting:
    occurred_us = to_us(candidate.event["occurred_at"])
    return counting_of(engine.plan, "transaction", candidate.event, occurred_us=occurred_us, recall=b"")


def may_be_stored(candidate: Candidate, error: Exception) -> bool:
    """Whether the statement that failed with `error` could have committed all the same, or will."""
    if not isinstance(error, OperationalError | InterfaceError) or "connection to server" in str(error):
        return False
    if isinstance(error.__cause__, NoAnswer):
        # It may be carried out when PostgreSQL goes on: what is not stored now may be stored in a moment.
        return True
    try:
        connection.close_if_unusable_or_obsolete()
        stored = stored_row(candidate)
        return stored is not None and stored.arrival == candidate.arrival
    except (OperationalError, InterfaceError):
        return True


def stored_row(candidate: Candidate) -> Transaction | None:
    """What is stored under this id. With the candidate's arrival it is the one that was counted."""
    found = Transaction.objects.filter(transaction_id=candidate.fields["transaction_id"])
    return found.only("arrival", "payload_digest", "status", "metadata").first()
