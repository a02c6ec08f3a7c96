"""Full card numbers in text, which are never taken: not stored, not counted, not logged, not handed on."""

from __future__ import annotations

import re
import unicodedata
from itertools import accumulate, chain

# Full card numbers: 13–19 digits, perhaps in groups. What begins with 1 and has 13 digits is a time in milliseconds
# far more often than a card (no issuer of such numbers exists).
FEWEST_DIGITS, _MOST_DIGITS = 13, 19
# Not the end of a line: columns of numbers are no card.
_BETWEEN = re.compile(r"[ \t\-\u00ad\u200b-\u200d\u2010-\u2015\u2212]")
_DIGIT_GROUPS = re.compile(rf"[0-9](?:{_BETWEEN.pattern}?[0-9]){{12,}}")
# In the groups that are printed on cards, between signs that numbers of other kinds have as well.
_AS_PRINTED = re.compile(
    r"(?<![0-9])(?:[0-9]{4}([._/])[0-9]{4}\1[0-9]{4}\1[0-9]{1,7}|[0-9]{4}([._/])[0-9]{6}\2[0-9]{4,5})(?![0-9])"
)
# Of JSON, but for halves of characters.
_ESCAPE = re.compile(r"\\u(?![dD][89a-fA-F])([0-9a-fA-F]{4})")
_PRINTED_SIGNS = str.maketrans("._/", "   ")
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def contains_card_number(text: str) -> bool:
    """Whether consecutive groups of digits make up a card number, whatever digits stand before and after them.

    Part of one group is none: an id of thirty digits holds a valid number of sixteen more often than not.
    """
    if len(text) < FEWEST_DIGITS:
        return False
    if not text.isascii():
        # Digits and spaces of another width.
        text = unicodedata.normalize("NFKC", text)
    printed = (match[0].translate(_PRINTED_SIGNS) for match in _AS_PRINTED.finditer(text))
    return any(map(_has_card_number, chain(_DIGIT_GROUPS.findall(text), printed)))


def card_numbers_remove(text: str, instead: str) -> str:
    """`text` with `instead` where `contains_card_number` would find one, or where a longer run of digits hides one.

    For what is kept of something that was refused: better a number too many removed than a card kept.
    """
    if "\\u" in text and contains_card_number(unescaped := _ESCAPE.sub(_unescape, text)):
        text = unescaped
    # Character by character, so that places in the one are places in the other.
    plain = text if text.isascii() else "".join(map(_plain, text))
    spans = [match.span() for match in _DIGIT_GROUPS.finditer(plain) if _may_hide_card(match[0])]
    spans += [
        match.span()
        for match in _AS_PRINTED.finditer(plain)
        if _has_card_number(match[0].translate(_PRINTED_SIGNS))
    ]
    kept: list[str] = []
    end = 0
    for start, stop in sorted(spans):
        if start >= end:
            kept += [text[end:start], instead]
        end = max(end, stop)
    found = "".join([*kept, text[end:]])
    return instead if contains_card_number(found) else found


def _plain(character: str) -> str:
    normal = unicodedata.normalize("NFKC", character)
    return normal if len(normal) == 1 else character


def _unescape(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16))


def _may_hide_card(run: str) -> bool:
    digits = _BETWEEN.sub("", run)
    if len(digits) <= _MOST_DIGITS:
        return _has_card_number(run)
    lengths = range(FEWEST_DIGITS, _MOST_DIGITS + 1)
    parts = (digits[at : at + n] for n in lengths for at in range(len(digits) - n + 1))
    return _has_card_number(run) or any(map(_has_card_number, parts))


def _has_card_number(run: str) -> bool:
    groups = _BETWEEN.split(run)
    digits = "".join(groups)
    bounds = list(accumulate(map(len, groups), initial=0))
    ends = set(bounds)
    # Added up once for all parts: a text may be of thousands of groups.
    sums = (_luhn_sums(digits, 0), _luhn_sums(digits, 1))
    for start in bounds:
        for end in range(start + FEWEST_DIGITS, start + _MOST_DIGITS + 1):
            if end in ends and (sums[end % 2][end] - sums[end % 2][start]) % 10 == 0:
                part = digits[start:end]
                is_time = len(part) == 13 and part[0] == "1"
                if not is_time and len(set(part)) > 1:
                    return True
    return False


def _luhn_sums(digits: str, first_doubled: int) -> list[int]:
    """The sum of the digits before each place, every second one from `first_doubled` on counted double."""
    values = [int(each) for each in digits]
    values[first_doubled::2] = [_DOUBLED[each] for each in values[first_doubled::2]]
    return list(accumulate(values, initial=0))
