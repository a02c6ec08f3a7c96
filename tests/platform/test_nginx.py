"""The example of a proxy lets through what the platform takes, and says who asks as the platform reads it."""

from __future__ import annotations

import re

from django.conf import settings

from fraudsite.dev.home import CHECKOUT
from fraudsite.gunicorn_conf import timeout
from rules.list_csv import MAX_FILE_BYTES

EXAMPLE = (CHECKOUT / "deploy/nginx/fraudsite.conf").read_text()
UNITS = {"m": 1024**2, "g": 1024**3}


def largest_body(block: str) -> int:
    number, unit = re.findall(r"client_max_body_size (\d+)([mg]);", block)[0]
    return int(number) * UNITS[unit]


def location(path: str) -> str:
    return EXAMPLE[EXAMPLE.index(f"location {path} {{") :].split("}")[0]


def test_it_takes_bodies_as_large_as_the_platform_does() -> None:
    assert largest_body(EXAMPLE) > MAX_FILE_BYTES
    for path in ("= /api/v1/imports/", "= /admin/imports/new/"):
        assert largest_body(location(path)) == settings.IMPORT_MAX_BYTES


def test_it_waits_longer_than_the_web_server_works() -> None:
    assert int(re.findall(r"proxy_read_timeout (\d+)s;", EXAMPLE)[0]) > timeout


def test_it_passes_paths_on_undecoded() -> None:
    assert set(re.findall(r"proxy_pass (\S+);", EXAMPLE)) == {"http://fraudsite"}


def test_it_says_who_asks_and_over_what() -> None:
    headers = dict(re.findall(r"proxy_set_header (\S+) (\S+);", EXAMPLE))
    assert headers["X-Forwarded-For"] == "$proxy_add_x_forwarded_for"
    assert headers["X-Forwarded-Proto"] == "$scheme"
    assert headers["Host"] == "$http_host"


def test_strangers_read_no_figures() -> None:
    for path in ("= /metrics", "/health/"):
        assert "deny all;" in location(path)
