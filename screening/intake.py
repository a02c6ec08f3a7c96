"""Many transactions in at once, from files and streams: stored, known, or in conflict; then screened in their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ingestion.payloads import ParsedTransaction
from ingestion.retired.selectors import payload_digests
from screening.services import pending_store

TAKEN = "is taken by a transaction with another payload"


@dataclass(frozen=True, slots=True)
class Intake:
    """`accepted`: primary keys by transaction id of those that are new, in the order given. `conflicts`: positions of
    those whose id is taken by another payload. The rest are replays."""

    accepted: dict[str, int]
    conflicts: list[int]
    replayed: int


def intake_store(parsed: Sequence[ParsedTransaction]) -> Intake:
    """Store what is new, without a decision. Safe to repeat: what was stored before is a replay."""
    if not parsed:
        return Intake({}, [], 0)
    first: dict[str, ParsedTransaction] = {}
    for each in parsed:
        first.setdefault(each.transaction_id, each)
    stored = pending_store(list(first.values()))
    digests = payload_digests([name for name in first if name not in stored])
    digests |= {name: first[name].digest for name in stored}
    conflicts = [i for i, each in enumerate(parsed) if digests[each.transaction_id] != each.digest]
    accepted = {name: stored[name] for name in first if name in stored}
    return Intake(accepted, conflicts, len(parsed) - len(accepted) - len(conflicts))
