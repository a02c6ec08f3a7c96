"""The names of groups in an aggregate's `result`, which as JSON has only text for keys."""

from __future__ import annotations

import json
from collections.abc import Container, Sequence
from decimal import Decimal
from typing import Any

from rules.core.values import number_text

EVERYTHING = "all"


def group_names(groups: Sequence[Sequence[Any]]) -> list[str]:
    """A name for each group, no two alike: its values joined by |, what is | in one is \\|; without any, "all".

    Text is quoted where another group, in that place, has the number, flag or null that it looks like, or text with
    quotes of its own.
    """
    quoted: list[set[int]] = [set() for _ in groups]
    while True:
        names = [_name(values, places) for values, places in zip(groups, quoted, strict=True)]
        if not _quote_alike(groups, names, quoted):
            return names


def _quote_alike(groups: Sequence[Sequence[Any]], names: Sequence[str], quoted: list[set[int]]) -> bool:
    """Add to `quoted` the places in which groups of one name differ; whether any was new."""
    called: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        called.setdefault(name, []).append(index)
    is_new = False
    for indexes in called.values():
        if len(indexes) == 1:
            continue
        for place in range(len(groups[indexes[0]])):
            # With the type: True is 1 to Python.
            if len({(type(groups[index][place]), groups[index][place]) for index in indexes}) > 1:
                is_new = is_new or any(place not in quoted[index] for index in indexes)
                for index in indexes:
                    quoted[index].add(place)
    return is_new


def _name(values: Sequence[Any], quoted: Container[int]) -> str:
    if not values:
        return EVERYTHING
    texts = [_text(value, quotes=place in quoted) for place, value in enumerate(values)]
    if len(texts) == 1:
        return texts[0]
    # Else two groups could have one name, and the one would replace the other.
    return "|".join(text.replace("\\", "\\\\").replace("|", "\\|") for text in texts)


def _text(value: Any, *, quotes: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False) if quotes else value
    return number_text(value) if isinstance(value, Decimal) else str(value)
