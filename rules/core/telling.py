"""What a decision tells of its comparisons, as JSON text: for the answer, and for storage.

A decision over fifty rules tells of more than a hundred comparisons, and of most of them all but the value, the number
of events and the moment follows from the rule's wording. Those parts are written once, when a ruleset first tells
anything; a payment's answer is then put together from text. `Evidence.as_document` and `evidence_pack` say the same the
long way: they tell what is rare, and the tests hold the one against the other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any

from rules.core.evidence import (
    MAX_JSON_DIGITS,
    encode,
    evidence_pack,
    group_values,
    instant_text,
    presentable,
    value_text,
)
from rules.core.evidence_wording import (
    EventWords,
    Wording,
    field_found_words,
    group_found_words,
    limit_words,
    wording_of,
)
from rules.core.model import Aggregate, Comparison, GroupKey
from rules.core.values import Event, number_text
from rules.core.wording import filter_words, measured_words, number_words, visible_group

if TYPE_CHECKING:
    from rules.core.compile import CompiledRule
    from rules.core.evaluate import Evaluation, Witness

# (the document of a comparison without its path, `{` and `}` left out; its actual value), both JSON.
Document = tuple[str, str]
DocumentTeller = Callable[["Evaluation", "EventTold"], Document]
PackTeller = Callable[["Evaluation"], str]

quoted = encode_basestring


def inside(text: str) -> str:
    """`text` as it stands between the quotes of a JSON string."""
    return quoted(text)[1:-1]


def json_of(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class EventTold:
    """What is told of one event over and over, as JSON text."""

    __slots__ = ("_event", "currency", "fields", "groups", "moment", "windows")

    def __init__(self, event: Event) -> None:
        words = EventWords(event)
        self._event = event
        self.moment = inside(words.moment)
        self.currency = words.currency
        # By (event, visible group): " by user U1".
        self.groups: dict[tuple[str, tuple[GroupKey, ...]], str] = {}
        # By extent: `"window":{"start":…,"end":…,"events":`.
        self.windows: dict[Any, str] = {}
        # By field: (what was found, in words; the value as answered).
        self.fields: dict[str, tuple[str, str]] = {}

    def group(self, aggregate: Aggregate, key: tuple[str, tuple[GroupKey, ...]]) -> str:
        words = inside(group_found_words(aggregate, group_values(aggregate, self._event)))
        self.groups[key] = words
        return words

    def window(self, key: Any, start: datetime | None, end: datetime) -> str:
        begins = "null" if start is None else f'"{instant_text(start)}"'
        text = f'"window":{{"start":{begins},"end":"{instant_text(end)}","events":'
        self.windows[key] = text
        return text

    def field(self, wording: Wording, value: Any) -> tuple[str, str]:
        value = presentable(value)
        words = inside(field_found_words(wording.label, value, wording.unit(self.currency)))
        told = self.fields[wording.name] = (words, text_json(value))
        return told


def text_json(value: Any) -> str:
    """A value as the API answers it."""
    text = value_text(value)
    return "null" if text is None else quoted(text)


class RuleTellers:
    """What one rule tells, compiled when it is first asked. `places` are those of its comparisons in the ruleset."""

    __slots__ = ("_documents", "_labels", "_packs", "_places", "_rule", "_witnesses")

    def __init__(self, rule: CompiledRule, places: Sequence[int], witnesses: Sequence[Witness]) -> None:
        self._rule = rule
        self._places = places
        self._witnesses = witnesses
        self._documents: list[tuple[str, DocumentTeller]] | None = None
        self._packs: list[PackTeller] | None = None
        self._labels: list[tuple[str, int]] = []

    def documents(self, run: Evaluation) -> tuple[str, str]:
        """(`details.conditions`, `aggregated_data`) of the API."""
        tellers, told = self._documents or self._compile_documents(), run.told
        conditions, actuals = [], []
        for path, tell in tellers:
            text, actual = tell(run, told)
            conditions.append(f"{path}{text}}}")
            actuals.append(actual)
        aggregated = [f"{label}:{actuals[at]}" for label, at in self._labels]
        return f"[{','.join(conditions)}]", f"{{{','.join(aggregated)}}}"

    def packed(self, run: Evaluation) -> str:
        """What `evidence_pack` makes of the rule's evidence."""
        tellers = self._packs or self._compile_packs()
        return f"[{','.join([tell(run) for tell in tellers])}]"

    def _compile_documents(self) -> list[tuple[str, DocumentTeller]]:
        self._labels = [(quoted(label), at) for label, at in self._rule.aggregate_labels]
        self._documents = [
            (
                f'{{"path":{quoted(comparison.path)},',
                document_teller(comparison, self._witnesses[place], place),
            )
            for comparison, place in zip(self._rule.comparisons, self._places, strict=True)
        ]
        return self._documents

    def _compile_packs(self) -> list[PackTeller]:
        self._packs = [pack_teller(self._witnesses[place], place) for place in self._places]
        return self._packs


