"""The reference of the language, written from the tables the language itself runs on.

`python -m rules.core.reference_docs docs/rule-language.md` rewrites the file; a test holds it current.
"""

# Lines of Markdown tables cannot be wrapped.
# ruff: noqa: E501

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from rules.core import limits
from rules.core.fields import DISTANCE_TO_CURRENT, EVENTS, FIELDS, NOUNS, Field
from rules.core.functions import AGGREGATES, BUCKET_TOTALS, AggregateFunction
from rules.core.operators import OPERATORS, Operator
from rules.core.parse import ACTION_TYPES, PARAMETERS, SEVERITIES

_SHAPES = {
    "scalar": "one value",
    "list": "a list of values",
    "pair": "`[low, high]`",
    "text": "text",
    "pattern": "an RE2 pattern",
    "networks": "a CIDR network, or a list of them",
    "step": "a number > 0",
    "list_name": "a list's name",
    "fuzzy_list": '`{"list": name, "threshold": 0–100}`',
    "similar": '`{"text": …, "threshold": 0–100}`',
    "none": "none",
}
_KINDS = {
    "text": "text",
    "number": "number",
    "money": "money",
    "boolean": "boolean",
    "time": "time",
    "any": "metadata",
}
_ACTIONS = {
    "flag": "at least `review`",
    "block": "`block`",
    "alert": f"at least `review`, and opens an alert (`severity`: {', '.join(SEVERITIES)}; medium unless given)",
    "score": "adds to the score only",
    "allow": "the other hits are recorded and have no effect; the decision names the rule that allowed it",
}
_PARAMETERS = {
    "risk_score": "0–100; of a rule with several actions the largest counts, of a decision the sum, at most 100",
    "reason": "text shown with the hit",
    "severity": "of the alert",
    "signal": "a named pattern; with `weight` the hit raises it on the account's risk",
    "weight": "0–1",
    "horizon": "how long the signal holds from the event's time; 10m unless given",
}

_INTRODUCTION = """\
# The rule language

_Written by `python -m rules.core.reference_docs` from the tables the language runs on; do not edit by hand._

A rule is a JSON document:

| key | type | default | meaning |
|---|---|---|---|
| `name` | text, 1–{name} characters, unique | | |
| `description` | text | `""` | |
| `rule_type` | text, 1–{rule_type} characters | | a label, such as `velocity` |
| `conditions` | list of at least one condition | | all must hold |
| `actions` | list of at least one action | | what a hit does |
| `trigger` | list of {events} | `["transaction"]` | the events it is evaluated on |
| `priority` | whole number | 1 | higher is listed first |
| `is_active` | true or false | true | |
| `created_by` | text or null | null | a label |

A condition is `{{"all": [condition, …]}}`, `{{"any": [condition, …]}}`, `{{"not": condition}}` or a comparison:
`{{"field", "operator", "value"}}` compares a field of the screened event; with `aggregate_function` it compares an
aggregate over earlier events. Keys that are null count as left out; keys that are not known are refused.
Examples: [cookbook.md](cookbook.md).
"""

_VALUES = """\
## Values

- A constant of the field's type. Numbers are exact decimals of at most {decimals} decimals and 10^15; for a number field
  they may be written as text (`"0.1"`). Times are ISO 8601 with an offset. For missing values there are `is_null` and
  `is_not_null`, not `null`.
- `{{"field": F, "times": k, "plus": c}}`: another field of the same event, k × F + c. Both default to no change.
- `{{"aggregate": {{…}}, "times": k, "plus": c}}`: an aggregate, with the same keys as in a comparison.
- In `filters`, `{{"current": F, "times": k, "plus": c}}`: a field of the screened event.
- `between` also takes references for its bounds; it is then stored as `gte` the one and `lte` the other.

Text compares case-sensitively, unless a named list says otherwise. Values of different types are unequal: `eq` is false
and `ne` true. They have no order either: a comparison that asks for one, or for text in what is no text, is unknown.
"""

_AGGREGATES = """\
## Aggregates

| key | meaning |
|---|---|
| `aggregate_function` | one of the table below |
| `field` | what is measured; for `count` it makes no difference, but for `amount` |
| `event` | the events counted: {events}; `transaction` unless given |
| `time_window` | `"<n>s"`, `m`, `h`, `d`, `w` or `"lifetime"`: (t − w, t] for an event at t; at most {days}d |
| `last` | instead of `time_window`: the newest N matching events, N ≤ {last} |
| `group_by` | fields on which the counted events equal the screened one, `["user_id"]` unless given, at most {group}; an item may cross roles: `{{"counterparty_account_id": "account_id"}}` |
| `filters` | conditions that choose what is counted, at most {filters} |
| `exclude_current` | leave the screened event out; over buckets, leave the current bucket out of the baseline |
| `delay` | shift the window back: (t − d − w, t − d] |
| `bucket`, `of` | the function over totals per bucket instead of over events; `of` is {totals}; at most {buckets} buckets |

Either `time_window` or `last` is needed: for all history write `"lifetime"`.
Order is (`occurred_at`, arrival): of events at the same instant those that arrived earlier are in.
An aggregate whose field is `amount`, whatever its function, is over the screened transaction's own currency; across currencies use `base_amount`.
Numbers take part rounded half-even to 10 decimals (money to 4), booleans as 0 and 1; text, and numbers beyond 10^15, as
missing. Different values are told apart exactly, types included.
Buckets slide with the window: the newest is (t − b, t], the one before it (t − 2b, t − b]; empty ones are zeros.
`zscore` compares the screened event's own value, over buckets the newest bucket's total.
Functions marked "reads events" and filters that refer to the screened event, to a named list or to a label read the
events of the window one by one: at most {scanned} of them, beyond which the evaluation fails, visibly.
"""

