"""The same simulation through the real pipeline: payload checks, Redis, PostgreSQL, the outbox worker.

Needs a database and Redis of its own, which it fills:
    python -m fraudsite.dev with -- python -m benchmarks.detection --engine stack --seeds 1 --events 10000
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import django
from django.core.management import call_command

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fraudsite.settings")
django.setup()

from benchmarks.detection import START, STREAM_KINDS, Outcome, outcome_of, stream  # noqa: E402
from benchmarks.detection_measures import Measures  # noqa: E402
from benchmarks.detection_replay import ID_FIELDS, Raised, Screened, fields_of  # noqa: E402
from fraudsite.exact_json import to_json  # noqa: E402
from fraudsite.json_body import decode  # noqa: E402
from ingestion.models import AlertEvent  # noqa: E402
from ingestion.simulator import SimulatedEvent, Simulation, SimulatorConfig  # noqa: E402
from screening.events_api.services import events_take  # noqa: E402
from screening.models import Alert, Case, RiskSignal  # noqa: E402
from screening.outbox.worker import outbox_work  # noqa: E402
from screening.services import transaction_submit  # noqa: E402
from tests.databases import trail_may_be_emptied  # noqa: E402

WORK_EVERY = 500
Key = tuple[str, str]


def run_stack(seed: int, fraud_rate: float, events: int) -> Outcome:
    """Empties the database it is given."""
    _prepare()
    started = time.perf_counter()
    config = SimulatorConfig(seed=seed, fraud_rate=fraud_rate)
    simulation = Simulation(config, START)
    for event in simulation.history():
        if event.kind in STREAM_KINDS:
            _submit(event)
    sent: list[SimulatedEvent] = []
    for number, event in enumerate(stream(simulation, events)):
        _submit(event)
        sent.append(event)
        if number % WORK_EVERY == 0:
            outbox_work()
    outbox_work()
    measures = Measures()
    caused = _caused(sent)
    for event in sent:
        measures.take(caused[_key(event)], event.label)
    critical = Case.objects.filter(alerts__kind="risk", alerts__severity="critical").distinct().count()
    print(f"seed {seed}: {Case.objects.count()} cases, {critical} of them for a critical account")
    seconds = time.perf_counter() - started
    return outcome_of(measures, simulation, seed, fraud_rate, until_us=sent[-1].at_us, seconds=seconds)


def _prepare() -> None:
    call_command("migrate", verbosity=0)
    trail_may_be_emptied()
    call_command("flush", verbosity=0, interactive=False)
    call_command("rulepack", "install", verbosity=0)


def _submit(event: SimulatedEvent) -> None:
    document = decode(to_json(event.payload))
    if event.kind == "transaction":
        transaction_submit(document=document)
        return
    result = events_take(kind=event.kind, bodies=[document], principal="system:benchmark")
    if result.rejected:
        raise ValueError(f"{event.kind}: {result.rejected}")


def _key(event: SimulatedEvent) -> Key:
    return event.kind, event.payload[ID_FIELDS[event.kind]]


def _caused(sent: Iterable[SimulatedEvent]) -> dict[Key, list[Screened]]:
    """What each event caused, read back: itself, then the alert events its own alerts became."""
    alerts: defaultdict[Key, list[Alert]] = defaultdict(list)
    for alert in Alert.objects.filter(kind="rule").select_related("rule", "transaction").order_by("id"):
        name = alert.transaction.transaction_id if alert.transaction else str(alert.event_id)
        alerts[alert.event_kind, name].append(alert)
    signals: defaultdict[Key, list[RiskSignal]] = defaultdict(list)
    for signal in RiskSignal.objects.order_by("id"):
        signals[signal.event_kind, signal.event_id].append(signal)
    own = {event.alert_id: event for event in AlertEvent.objects.filter(is_own=True)}
    caused = {}
    for event in sent:
        key = _key(event)
        found = [_screened(key, fields_of(event.payload), alerts[key], signals[key])]
        for alert in alerts[key]:
            if (made := own.get(str(alert.alert_id))) is not None:
                own_key = ("alert", made.alert_id)
                about = {"user_id": made.user_id, "occurred_at": made.occurred_at}
                found.append(_screened(own_key, about, alerts[own_key], signals[own_key]))
        caused[key] = found
    return caused


def _screened(key: Key, event: dict[str, Any], alerts: list[Alert], signals: list[RiskSignal]) -> Screened:
    names = tuple(dict.fromkeys(alert.rule.name for alert in alerts if alert.rule))
    return Screened(
        key[0],
        event,
        names,
        tuple(
            Raised(alert.rule.name if alert.rule else "", alert.signal, alert.severity, None, None)
            for alert in alerts
        ),
        tuple(
            Raised("", each.signal, None, each.weight, each.holds_until - each.raised_at) for each in signals
        ),
    )
