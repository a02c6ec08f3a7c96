"""Connections of an account as a picture: itself in the middle, others by distance, what they share between."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from screening.connections.selectors import Connections, Shared, connections_of

DAYS = 90
SHOWN = 36
SIZE = 460
CENTRE = SIZE / 2
RINGS = {0: 0.0, 1: 120.0, 2: 195.0}


@dataclass(frozen=True, slots=True)
class Picture:
    """The drawing, and the same in words for who cannot see it."""

    svg: SafeString
    lines: list[str]
    hidden: int
    is_truncated: bool


def connections_picture(account_id: str, *, hops: int = 2) -> Picture | None:
    """None where nothing is connected. At most SHOWN accounts are drawn, the nearest first."""
    until = timezone.now() + timedelta(minutes=5)
    found = connections_of(accounts=[account_id], hops=hops, since=until - timedelta(days=DAYS), until=until)
    if len(found.hops) < 2:
        return None
    nearest = sorted(found.hops.items(), key=lambda each: (each[1], each[0]))
    accounts = dict(nearest[:SHOWN])
    shared = [each for each in found.shared.values() if len(each.accounts & accounts.keys()) > 1]
    places = _places(accounts, found)
    parts = [
        *_payment_lines(found, places),
        *(part for each in shared for part in _shared_parts(each, places)),
        *(_account_part(account, hops_away, places[account]) for account, hops_away in accounts.items()),
    ]
    svg = format_html(
        '<svg class="fs-chart" viewBox="0 0 {} {}" role="group" aria-label="Connections of account {}">{}</svg>',
        SIZE,
        SIZE,
        account_id,
        format_html_join("", "{}", ((part,) for part in parts)),
    )
    return Picture(
        svg, _words(account_id, found, shared), len(found.hops) - len(accounts), found.is_truncated
    )


def _places(accounts: dict[str, int], found: Connections) -> dict[str, tuple[float, float]]:
    """Each ring evenly; on the outer one each account near the inner one it is linked to."""
    places: dict[str, tuple[float, float]] = {}
    angles: dict[str, float] = {}
    for ring, radius in RINGS.items():
        members = [account for account, away in accounts.items() if min(away, 2) == ring]
        members.sort(key=lambda account: (_angle_of_link(account, found, angles), account))
        for index, account in enumerate(members):
            angle = 2 * math.pi * (index + (0.5 if ring == 2 else 0)) / max(len(members), 1) - math.pi / 2
            angles[account] = angle
            places[account] = (CENTRE + radius * math.cos(angle), CENTRE + radius * math.sin(angle))
    return places


def _angle_of_link(account: str, found: Connections, angles: dict[str, float]) -> float:
    linked = [
        angles[other]
        for payer, payee in found.payments
        for one, other in ((payer, payee), (payee, payer))
        if one == account and other in angles
    ]
    linked += [
        angles[other]
        for each in found.shared.values()
        if account in each.accounts
        for other in each.accounts
        if other in angles
    ]
    return min(linked, default=0.0)


def _payment_lines(found: Connections, places: dict[str, tuple[float, float]]) -> list[SafeString]:
    most = max((count for count, _, _ in found.payments.values()), default=1)
    return [
        _line(
            places[payer],
            places[payee],
            1 + 3 * count / most,
            f"{payer} paid {payee} {count} times",
            "--fs-chart-1",
        )
        for (payer, payee), (count, _first, _last) in found.payments.items()
        if payer in places and payee in places
    ]


def _line(start: Any, end: Any, width: float, title: str, colour: str, dashes: str = "none") -> SafeString:
    return format_html(
        '<line x1="{}" y1="{}" x2="{}" y2="{}" stroke="var({})" stroke-width="{}" stroke-dasharray="{}" '
        'opacity=".7"><title>{}</title></line>',
        *(f"{value:.1f}" for value in (*start, *end)),
        colour,
        f"{width:.1f}",
        dashes,
        title,
    )


def _shared_parts(shared: Shared, places: dict[str, tuple[float, float]]) -> list[SafeString]:
    users = sorted(shared.accounts & places.keys())
    x = sum(places[each][0] for each in users) / len(users)
    y = sum(places[each][1] for each in users) / len(users)
    title = f"{shared.kind} {shared.value}, used by {len(shared.accounts)} accounts"
    lines = [_line(places[each], (x, y), 1.2, title, "--fs-chart-3", "3 3") for each in users]
    box = format_html(
        '<g><rect x="{}" y="{}" width="12" height="12" rx="2" fill="var(--fs-chart-3)"><title>{}</title></rect></g>',
        f"{x - 6:.1f}",
        f"{y - 6:.1f}",
        title,
    )
    return [*lines, box]


def _account_part(account: str, away: int, place: tuple[float, float]) -> SafeString:
    x, y = place
    radius = 12 if away == 0 else 8 if away == 1 else 6
    return format_html(
        '<a href="{}"><circle cx="{}" cy="{}" r="{}" fill="var({})" stroke="var(--fs-surface)" stroke-width="2">'
        "<title>{}</title></circle>"
        '<text x="{}" y="{}" font-size="11" text-anchor="middle" fill="var(--fs-ink)">{}</text></a>',
        reverse("admin:account", args=[account]),
        f"{x:.1f}",
        f"{y:.1f}",
        radius,
        "--fs-chart-2" if away == 0 else "--fs-chart-1",
        f"account {account}, {away} hop{'' if away == 1 else 's'} away",
        f"{x:.1f}",
        f"{y + radius + 11:.1f}",
        account if len(account) <= 14 else f"{account[:6]}…{account[-6:]}",
    )


def _words(account_id: str, found: Connections, shared: list[Shared]) -> list[str]:
    lines = []
    for each in sorted(shared, key=lambda one: -len(one.accounts)):
        others = sorted(each.accounts - {account_id})
        hub = " (a hub: not followed further)" if each.is_hub else ""
        named = ", ".join(others[:6]) + (" …" if len(others) > 6 else "")
        lines.append(
            f"{each.kind.capitalize()} {each.value}, used by {len(each.accounts)} accounts{hub}: {named}."
        )
    for (payer, payee), (count, _first, last) in sorted(found.payments.items(), key=lambda one: -one[1][0])[
        :12
    ]:
        lines.append(
            f"{payer} paid {payee} {count} time{'' if count == 1 else 's'}, last on {last:%d %b %Y}."
        )
    return lines
