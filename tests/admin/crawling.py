"""Going through the workspace by its own links."""

from __future__ import annotations

import html
import re
from urllib.parse import urldefrag, urljoin

from tests.staff import StaffClient

_LINK = re.compile(r'<a\b[^>]*\bhref="([^"]*)"')
# Following these would end the session, or leads out of the workspace.
_LEFT_OUT = ("/admin/logout", "/admin/jsi18n")


def links_of(page: str, address: str) -> list[str]:
    found = (urldefrag(urljoin(address, html.unescape(each))).url for each in _LINK.findall(page))
    return [each for each in found if each.startswith("/admin/") and not each.startswith(_LEFT_OUT)]


def crawl(client: StaffClient, *starts: str, at_most: int = 300) -> tuple[dict[str, int], str]:
    """(status by address, all HTML seen). Of addresses that differ in their query alone one is visited."""
    waiting, seen = list(starts), set(starts)
    statuses: dict[str, int] = {}
    visited: set[str] = set()
    pages = []
    while waiting and len(statuses) < at_most:
        address = waiting.pop(0)
        path = address.partition("?")[0]
        if path in visited:
            continue
        visited.add(path)
        response = client.get(address)
        statuses[address] = response.status_code
        if response.streaming or "html" not in response.get("Content-Type", ""):
            continue
        page = response.content.decode()
        pages.append(page)
        for link in links_of(page, address):
            if link not in seen:
                seen.add(link)
                waiting.append(link)
    return statuses, "\n".join(pages)
