"""Every entry of the rule pack on its own examples, in columns: what must hit hits, what must not does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingestion.models import AlertEvent, CardEvent, Label, LoginEvent, Transaction
from rules.core.compile import CompiledRuleset, compile_rule
from rules.core.lists import NO_LISTS
from rules.core.parse import parse_rule
from rules.pack import Example, PackEntry, pack_entries
from screening.batch.columns.engine import ColumnRun
from screening.batch.columns.scope import Scope
from screening.batch.columns.stage import Memory
from tests.reference.contract import EventArrival
from tests.screening.batch.everything import outcomes_of_everything
from tests.screening.batch.loading import history_store

LOOKED_UP = ("customer.", "account.age", "label.", "in_list")


def concerns_batch(entry: PackEntry) -> bool:
    """Entries whose examples are made of stored events alone, and screen a transaction."""
    text = str(entry.document)
    return "transaction" in entry.document.get("trigger", ["transaction"]) and not any(
        name in text for name in LOOKED_UP
    )


def status_of_last(entry: PackEntry, example: Example, directory: Path) -> str:
    for model in (LoginEvent, CardEvent, AlertEvent, Label, Transaction):
        model.objects.all().delete()
    events = [EventArrival(each.event, each.fields, each.fields["occurred_at"]) for each in example]
    history_store(events)
    ruleset = CompiledRuleset([compile_rule(parse_rule(dict(entry.document)).rule, rule_id=1)])
    with ColumnRun(ruleset, NO_LISTS, Scope(), Memory(directory)) as run:
        run.prepare()
        run.compute()
        assert not run.numbers.failed
        for transaction_id, verdict, _, outcomes in outcomes_of_everything(run):
            if transaction_id == events[-1].event_id:
                assert verdict.statuses in (None, outcomes[0].status[0])
                return outcomes[0].status
    raise AssertionError("the last event was not screened")


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_every_entry_hits_and_misses_as_its_examples_say(tmp_path: Path) -> None:
    entries = [entry for entry in pack_entries() if concerns_batch(entry)]
    assert len(entries) > 30
    wrong = []
    for entry in entries:
        if status_of_last(entry, entry.hits, tmp_path) != "flagged":
            wrong.append(f"{entry.key}: should hit")
        if status_of_last(entry, entry.misses, tmp_path) == "flagged":
            wrong.append(f"{entry.key}: should not hit")
    assert wrong == []