# Documents. The tellers of the two commonest kinds of comparison call nothing that they can do without: a payment's
# answer has a hundred of them.


def document_teller(comparison: Comparison, witness: Witness, place: int) -> DocumentTeller:
    """Tells of `comparison`, as written in one rule; `place` is its truth's."""
    wording = wording_of(comparison)
    seldom = _seldom_teller(wording, witness, place)
    if wording.aggregate is None:
        return _field_teller(wording, witness, place, seldom)
    if witness.is_fixed:
        return _aggregate_teller(wording, wording.aggregate, witness, place, seldom)
    return seldom


def _aggregate_teller(
    wording: Wording, aggregate: Aggregate, witness: Witness, place: int, seldom: DocumentTeller
) -> DocumentTeller:
    """An aggregate against what stands in the rule, known."""
    index, window_key, group_key = witness.index or 0, _window_key(aggregate), _group_key(aggregate)
    shows_currency = wording.shows_currency
    is_count = aggregate.function == "count" and aggregate.of is None
    is_distinct = aggregate.function == "distinct_count"
    templates: dict[str, _Template] = {}

    def tell(run: Evaluation, told: EventTold) -> Document:
        truth, result = run.truths[place], run.results[index]
        if (truth is not True and truth is not False) or result.value.__class__ is not Decimal:
            return seldom(run, told)
        value, events = result.value, result.events
        currency = told.currency if shows_currency else ""
        template = templates.get(currency)
        if template is None:
            template = templates[currency] = _Template(wording, aggregate, witness.fixed, currency)
        by = told.groups.get(group_key) or told.group(aggregate, group_key)
        window = told.windows.get(window_key) or told.window(window_key, result.start, result.end)
        noun = template.one if events == 1 else template.many
        actual = number_text(value)
        if is_count:
            found = f"{events:,} {noun}{by}{template.window}{told.moment}"
        else:
            shown = number_words(value)
            if is_distinct:
                measured = f"{shown}{template.value if shown == '1' else template.values}"
            else:
                measured = f"{template.measure}{shown}{template.unit}"
            found = f"{measured}{events:,} {noun}{by}{template.window}{told.moment}"
        return (
            f'"text":"{found}{template.limit}","actual":"{actual}",{template.threshold}'
            f'"met":{"true" if truth else "false"},{window}{events}}}',
            f'"{actual}"',
        )

    return tell


class _Template:
    """The parts of what is said of an aggregate that follow from its wording and the currency."""

    __slots__ = ("limit", "many", "measure", "one", "threshold", "unit", "value", "values", "window")

    def __init__(self, wording: Wording, aggregate: Aggregate, threshold: Any, currency: str) -> None:
        unit, chosen = wording.unit(currency), filter_words(aggregate, currency)
        measured = measured_words(aggregate)
        self.one, self.many = (inside(f"{noun}{chosen}") for noun in wording.nouns)
        self.window = inside(f" {wording.window}")
        self.value, self.values = (
            inside(f" different {noun} of {measured}, in ") for noun in ("value", "values")
        )
        self.measure = inside(f"{wording.measure} is ")
        self.unit = inside(f"{unit}, of ")
        self.limit = inside(f"; {limit_words(wording.comparison, threshold, unit)}")
        self.threshold = f'"threshold":{text_json(threshold)},'


def _field_teller(wording: Wording, witness: Witness, place: int, seldom: DocumentTeller) -> DocumentTeller:
    """A field against what stands in the rule or what an aggregate came to, known."""
    name, limit, window = wording.name, _limit_teller(wording, witness), _window_teller(witness)

    def tell(run: Evaluation, told: EventTold) -> Document:
        truth = run.truths[place]
        if truth is not True and truth is not False:
            return seldom(run, told)
        known = told.fields.get(name)
        if known is None:
            known = told.field(wording, witness.actual(run.event, run.event, run.results))
        words, actual = known
        limited, wanted = limit(run, told)
        return (
            f'"text":"{words}{limited}","actual":{actual},{wanted}'
            f'"met":{"true" if truth else "false"}{window(run, told)}',
            actual,
        )

    return tell


