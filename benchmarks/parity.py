"""One stream in real time, in batch and by the reference: nothing may differ.

    python -m benchmarks.run --only parity
    python -m fraudsite.dev with -- python -m benchmarks.parity --transactions 200000

A stream with ties, late, repeated and conflicting arrivals and corrections is screened by the workers' own code
(`screening.pending`, micro-batches over Redis). Then a batch `as_of: "arrival"` must tell, in every result the API
shows, the same; and a batch `as_of: "event"` what the independent reference says over the ordered stream.
It fills the database it is given and wants it empty.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fraudsite.settings")
# A line for each of 200,000 decisions would bury the table.
os.environ.setdefault("LOG_LEVEL", "WARNING")
TRANSACTIONS, QUICK = 200_000, 5_000
SHOWN = 5
A_PAGE = 1_000
SHOWN_OF = 20


@dataclass
class Parity:
    """What was compared and what differed. `compared` counts rule results."""

    transactions: int = 0
    repeated: int = 0
    refused: int = 0
    corrections: int = 0
    late: int = 0
    ties: int = 0
    compared: int = 0
    comparisons: int = 0
    hits: int = 0
    differing_arrival: int = 0
    differing_event: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    examples: list[Any] = field(default_factory=list)
    # Names of the rules of which batch and real time said otherwise.
    differing_rules: set[str] = field(default_factory=set)

    def differs(self, example: Any) -> int:
        if len(self.examples) < SHOWN:
            self.examples.append(example)
        return 1


def parity(*, quick: bool = False) -> list[Any]:
    """The benchmark: differences beside a bar of none. Uses the servers that benchmarks.run brought up."""
    from benchmarks.table import Row

    django.setup()
    _prepare()
    found = run(QUICK if quick else TRANSACTIONS)
    report(found)
    return [
        Row(
            f"{name}: different of {found.compared:,} rule results, {found.comparisons:,} comparisons",
            f"{different}",
            "0",
            float(different),
            0,
            "<=",
        )
        for name, different in (
            ("batch as_of arrival beside real time", found.differing_arrival),
            ("batch as_of event beside the reference", found.differing_event),
        )
    ]


def run(transactions: int, *, seed: int = 1, jobs: int = 2) -> Parity:
    """The whole comparison, on a migrated database without rules or transactions."""
    found = Parity()
    with _Timed(found, "real time"):
        _screen_in_real_time(found, transactions, seed)
    with _Timed(found, "batch as_of arrival"):
        then = _batch("arrival")
    with _Timed(found, "comparing with real time"):
        _compare_with_real_time(found, then)
    with _Timed(found, "batch as_of event"):
        now = _batch("event")
    with _Timed(found, "reference"):
        expected = _reference(found, jobs)
    with _Timed(found, "comparing with the reference"):
        _compare_with_reference(found, now, expected)
    return found


class _Timed:
    """Notes and prints how long its block took."""

    def __init__(self, found: Parity, name: str) -> None:
        self.found, self.name = found, name

    def __enter__(self) -> None:
        self.started = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        seconds = self.found.seconds[self.name] = round(time.perf_counter() - self.started, 1)
        print(f"… {self.name}: {seconds} s", file=sys.stderr, flush=True)


def _prepare() -> None:
    from django.core.management import call_command

    from ingestion.models import Transaction
    from rules.models import Rule

    call_command("migrate", verbosity=0)
    if Transaction.objects.exists() or Rule.objects.exists():
        sys.exit("parity: this database is not empty, and it fills the one it is given")


# Real time.


def _screen_in_real_time(found: Parity, transactions: int, seed: int) -> None:
    from benchmarks.parity_stream import documents, rounds
    from ingestion.models import Transaction
    from rules.services import rule_create
    from screening.corrections import transaction_correct

    for document in documents():
        rule_create(document=document, principal="user:parity")
    newest: dict[str, datetime] = {}
    seen: set[tuple[str, datetime]] = set()
    for each in rounds(transactions, seed):
        found.repeated += each.repeated
        found.refused += each.conflicting
        _take(each.arrivals, found, newest, seen)
        for transaction_id, changes in each.corrections:
            transaction_correct(transaction_id=transaction_id, document=changes, principal="user:parity")
            found.corrections += 1
    found.transactions = Transaction.objects.count()
    assert found.transactions == transactions, found
    assert not Transaction.objects.filter(arrival__isnull=True).exists()


def _take(
    arrivals: list[dict[str, Any]],
    found: Parity,
    newest: dict[str, datetime],
    seen: set[tuple[str, datetime]],
) -> None:
    """As the bulk endpoint and a worker do; a queue that delivers twice is part of it."""
    from fraudsite.exact_json import to_json
    from fraudsite.json_body import decode
    from ingestion.payloads import transaction_parse
    from screening.intake import pending_store
    from screening.pending import MAX_BATCH_SIZE as BATCH_SIZE

    for start in range(0, len(arrivals), BATCH_SIZE):
        now = datetime.now(UTC)
        parsed = [
            transaction_parse(decode(to_json(each)), now=now) for each in arrivals[start : start + BATCH_SIZE]
        ]
        accepted = pending_store(parsed)
        _work(list(accepted.values()))
        _work(list(accepted.values())[::10])
        for each in parsed:
            if each.transaction_id in accepted:
                user, at = each.fields["user_id"], each.fields["occurred_at"]
                found.late += at < newest.get(user, at)
                found.ties += (user, at) in seen
                newest[user] = max(at, newest.get(user, at))
                seen.add((user, at))


def _work(pks: list[int], attempts: int = 50) -> None:
    """A worker's task, tried again as the queue does when the decision could not be made in time."""
    from screening.pending import pending_screen
    from screening.rounds import ScreeningBusy

    for attempt in range(1, attempts + 1):
        try:
            pending_screen(pks)
        except ScreeningBusy:
            if attempt == attempts:
                raise
        else:
            return


