"""Small charts as SVG, drawn here: no script, readable without colour, the same on paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString


@dataclass(frozen=True, slots=True)
class Series:
    """`key` of the rows, what it is called, and a CSS variable of workspace.css for its colour."""

    key: str
    label: str
    colour: str


WIDTH, STEMS_WIDTH = 420, 640
HEIGHT, LEFT, BOTTOM, TOP = 150, 38, 22, 8
DECIDED = (
    Series("approved", "approved", "--fs-chart-4"),
    Series("review", "review", "--fs-chart-3"),
    Series("blocked", "blocked", "--fs-chart-2"),
)


def columns(
    rows: Sequence[dict[str, Any]], series: Sequence[Series], *, labels: Sequence[str], title: str
) -> SafeString:
    """Stacked columns, one a row; `labels` below them are thinned out to fit. The title says what is shown."""
    top = max((sum(float(row[each.key]) for each in series) for row in rows), default=0) or 1
    step = (WIDTH - LEFT) / max(len(rows), 1)
    boxes: list[tuple[Any, ...]] = []
    for index, row in enumerate(rows):
        y = float(HEIGHT - BOTTOM)
        parts = ", ".join(f"{row[each.key]:,} {each.label}" for each in series)
        for each in series:
            height = (HEIGHT - BOTTOM - TOP) * float(row[each.key]) / top
            if height <= 0:
                continue
            y -= height
            boxes.append(
                (
                    _f(LEFT + index * step + step * 0.1),
                    _f(y),
                    _f(step * 0.8),
                    _f(height),
                    each.colour,
                    f"{labels[index]}: {parts}",
                )
            )
    drawn = format_html_join(
        "", '<rect x="{}" y="{}" width="{}" height="{}" fill="var({})"><title>{}</title></rect>', boxes
    )
    return _svg(WIDTH, title, _grid(top), drawn, _labels(labels, step))


def legend(series: Sequence[Series]) -> SafeString:
    return format_html_join(
        " ",
        '<span class="fs-small" style="white-space:nowrap"><span aria-hidden="true" style="display:inline-block;'
        'width:.75rem;height:.75rem;border-radius:2px;background:var({})"></span> {}</span>',
        ((each.colour, each.label) for each in series),
    )


def stems(rows: Sequence[tuple[str, float, str]], *, marks: Sequence[bool], title: str) -> SafeString:
    """Values in their order, evenly spaced so that a burst can be seen: (time, value, what it says).

    `marks` are drawn as warnings. The first, middle and last times stand below.
    """
    if not rows:
        return SafeString("")
    top = max(value for _, value, _ in rows) or 1
    step = (STEMS_WIDTH - LEFT - 12) / len(rows)
    places = [_f(LEFT + 6 + step * (index + 0.5)) for index in range(len(rows))]
    drawn = []
    for at, (_, value, says), marked in zip(places, rows, marks, strict=True):
        to = _f(HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / top)
        colour = "--fs-chart-2" if marked else "--fs-chart-1"
        drawn.append((at, HEIGHT - BOTTOM, at, to, colour, at, to, 4.5 if marked else 3, colour, says))
    lines = format_html_join(
        "",
        '<line x1="{}" y1="{}" x2="{}" y2="{}" stroke="var({})" stroke-width="1.5"/>'
        '<circle cx="{}" cy="{}" r="{}" fill="var({})"><title>{}</title></circle>',
        drawn,
    )
    return _svg(
        STEMS_WIDTH, title, _grid(top, STEMS_WIDTH), lines, _times(places, [time for time, _, _ in rows])
    )


def _svg(width: int, title: str, *parts: SafeString) -> SafeString:
    return format_html(
        '<svg class="fs-chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}</svg>',
        width,
        HEIGHT,
        title,
        *parts,
    )


def _times(places: Sequence[str], times: Sequence[str]) -> SafeString:
    last = len(times) - 1
    shown = [
        (
            places[index],
            HEIGHT - 6,
            "start" if index == 0 and last > 0 else "end" if index == last else "middle",
            times[index],
        )
        for index in sorted({0, len(times) // 2, last})
    ]
    return format_html_join(
        "", '<text x="{}" y="{}" font-size="11" text-anchor="{}" fill="var(--fs-muted)">{}</text>', shown
    )


def _grid(top: float, width: int = WIDTH) -> SafeString:
    rows = []
    for part in (0, 0.5, 1):
        y = HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * part
        rows.append((LEFT, _f(y), width, _f(y), LEFT - 6, _f(y + 3.5), short(top * part)))
    return format_html_join(
        "",
        '<line x1="{}" y1="{}" x2="{}" y2="{}" stroke="var(--fs-line)"/>'
        '<text x="{}" y="{}" font-size="11" text-anchor="end" fill="var(--fs-muted)">{}</text>',
        rows,
    )


def _labels(labels: Sequence[str], step: float) -> SafeString:
    every = max(1, round(46 / step))
    shown = [
        (_f(LEFT + index * step + step / 2), HEIGHT - 6, label)
        for index, label in enumerate(labels)
        if index % every == 0
    ]
    return format_html_join(
        "", '<text x="{}" y="{}" font-size="11" text-anchor="middle" fill="var(--fs-muted)">{}</text>', shown
    )


def short(value: float) -> str:
    """Of three digits, as fits beside a line or below a column: 15.1k."""
    rounded = float(f"{value:.3g}")
    for limit, unit in ((1e9, "bn"), (1e6, "m"), (1e3, "k")):
        if abs(rounded) >= limit:
            return f"{rounded / limit:g}{unit}"
    return f"{rounded:g}"


def _f(value: float) -> str:
    return f"{value:.1f}"
