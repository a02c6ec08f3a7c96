"""Measurements against the bars of the issues: run by hand, results in docs/."""