_UNKNOWN = """\
## Missing facts

A comparison is _unknown_ when a fact it needs is missing: the field, a value of the group, a field of the screened event
that a filter refers to, a rate, a profile, the values of an aggregate (over nothing only `count`, `sum` and
`distinct_count` have one: 0), variance for a z-score, {benford} values for Benford's law. In a filter, unknown is no match.
`all` with a false is false, `any` with a true is true; otherwise unknown wins. A rule that ends unknown is
`not_applicable`, with the reason; one whose evaluation failed is `error`, and the decision at least `review`.
"""

_LIMITS = """\
## Limits

| | at most |
|---|---|
| conditions nested | {depth} deep |
| comparisons in a rule, those of filters included | {comparisons} |
| aggregates in a rule | {aggregates} |
| values of `in` and `not_in` | {values} |
| text | {text} characters |
| pattern | {pattern} characters |
| actions | {actions} |

A rule that breaks a limit, names what does not exist or compares what does not fit is refused with every problem's JSON
path, what was expected, and the nearest valid name. One that always or never hits is saved with a warning,
and so is one that names a text no event has (`channel` `eq` `"ATM"`: channels are lower-case).
"""


def reference() -> str:
    """The whole document."""
    events = ", ".join(f"`{event}`" for event in EVENTS)
    parts = [
        _INTRODUCTION.format(
            name=limits.MAX_NAME_LENGTH, rule_type=limits.MAX_RULE_TYPE_LENGTH, events=events
        ),
        "## Fields\n",
        "The type is what a field's operators and values are checked against. `metadata.<path>` leads into the free JSON\n"
        "sent with a transaction, a list's items by their number; it takes text, numbers and booleans.\n",
        *(_fields_of(event) for event in EVENTS),
        f"In filters also `{DISTANCE_TO_CURRENT.name}`: {DISTANCE_TO_CURRENT.description}.\n",
        "## Operators\n",
        _table(
            ("operator", "for", "value", "holds when", "of aggregates"),
            map(_operator_row, OPERATORS.values()),
        ),
        _VALUES.format(decimals=limits.MAX_DECIMALS),
        _AGGREGATES.format(
            events=events,
            days=limits.MAX_WINDOW_DAYS,
            last=f"{limits.MAX_LAST:,}",
            group=limits.MAX_GROUP_FIELDS,
            filters=limits.MAX_FILTERS,
            buckets=limits.MAX_BUCKETS,
            totals=" or ".join(f"`{name}`" for name in BUCKET_TOTALS),
            scanned=f"{limits.MAX_SCANNED_EVENTS:,}",
        ),
        _table(("function", "of", "is", "over buckets", ""), map(_aggregate_row, AGGREGATES.values())),
        _UNKNOWN.format(benford=limits.MIN_BENFORD_VALUES),
        "## Actions\n",
        '`{"action_type": …, "parameters": {…}}`\n',
        _table(("action", "effect of a hit"), ((f"`{name}`", _ACTIONS[name]) for name in ACTION_TYPES)),
        _table(("parameter", "meaning"), ((f"`{name}`", _PARAMETERS[name]) for name in PARAMETERS)),
        _LIMITS.format(
            depth=limits.MAX_DEPTH,
            comparisons=limits.MAX_COMPARISONS,
            aggregates=limits.MAX_AGGREGATES,
            values=f"{limits.MAX_LIST_VALUES:,}",
            text=f"{limits.MAX_TEXT_LENGTH:,}",
            pattern=limits.MAX_PATTERN_LENGTH,
            actions=limits.MAX_ACTIONS,
        ),
    ]
    return "\n".join(parts)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return (
        "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        + "\n"
    )


def _fields_of(event: str) -> str:
    article = "an" if event[0] in "aeiou" else "a"
    noun = NOUNS[event][0]
    return f"### Of {article} {noun}\n\n" + _table(
        ("field", "type", "meaning"), map(_field_row, FIELDS[event].values())
    )


def _field_row(field: Field) -> tuple[str, str, str]:
    return f"`{field.name}`", _KINDS[field.kind], field.description


def _operator_row(operator: Operator) -> tuple[str, str, str, str, str]:
    kinds = ", ".join(_KINDS[kind] for kind in operator.kinds)
    value = _SHAPES[operator.shape] + (", or a reference" if operator.takes_operand else "")
    return f"`{operator.name}`", kinds, value, operator.description, "yes" if operator.fits_aggregates else ""


def _aggregate_row(function: AggregateFunction) -> tuple[str, str, str, str, str]:
    kinds = ", ".join(_KINDS[kind] for kind in function.kinds) or "–"
    return (
        f"`{function.name}`",
        kinds if function.needs_field else "–",
        function.description,
        "yes" if function.over_buckets else "",
        "reads events" if function.is_scan else "",
    )


def main(arguments: Sequence[str]) -> None:
    if arguments:
        Path(arguments[0]).write_text(reference(), encoding="utf-8")
    else:
        sys.stdout.write(reference())


if __name__ == "__main__":
    main(sys.argv[1:])
