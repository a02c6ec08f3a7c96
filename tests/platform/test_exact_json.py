"""JSON out and in with every digit."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from fraudsite.exact_json import from_json, is_same_json, to_json


def test_it_keeps_every_digit_both_ways() -> None:
    given = {"a": Decimal("80.0"), "b": [Decimal("1E-4"), 3], "c": None}
    assert to_json(given) == b'{"a":80.0,"b":[0.0001,3],"c":null}'
    found = from_json(to_json(given).decode())
    assert str(found["a"]) == "80.0"
    assert found == given


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({1: "x", "y": {2: Decimal("2.50")}}, b'{"1":"x","y":{"2":2.50}}'),
        ({None: 1}, b'{"null":1}'),
        ({"at": datetime(2026, 1, 2, tzinfo=UTC)}, b'{"at":"2026-01-02T00:00:00Z"}'),
        ({"names": {"b", "a"}}, b'{"names":["a","b"]}'),
    ],
)
def test_it_writes_keys_that_are_no_text_and_values_of_ours(given: Any, expected: bytes) -> None:
    assert to_json(given) == expected


def test_it_refuses_what_it_does_not_know() -> None:
    with pytest.raises(TypeError):
        to_json({"a": object()})


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({"a": [1, {"b": None}]}, {"a": [Decimal("1.0"), {"b": None}]}, True),
        ({"a": 1}, {"a": True}, False),
        ([0], [False], False),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ([1, 2], [1], False),
        ("1", 1, False),
        ({}, [], False),
    ],
)
def test_it_tells_values_apart_as_json_does(one: Any, other: Any, expected: bool) -> None:
    assert is_same_json(one, other) is is_same_json(other, one) is expected
