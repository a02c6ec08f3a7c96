"""Which named lists a rule looks up, and where."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

LIST_OPERATORS = frozenset({"in_list", "not_in_list", "fuzzy_in_list"})


def lists_referred(definition: dict[str, Any]) -> list[tuple[str, str]]:
    """(JSON path of the value, list name) for every look-up in a canonical rule document."""
    return list(_walk(definition.get("conditions", []), "conditions"))


def _walk(node: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, list):
        for index, each in enumerate(node):
            yield from _walk(each, f"{path}[{index}]")
    elif isinstance(node, dict):
        if node.get("operator") in LIST_OPERATORS:
            yield from _reference(node.get("value"), f"{path}.value")
        for key, each in node.items():
            yield from _walk(each, f"{path}.{key}")


def _reference(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict) and isinstance(value.get("list"), str):
        yield f"{path}.list", value["list"]
