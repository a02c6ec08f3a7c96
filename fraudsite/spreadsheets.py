"""Text in files that spreadsheets open: what begins like a formula would be run, so it gets an apostrophe in front."""

from __future__ import annotations

import re

# With the apostrophes it may have already: what is read back must be what was written.
# Some spreadsheets take the wide signs of Chinese and Japanese keyboards for the others.
_LIKE_A_FORMULA = re.compile(r"'* *[=+\-@\t\r\n|\uff1d\uff0b\uff0d\uff20]")


def harmless(text: str) -> str:
    return f"'{text}" if _LIKE_A_FORMULA.match(text) else text


def as_meant(text: str) -> str:
    """What `harmless` made `text` of; what it never made stays as it is."""
    return text[1:] if text.startswith("'") and _LIKE_A_FORMULA.match(text, 1) else text
