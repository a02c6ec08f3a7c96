"""fraudsite.json_body: what is taken, and where what is refused went wrong."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudsite import json_body
from fraudsite.api import parsers
from fraudsite.api.problems import PayloadTooLarge
from fraudsite.json_body import MAX_DEPTH, JsonBodyError, decode


def fault(raw: bytes) -> JsonBodyError:
    with pytest.raises(JsonBodyError) as caught:
        decode(raw)
    return caught.value


def test_it_reads_numbers_exactly() -> None:
    value = decode(b'{"a": 0.1, "b": 100000000000.0001, "c": -7, "d": 1E3, "e": [9007199254740993]}')
    assert value == {
        "a": Decimal("0.1"),
        "b": Decimal("100000000000.0001"),
        "c": Decimal(-7),
        "d": Decimal(1000),
        "e": [Decimal(9007199254740993)],
    }
    assert all(type(each) is Decimal for each in (value["a"], value["c"], value["e"][0]))


def test_it_reads_text_of_any_kind() -> None:
    assert decode('{"é": "\\u00e9\\ud83d\\ude00😀\\n"}'.encode()) == {"é": "é😀😀\n"}


@pytest.mark.parametrize("raw", [b"{}", b"[]", b"null", b"true", b'""', b" 1 "])
def test_it_takes_any_kind_of_value(raw: bytes) -> None:
    assert decode(raw) == json.loads(raw)


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b'{"a": 1, "a": 2}', "a"),
        (b'{"m": {"a": [1, {"b": 1, "b": 1}]}}', "m.a[1].b"),
        (b'{"a": NaN}', "a"),
        (b"[1, -Infinity]", "[1]"),
        (b'{"a": {"b": Infinity}}', "a.b"),
        (b'{"a": 1e999999999}', "a"),
        (b'{"a": [1, 1E-999]}', "a[1]"),
        (b'{"a": ' + b"9" * 200 + b"}", "a"),
        (b'{"a": {"b": "\xff"}}', "a.b"),
        (b'{"a": "\xed\xa0\x80"}', "a"),
        (b'{"a": ["x", "\x00"]}', "a[1]"),
        (b'{"a": ["x", "\\u0000"]}', "a[1]"),
        (b'{"a": "\\ud800"}', "a"),
        (b'{"a\\u0000": 1}', "$"),
        (b'{"a": "x\ny"}', "a"),
        (b'{"a": "\\x"}', "a"),
        (b'{"a": 01}', "a"),
        (b'{"a": .5}', "a"),
        (b'{"a": tru}', "a"),
        (b'{"a": }', "a"),
        (b'{"a" 1}', "a"),
        (b'{"a": 1,}', "$"),
        (b"{'a': 1}", "$"),
        (b"[1,]", "[1]"),
        (b"[1 2]", "[0]"),
        (b"1 2", "$"),
        (b"", "$"),
        (b"{", "$"),
        (b'{"a": [1', "a[0]"),
        (b'{"a": "x', "a"),
        (b"\xef\xbb\xbf{}", "$"),
        (b"\xff", "$"),
        (b"\x00", "$"),
        (b"[" * 100_000, "[0]" * MAX_DEPTH),
        (b'{"a":' * 5_000, ".".join("a" * MAX_DEPTH)),
        (b'{"x": ' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}", "x" + "[0]" * (MAX_DEPTH - 1)),
    ],
)
def test_it_names_where_it_is_wrong(raw: bytes, path: str) -> None:
    assert fault(raw).path == path


def test_it_takes_what_is_just_deep_enough() -> None:
    assert decode(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    fault(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))


def test_it_takes_what_is_wide_and_not_deep() -> None:
    assert len(decode(b"[" + b",".join([b"{}"] * 1000) + b"]")) == 1000


class CountingTokens:
    """The slow reader's token pattern, which says how many characters were read with it."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self.pattern = pattern
        self.characters = 0

    def match(self, text: str, position: int) -> re.Match[str] | None:
        match = self.pattern.match(text, position)
        self.characters += (match.end() if match else len(text)) - position
        return match


@pytest.mark.parametrize(
    ("beginning", "middle", "end"),
    [
        (b"[", b'{"a":1},', b"NaN]"),
        (b"[", b"[],", b"NaN]"),
        (b'{"a": "', b"x" * 8, b"\xff"),
        (b'{"a": ', b" " * 8, b"NaN}"),
        (b'{"a": "', b"\\\\", b""),
    ],
)
def test_it_reads_what_it_refuses_at_most_twice(
    monkeypatch: pytest.MonkeyPatch, beginning: bytes, middle: bytes, end: bytes
) -> None:
    """However long: what names the fault's place goes forward only, and looks one token ahead."""
    tokens = CountingTokens(json_body._TOKEN)
    monkeypatch.setattr(json_body, "_TOKEN", tokens)
    raw = beginning + middle * 20_000 + end

    fault(raw)

    assert 0 < tokens.characters <= 2 * len(raw)


def test_it_refuses_a_body_beyond_the_limit_before_it_is_read_as_json(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoded: list[bytes] = []
    monkeypatch.setattr(parsers, "decode", decoded.append)
    stream = BytesIO(b"[" * (parsers.MAX_BODY_BYTES + 1))

    with pytest.raises(PayloadTooLarge):
        parsers.JsonParser().parse(stream)

    assert decoded == []
    assert stream.read() == b""


scalars = st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.text(max_size=20)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
)


@given(documents)
def test_it_agrees_with_the_standard_library_on_what_is_valid(document: Any) -> None:
    raw = json.dumps(document).encode()
    if "\\u0000" in json.dumps(document):
        return
    assert decode(raw) == json.loads(raw)


@given(documents, st.data())
def test_it_takes_or_refuses_and_never_fails_otherwise(document: Any, data: st.DataObject) -> None:
    raw = bytearray(json.dumps(document).encode())
    for _ in range(3):
        position = data.draw(st.integers(0, len(raw) - 1))
        raw[position] = data.draw(st.integers(0, 255))
    try:
        value, path = decode(raw), "$"
    except JsonBodyError as error:
        value, path = None, error.path
    assert path.encode()
    assert value is None or value == json.loads(bytes(raw))
