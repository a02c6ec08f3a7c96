"""Counts whose decision never came to be (a process died between the two) are taken back within a minute."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import structlog

from fraudsite.exact_json import from_json, to_json
from fraudsite.locks import FENCE_LOCK, holders_end
from fraudsite.postgresql.clock import database_now_us
from ingestion.models import Transaction
from ingestion.payloads import recall_decode
from ingestion.retired.models import RetiredTransaction
from rules.core.durations import from_us
from rules.selectors import ruleset_current_number
from screening.counting import fence, store
from screening.deciding import Candidate, prepare
from screening.engine import engines
from screening.taking_back import take_back
from screening.velocity.errors import StoreUnavailable

log = structlog.get_logger(__name__)

# Later than storing.MAX_COUNT_AGE_US: by now the statement that could have stored it is refused.
SETTLED_AFTER_S = 20
# What passed the fence before then may be committed later all the same. The task comes again in some seconds.
WAIT_FOR_STORING_S = 5.0
PAGE = 500
# Of the newest that were found stored: an answer that was given before another may be lost and the other one not.
SETTLED_KEPT = 100


def counts_reconcile() -> int:
    """How many counts were taken back. Pending ones (asynchronous) whose worker died are counted anew by the sweep."""
    # As the database has it: this process may have screened nothing since other processes began a new epoch.
    state = fence.refresh()
    if not state.is_redis:
        return 0
    taken = 0
    # By the clock of the statements that could still store them, whatever this machine's says.
    before_us = database_now_us() - SETTLED_AFTER_S * 1_000_000
    if not holders_end(FENCE_LOCK, within_s=WAIT_FOR_STORING_S):
        # Where statements have no limit (an import that screens its own rows), one may store what it counted long ago.
        log.warning("reconciliation_put_off", reason="a decision is being stored for long")
        return 0
    try:
        if _database_went_back():
            fence.lost(state.epoch, reason="the database lacks payments that it had stored")
            return 0
        while page := store.recent(before_us=before_us, limit=PAGE):
            taken += _reconcile_page(state.epoch, page)
            if len(page) < PAGE:
                break
    except StoreUnavailable as error:
        # What is not forgotten is looked at again; a new epoch begins without it.
        log.warning("reconciliation_put_off", reason=str(error))
    return taken


def _reconcile_page(epoch: int, page: Sequence[tuple[bytes, int]]) -> int:
    recalled = [(recall, arrival, recall_decode(recall)) for recall, arrival in page]
    transactions = [each for each in recalled if each[2].get("kind", "transaction") == "transaction"]
    stored = set(
        Transaction.objects.filter(
            transaction_id__in=[fields["transaction_id"] for _, _, fields in transactions]
        ).values_list("transaction_id", "arrival")
    )
    lost = [each for each in transactions if (each[2]["transaction_id"], each[1]) not in stored]
    # Before any is forgotten: what is, nobody would miss.
    settled = [
        [fields["transaction_id"], arrival]
        for _, arrival, fields in transactions
        if (fields["transaction_id"], arrival) in stored
    ]
    if settled:
        store.settled_note(to_json(settled[-SETTLED_KEPT:]))
    for _, arrival, fields in lost:
        if not _take_back(epoch, fields, arrival):
            raise StoreUnavailable("a count could not be taken back")
    store.recent_forget(page)
    return len(lost)


def _database_went_back() -> bool:
    """Whether what was found stored last is so no more: a dump was restored, or a standby took over that had not got
    everything. The counters have what the database lost."""
    noted = store.settled_noted()
    if noted is None:
        return False
    settled = dict(from_json(noted.decode()))
    found = Transaction.objects.filter(transaction_id__in=settled).values_list("transaction_id", "arrival")
    missing = settled.items() - set(found)
    retired = RetiredTransaction.objects.filter(transaction_id__in=[name for name, _ in missing])
    return len(missing) > retired.count()


def _take_back(epoch: int, fields: dict[str, Any], arrival: int) -> bool:
    log.info("count_taken_back", transaction_id=fields["transaction_id"])
    engine = engines.at_least(ruleset_current_number())
    fields.pop("kind", None)
    candidate = Candidate(fields, b"", datetime.now(UTC), arrival=arrival)
    prepare(engine, [candidate])
    event = candidate.event
    event["occurred_at"] = fields["occurred_at"] or from_us(arrival)
    return take_back(engine, epoch, candidate)
