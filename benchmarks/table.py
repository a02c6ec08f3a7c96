"""What a benchmark found: a figure beside its floor in the same run, and the bar their ratio is held to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """`bar` is what `ratio` must keep to: at least (">=") or at most ("<="); None where there is only a figure."""

    name: str
    figure: str
    floor: str = ""
    ratio: float | None = None
    bar: float | None = None
    sense: str = ">="

    @property
    def is_kept(self) -> bool | None:
        if self.bar is None or self.ratio is None:
            return None
        return self.ratio >= self.bar if self.sense == ">=" else self.ratio <= self.bar


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown, for a terminal and for docs/performance.md alike."""
    lines = [("what", "figure", "floor", "ratio", "bar", "")]
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        bar = "" if row.bar is None else f"{row.sense} {row.bar:g}"
        verdict = {True: "kept", False: "MISSED", None: ""}[row.is_kept]
        lines.append((row.name, row.figure, row.floor, ratio, bar, verdict))
    widths = [max(len(line[i]) for line in lines) for i in range(6)]
    rendered = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    rendered.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(rendered)


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which that share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
