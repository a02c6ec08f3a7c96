"""What counters a rule needs: the features its aggregates read, with an identity stable across processes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

from rules.core.compile import CompiledRuleset, compile_rule
from rules.core.documents import condition_to_document
from rules.core.durations import LIFETIME, duration_text
from rules.core.model import Aggregate, Feature, Rule
from rules.core.windows import reads_every_event
from rules.core.wording import aggregate_label, aggregate_words, group_label


def feature_document(feature: Feature) -> dict[str, Any]:
    """The canonical JSON of a feature: equal features, and only they, have equal documents."""
    return {
        "event": feature.event,
        "group_by": [group_label(key) for key in feature.group_by],
        "field": feature.field,
        "filters": [condition_to_document(condition) for condition in feature.filters],
    }


def feature_id(feature: Feature) -> str:
    """16 hexadecimal digits that name the feature in keys, the same in every process."""
    text = json.dumps(feature_document(feature), sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()[:16]


def features_of(subject: Rule | CompiledRuleset) -> list[dict[str, Any]]:
    """The features of a rule or a ruleset, each once: identity, what is counted, and what is read of it."""
    aggregates = compile_rule(subject).aggregates if isinstance(subject, Rule) else subject.aggregates
    by_feature: dict[Feature, list[Aggregate]] = {}
    for aggregate in aggregates:
        by_feature.setdefault(aggregate.feature, []).append(aggregate)
    return [_described(feature, readers) for feature, readers in by_feature.items()]


def _described(feature: Feature, readers: Iterable[Aggregate]) -> dict[str, Any]:
    return {
        "id": feature_id(feature),
        **feature_document(feature),
        "aggregates": [_reader(aggregate) for aggregate in readers],
    }


def _reader(aggregate: Aggregate) -> dict[str, Any]:
    return {
        "label": aggregate_label(aggregate),
        "text": aggregate_words(aggregate),
        "window": _extent(aggregate),
        "reads_every_event": reads_every_event(aggregate),
    }


def _extent(aggregate: Aggregate) -> str:
    if aggregate.last is not None:
        return f"last {aggregate.last}"
    return LIFETIME if aggregate.window_us is None else duration_text(aggregate.window_us)
