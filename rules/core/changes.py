"""What changed between two wordings of a rule, in words: one line per difference."""

from __future__ import annotations

from collections.abc import Sequence

from rules.core.durations import duration_text, duration_words
from rules.core.model import Action, Aggregate, All, Any, Comparison, Condition, Not, Rule
from rules.core.operators import OPERATORS
from rules.core.wording import (
    describe_action,
    describe_condition,
    filter_words,
    group_label,
    number_words,
    operand_words,
    visible_group,
    window_text,
)


def describe_change(old: Rule, new: Rule) -> list[str]:
    """The differences from `old` to `new`, in the order of the document; empty when they mean the same."""
    lines = [*_attribute_changes(old, new)]
    event = new.trigger[0]
    lines += _condition_changes(old.condition.conditions, new.condition.conditions, event, "condition")
    lines += _action_changes(old.actions, new.actions)
    return lines


def _attribute_changes(old: Rule, new: Rule) -> list[str]:
    lines = []
    for name, label in (("name", "name"), ("description", "description"), ("rule_type", "type")):
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            lines.append(f'{label}: "{before}" became "{after}"')
    if old.trigger != new.trigger:
        lines.append(
            f"evaluated on {' and '.join(new.trigger)} events instead of {' and '.join(old.trigger)} events"
        )
    if old.priority != new.priority:
        lines.append(f"priority: {old.priority} became {new.priority}")
    if old.is_active != new.is_active:
        lines.append("switched on" if new.is_active else "switched off")
    if old.created_by != new.created_by:
        lines.append(f"created by: {old.created_by or 'nobody'} became {new.created_by or 'nobody'}")
    return lines


def _condition_changes(
    old: Sequence[Condition], new: Sequence[Condition], event: str, place: str
) -> list[str]:
    """Equal conditions are paired off wherever they stand; of the rest, those at one place are compared."""
    gone, come = list(enumerate(old)), []
    for index, condition in enumerate(new):
        match = next((each for each in gone if each[1] == condition), None)
        if match is None:
            come.append((index, condition))
        else:
            gone.remove(match)
    lines = []
    for (was_at, before), (index, after) in zip(gone, come, strict=False):
        del was_at
        lines += _one_condition_change(before, after, event, f"{place} {index + 1}")
    for was_at, before in gone[len(come) :]:
        lines.append(f"{place} {was_at + 1} removed: {describe_condition(before, event=event)}")
    for index, after in come[len(gone) :]:
        lines.append(f"{place} {index + 1} added: {describe_condition(after, event=event)}")
    return lines


def _one_condition_change(old: Condition, new: Condition, event: str, place: str) -> list[str]:
    match old, new:
        case (All(before), All(after)) | (Any(before), Any(after)):
            return _condition_changes(before, after, event, f"{place}, part")
        case Not(before), Not(after):
            return _one_condition_change(before, after, event, f"{place}, negated")
        case Comparison(), Comparison():
            lines = _comparison_changes(old, new, event)
            if lines is not None:
                return [f"{place}: {line}" for line in lines]
    return [
        f"{place}: {describe_condition(old, event=event)}; became: {describe_condition(new, event=event)}"
    ]


def _comparison_changes(old: Comparison, new: Comparison, event: str) -> list[str] | None:
    """The parts that differ, where the two compare the same kind of thing; None where they do not."""
    lines: list[str] = []
    if isinstance(old.left, Aggregate) and isinstance(new.left, Aggregate):
        if (old.left.function, old.left.event) != (new.left.function, new.left.event):
            return None
        lines += _aggregate_changes(old.left, new.left)
    elif old.left != new.left:
        return None
    if old.operator != new.operator:
        lines.append(f'"{OPERATORS[old.operator].phrase}" became "{OPERATORS[new.operator].phrase}"')
    if (old.right, old.similarity) != (new.right, new.similarity):
        lines.append(f"{operand_words(old, event)} became {operand_words(new, event)}")
    return lines


def _aggregate_changes(old: Aggregate, new: Aggregate) -> list[str]:
    lines = []
    if old.field != new.field or old.of != new.of:
        lines.append(f"measured: {_measured(old)} became {_measured(new)}")
    if (old.window_us, old.last) != (new.window_us, new.last):
        lines.append(f"window: {_extent(old)} became {_extent(new)}")
    if old.bucket_us != new.bucket_us:
        lines.append(f"bucket: {_duration(old.bucket_us)} became {_duration(new.bucket_us)}")
    if old.delay_us != new.delay_us:
        lines.append(f"delay: {_duration(old.delay_us)} became {_duration(new.delay_us)}")
    if visible_group(old) != visible_group(new):
        lines.append(f"grouped by {_group(old)} became grouped by {_group(new)}")
    if old.filters != new.filters:
        lines.append(f"counted: {_counted(old)} became {_counted(new)}")
    if old.exclude_current != new.exclude_current:
        lines.append("the current one is excluded" if new.exclude_current else "the current one is included")
    return lines


def _measured(aggregate: Aggregate) -> str:
    field = aggregate.written_field or aggregate.field or "events"
    return f"{aggregate.of} of {field}" if aggregate.of else field


def _extent(aggregate: Aggregate) -> str:
    if aggregate.last is not None:
        return f"the last {aggregate.last}"
    return "all history" if aggregate.window_us is None else duration_words(window_text(aggregate))


def _duration(duration_us: int | None) -> str:
    return duration_words(duration_text(duration_us)) if duration_us else "none"


def _group(aggregate: Aggregate) -> str:
    return ", ".join(group_label(key) for key in visible_group(aggregate))


def _counted(aggregate: Aggregate) -> str:
    return filter_words(aggregate, "").strip() or "all of them"


def _action_changes(old: Sequence[Action], new: Sequence[Action]) -> list[str]:
    lines = []
    for index in range(max(len(old), len(new))):
        place = f"action {index + 1}"
        if index >= len(old):
            lines.append(f"{place} added: {describe_action(new[index])}")
        elif index >= len(new):
            lines.append(f"{place} removed: {describe_action(old[index])}")
        elif old[index] != new[index]:
            lines += [f"{place}: {line}" for line in _one_action_change(old[index], new[index])]
    return lines


def _one_action_change(old: Action, new: Action) -> list[str]:
    if old.action_type != new.action_type:
        return [f"{describe_action(old)}; became: {describe_action(new)}"]
    lines = []
    if old.risk_score != new.risk_score:
        lines.append(f"risk score {number_words(old.risk_score)} became {number_words(new.risk_score)}")
    for name in ("reason", "severity", "signal"):
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            lines.append(f'{name} "{before or ""}" became "{after or ""}"')
    if old.weight != new.weight:
        words = [number_words(each) if each is not None else "none" for each in (old.weight, new.weight)]
        lines.append(f"weight {words[0]} became {words[1]}")
    if old.horizon_us != new.horizon_us:
        lines.append(f"horizon {_duration(old.horizon_us)} became {_duration(new.horizon_us)}")
    return lines