# Batch.


def _batch(as_of: str) -> Any:
    from screening.batch.running import batch_advance
    from screening.batch.services import batch_create

    batch = batch_create(body={"as_of": as_of}, principal="user:parity")
    while batch_advance(batch.pk):
        pass
    batch.refresh_from_db()
    assert batch.status == "completed", batch.error
    return batch


def _pages(batch: Any) -> Iterator[list[Any]]:
    from screening.batch.models import BatchResult

    rows = BatchResult.objects.filter(batch=batch)
    for start in range(0, batch.processed_transactions, A_PAGE):
        yield list(rows.filter(position__gt=start, position__lte=start + A_PAGE).order_by("position"))


# The two comparisons.


def _compare_with_real_time(found: Parity, batch: Any) -> None:
    """Every result as it is stored, which the API's words follow from; and as the API shows it of one transaction in
    twenty, and wherever something differs."""
    from ingestion.models import Transaction
    from screening.batch.selectors import outcomes_told, result_bodies
    from screening.decisions import decision_body
    from screening.models import Decision
    from screening.selectors import decision_facts_of, event_fields_of

    for rows in _pages(batch):
        pks = [row.transaction_id for row in rows]
        said = {each.transaction_id: each for each in Decision.objects.filter(transaction_id__in=pks)}
        shown = []
        for row, (_, outcomes) in zip(rows, outcomes_told(batch, rows), strict=True):
            decision = said[row.transaction_id]
            assert not decision.degraded
            found.compared += len(outcomes)
            found.comparisons += sum(len(each.rule.comparisons) for each in outcomes)
            found.hits += row.statuses.count("f")
            if row.position % SHOWN_OF == 0 or _stored(decision) != _told(row, outcomes):
                shown.append(row)
        transactions = Transaction.objects.in_bulk([row.transaction_id for row in shown])
        for row, item in zip(shown, result_bodies(batch, shown), strict=True):
            real = decision_body(
                decision_facts_of(said[row.transaction_id]),
                event_fields_of(transactions[row.transaction_id]),
                replayed=False,
            )
            different = _different_bodies(found, real, item)
            if not different and row.position % SHOWN_OF:
                different = found.differs([_stored(said[row.transaction_id]), "is stored otherwise"])
            found.differing_arrival += different


def _stored(decision: Any) -> list[Any]:
    """A decision of real time: status, outcome, score, and what is kept of every rule."""
    return [
        decision.overall_status,
        decision.outcome,
        Decimal(decision.total_risk_score),
        decision.results["live"],
    ]