def _limit_teller(wording: Wording, witness: Witness) -> Callable[[Evaluation, EventTold], tuple[str, str]]:
    """(the end of the sentence, `"threshold":…,`)."""
    comparison, shows_currency = wording.comparison, wording.shows_currency
    known: dict[str, tuple[str, str]] = {}

    def limit_of(threshold: Any, currency: str) -> tuple[str, str]:
        words = limit_words(comparison, threshold, wording.unit(currency))
        return inside(f"; {words}"), f'"threshold":{text_json(threshold)},'

    def fixed(run: Evaluation, told: EventTold) -> tuple[str, str]:
        currency = told.currency if shows_currency else ""
        found = known.get(currency)
        if found is None:
            found = known[currency] = limit_of(witness.fixed, currency)
        return found

    def computed(run: Evaluation, told: EventTold) -> tuple[str, str]:
        threshold = presentable(witness.threshold(run.event, run.event, run.results))
        return limit_of(threshold, told.currency if shows_currency else "")

    return fixed if witness.is_fixed else computed


def _window_teller(witness: Witness) -> Callable[[Evaluation, EventTold], str]:
    """`,"window":{…}` of the aggregate that the evidence shows; nothing where there is none."""
    aggregate, index = witness.window, witness.index
    if aggregate is None or index is None:
        return lambda run, told: ""
    key = _window_key(aggregate)

    def window(run: Evaluation, told: EventTold) -> str:
        result = run.results[index]
        text = told.windows.get(key) or told.window(key, result.start, result.end)
        return f",{text}{result.events}}}"

    return window


def _window_key(aggregate: Aggregate) -> tuple[Any, int]:
    return aggregate.width, aggregate.delay_us


def _group_key(aggregate: Aggregate) -> tuple[str, tuple[GroupKey, ...]]:
    return aggregate.event, visible_group(aggregate)


def _seldom_teller(wording: Wording, witness: Witness, place: int) -> DocumentTeller:
    """What is unknown, and what must be told at length."""
    unjudged, window = inside(wording.unjudged), _window_teller(witness)

    def tell(run: Evaluation, told: EventTold) -> Document:
        truth = run.truths[place]
        if truth is not None:
            document = witness.evidence(run, truth, wording.comparison).as_document()
            del document["path"]
            return json_of(document)[1:-1], json_of(document["actual"])
        actual, threshold = witness.sides(run)
        reason = inside(witness.reason(run, None, actual, threshold) or "unknown")
        shown, wanted = text_json(presentable(actual)), text_json(presentable(threshold))
        return (
            f'"text":"{unjudged}{reason}","actual":{shown},"threshold":{wanted},"met":null{window(run, told)},'
            f'"reason":"{reason}"',
            shown,
        )

    return tell


# Storage.


def pack_teller(witness: Witness, place: int) -> PackTeller:
    """What `evidence_pack` makes of one comparison. Rules that share it share what is stored of it."""
    index, actual, is_fixed = witness.index, witness.actual, witness.is_fixed

    def at_length(run: Evaluation) -> str:
        return json_of(evidence_pack([witness.evidence(run, run.truths[place], witness.comparison)])[0])

    def pack(run: Evaluation) -> str:
        truth = run.truths[place]
        if is_fixed and (truth is True or truth is False):
            value, wanted, reason = actual(run.event, run.event, run.results), "null", "null"
        elif isinstance(truth, bool | None):
            value, threshold = witness.sides(run)
            wanted = "null" if is_fixed else value_packed(threshold)
            reason = (
                "null" if truth is not None else quoted(witness.reason(run, None, value, threshold) or "")
            )
        else:
            return at_length(run)
        events = "null" if index is None else run.results[index].events
        met = "null" if truth is None else "true" if truth else "false"
        return f"[{value_packed(value)},{wanted},{events},{met},{reason}]"

    return at_length if witness.keeps_group else pack


def value_packed(value: Any) -> str:
    """`encode` of a value, as JSON."""
    kind = value.__class__
    if kind is Decimal:
        text = number_text(value)
        return text if len(text) <= MAX_JSON_DIGITS and "." not in text else f'{{"n":"{text}"}}'
    if kind is str:
        return quoted(presentable(value))
    return "null" if value is None else json_of(encode(value))
