"""What goes wrong with the counters' store; the caller decides from SQL or says so."""

from __future__ import annotations


class StoreUnavailable(Exception):
    """Redis cannot be reached, or answers in a way that counters cannot be trusted."""


class StoreLost(StoreUnavailable):
    """Redis holds another epoch than expected: it was emptied, restarted or replaced."""
