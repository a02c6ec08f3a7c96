"""Text that a spreadsheet would run as a formula, on its way out and back in."""

from __future__ import annotations

import pytest

from fraudsite.spreadsheets import as_meant, harmless


@pytest.mark.parametrize(
    "text", ["=1+1", " =1+1", "+1", "-1+2", "@x", "|x", "\tx", "\rx", "\nx", "\uff1d1+1", "'=1+1", "''@x"]
)
def test_what_begins_like_a_formula_gets_an_apostrophe_that_is_taken_off_again(text: str) -> None:
    assert harmless(text) == f"'{text}"
    assert as_meant(harmless(text)) == text


@pytest.mark.parametrize("text", ["", "x", "1+1", "x=1", "O'Hara", "'quoted'", "'", "''"])
def test_whatever_else_there_is_stays_as_it_is_both_ways(text: str) -> None:
    assert harmless(text) == as_meant(text) == text
