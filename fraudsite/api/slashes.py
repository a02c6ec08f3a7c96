"""Addresses that lack their last slash."""

from __future__ import annotations

from django.http import HttpRequest
from django.middleware.common import CommonMiddleware

from fraudsite.api.problems import API_PATH


class SlashMiddleware(CommonMiddleware):
    """Reading is redirected to the address with the slash. Under /api/ nothing else is: a redirected POST
    arrives as a GET without its body, so its sender learns that there is nothing at this address."""

    def should_redirect_with_slash(self, request: HttpRequest) -> bool:
        if request.path_info.startswith(API_PATH) and request.method not in ("GET", "HEAD"):
            return False
        return super().should_redirect_with_slash(request)
