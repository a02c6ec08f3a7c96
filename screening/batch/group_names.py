"""The names of groups in an aggregate's `result`, which as JSON has only text for keys."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from rules.core.values import number_text

EVERYTHING = "all"


def group_names(groups: Sequence[Sequence[Any]]) -> list[str]:
    """A name for each group, no two alike: its values joined by |, what is | in one is \\|; without any, "all".

    Text is quoted where another group has the number, flag or null that it looks like.
    """
    names = [_name(values) for values in groups]
    for _ in range(2):
        # A second time for text that has quotes of its own.
        times = Counter(names)
        names = [
            name if times[name] == 1 else _name(values, quotes_text=True)
            for name, values in zip(names, groups, strict=True)
        ]
    return names


def _name(values: Sequence[Any], *, quotes_text: bool = False) -> str:
    if not values:
        return EVERYTHING
    texts = [_text(value, quotes=quotes_text) for value in values]
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
