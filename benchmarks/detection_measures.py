"""What a run of the simulation is judged by: recall by scenario, alerts on honest payments, a confusion matrix."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta

from benchmarks.detection_replay import Screened
from benchmarks.detection_risk import AccountRisks
from ingestion.simulator import Instance
from ingestion.simulator.events import EventLabel, to_us
from ingestion.simulator.oracle import SCENARIO_SIGNALS

# An alert of the same rule about the same account (else user) within this time is a repeat in one case.
REPEAT_WITHIN = timedelta(hours=24)
# An alert this long after a fraud's last event is still about it.
GRACE_US = 10 * 60 * 1_000_000


@dataclass
class Confusion:
    """Of one rule on one kind of event: flagged ones that were part of a fraud, and flagged ones that were not."""

    true_positives: int = 0
    false_positives: int = 0


@dataclass
class Measures:
    events: Counter[str] = field(default_factory=Counter)
    fraud_events: Counter[str] = field(default_factory=Counter)
    # Own alerts are judged events too: (kind, whether part of a fraud).
    judged: Counter[tuple[str, bool]] = field(default_factory=Counter)
    by_rule: defaultdict[tuple[str, str], Confusion] = field(default_factory=lambda: defaultdict(Confusion))
    alerts_raised: int = 0
    alerts_on_honest: int = 0
    work_on_honest: int = 0
    risks: AccountRisks = field(default_factory=AccountRisks)
    signals: defaultdict[str, list[tuple[str, int]]] = field(default_factory=lambda: defaultdict(list))
    _last_alert: dict[tuple[str, str], object] = field(default_factory=dict)

    def take(self, caused: list[Screened], label: EventLabel | None) -> None:
        """What one submitted event caused: itself first, then the alert events it raised."""
        is_fraud = label is not None and label.is_fraud
        self.events[caused[0].kind] += 1
        self.fraud_events[caused[0].kind] += is_fraud
        for screened in caused:
            self._take_one(screened, is_fraud)

    def _take_one(self, screened: Screened, is_fraud: bool) -> None:
        self.risks.take(screened)
        self.judged[screened.kind, is_fraud] += 1
        for name in screened.hits:
            confusion = self.by_rule[name, screened.kind]
            confusion.true_positives += is_fraud
            confusion.false_positives += not is_fraud
        event = screened.event
        at_us = to_us(event["occurred_at"])
        for alert in screened.alerts:
            self.alerts_raised += 1
            if alert.signal:
                self.signals[alert.signal].append((event["user_id"], at_us))
            about = event.get("account_id") or event["user_id"]
            before = self._last_alert.get((alert.rule, about))
            is_repeat = before is not None and event["occurred_at"] - before < REPEAT_WITHIN
            self._last_alert[alert.rule, about] = event["occurred_at"]
            if not is_fraud:
                self.alerts_on_honest += 1
                self.work_on_honest += not is_repeat

    def recall(self, instances: Iterable[Instance], *, until_us: int) -> dict[str, tuple[int, int]]:
        """By scenario (instances that raised every signal of theirs, instances that ended before `until_us`)."""
        found: dict[str, tuple[int, int]] = {}
        for instance in instances:
            if instance.ended_us >= until_us:
                continue
            raised = all(self._is_raised(signal, instance) for signal in SCENARIO_SIGNALS[instance.scenario])
            hits, total = found.get(instance.scenario, (0, 0))
            found[instance.scenario] = (hits + raised, total + 1)
        return found

    def _is_raised(self, signal: str, instance: Instance) -> bool:
        return any(
            user_id in instance.user_ids and instance.started_us <= at_us <= instance.ended_us + GRACE_US
            for user_id, at_us in self.signals[signal]
        )