def _told(row: Any, outcomes: Any) -> list[Any]:
    """The same of a row of a batch. Its letters must be those of the outcomes that its numbers tell."""
    from fraudsite.exact_json import ExactDecoder
    from screening.decisions import packed as packed_text

    letters = "".join(each.status[0] for each in outcomes)
    packed = ExactDecoder().decode(f"[{','.join(map(packed_text, outcomes))}]")
    return [
        row.overall_status,
        row.outcome,
        Decimal(row.total_risk_score),
        packed if letters == row.statuses else row.statuses,
    ]


def _different_bodies(found: Parity, real: dict[str, Any], item: dict[str, Any]) -> int:
    """How many things differ: a rule's result, or the decision."""
    keys = ("transaction_id", "overall_status", "decision", "total_risk_score")
    different = 0
    if any(real[key] != item[key] for key in keys):
        different += found.differs([[each[key] for key in keys] for each in (real, item)])
    for was, now in zip(real["results"], item["results"], strict=True):
        if _comparable(was) != _comparable(now):
            different += found.differs([_comparable(was), _comparable(now)])
            found.differing_rules.add(was["rule_name"])
    return different


def _comparable(result: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in result.items() if key not in ("id", "screening_type", "created_at")}


def _reference(found: Parity, jobs: int) -> Any:
    """What the reference says of the stream as it is stored now, and the events."""
    from benchmarks.parity_reference import answers, events_of
    from benchmarks.parity_stream import documents
    from ingestion.models import Transaction
    from screening.selectors import event_fields_of

    rows = [
        {**event_fields_of(row), "arrival": row.arrival}
        for row in Transaction.objects.order_by("id").iterator(5_000)
    ]
    return answers(_exact(documents()), events_of(rows), jobs=jobs)


def _exact(node: Any) -> Any:
    """The documents with decimals for floats: the reference knows none."""
    if isinstance(node, dict):
        return {key: _exact(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_exact(each) for each in node]
    return Decimal(str(node)) if isinstance(node, float) else node


def _compare_with_reference(found: Parity, batch: Any, expected: Any) -> None:
    """Outcomes, values, windows and numbers of events of what the batch stored."""
    from benchmarks.parity_stream import documents
    from screening.batch.selectors import outcomes_told
    from tests.reference.contract import ScreenedEvent, differences
    from tests.reference.evaluator import decide

    rules = documents()
    for rows in _pages(batch):
        for row, (event, outcomes) in zip(rows, outcomes_told(batch, rows), strict=True):
            name = event["transaction_id"]
            want = ScreenedEvent(0, name, expected[name], *decide(rules, expected[name]))
            got = ScreenedEvent(
                0,
                name,
                tuple(_rule_result(each) for each in outcomes),
                row.outcome,
                row.overall_status,
                Decimal(row.total_risk_score),
            )
            different = differences([want], [got])
            letters = "".join(each.status[0] for each in outcomes)
            if letters != row.statuses:
                different.append(f"stored {row.statuses}, told {letters}")
            for each in different:
                found.differing_event += found.differs(f"{name}: {each}")


def _rule_result(outcome: Any) -> Any:
    from tests.reference.contract import ComparisonResult, RuleResult

    told = (
        ComparisonResult(each.path, each.actual, each.threshold, each.met, each.events, each.start, each.end)
        for each in outcome.evidence
    )
    return RuleResult(outcome.rule.rule.name, outcome.status, outcome.risk_score, tuple(told))


def report(found: Parity) -> None:
    print(
        f"{found.transactions:,} transactions ({found.ties:,} at the instant of another of their user, "
        f"{found.late:,} late), {found.repeated:,} repeated, {found.refused:,} refused, "
        f"{found.corrections:,} corrections; {found.compared:,} rule results ({found.hits:,} hits), "
        f"{found.comparisons:,} comparisons\n"
        f"as_of arrival beside real time: {found.differing_arrival:,} different\n"
        f"as_of event beside the reference: {found.differing_event:,} different\n"
        f"seconds: {found.seconds}",
        flush=True,
    )
    for example in found.examples:
        print(example, flush=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.parity", description=__doc__)
    parser.add_argument("--transactions", type=int, default=TRANSACTIONS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="processes of the reference")
    given = parser.parse_args(arguments)
    django.setup()
    _prepare()
    found = run(given.transactions, seed=given.seed, jobs=given.jobs)
    report(found)
    return 1 if found.differing_arrival or found.differing_event else 0


if __name__ == "__main__":
    sys.exit(main())
