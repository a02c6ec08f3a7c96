"""Who is calling: a client by its API key, or a member of staff by the session of the admin.

Either way `request.principal` names it for the record (`key:<prefix>` or `user:<username>`).
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone
from rest_framework import authentication, exceptions
from rest_framework.request import Request

from fraudsite.acting import note_actor
from fraudsite.models import ApiKey
from fraudsite.services import RAW_KEY_PREFIX, api_key_digest

# How long a process may use what it knows of a key: the hot path asks the database nothing, and a revoked key
# is refused everywhere within this time.
CACHE_S = 2.0
LAST_USED_EVERY = timedelta(minutes=1)
LONGEST_RAW_KEY = 200


@dataclass(frozen=True, slots=True)
class ApiPrincipal:
    """What `request.user` is for an API key: known, and no member of staff."""

    principal: str
    is_authenticated: bool = True
    is_anonymous: bool = False
    is_active: bool = True
    is_staff: bool = False
    is_superuser: bool = False
    pk: None = None

    def __str__(self) -> str:
        return self.principal

    def get_username(self) -> str:
        return self.principal


@dataclass(frozen=True, slots=True)
class _Known:
    key: ApiKey
    user: ApiPrincipal
    loaded_at: float


_known: dict[str, _Known] = {}
_KEYWORD = "Api-Key"


def key_given(meta: Mapping[str, Any]) -> str | None:
    """The raw key that a request's `META` brings, valid or not; None: it brings none."""
    scheme, _, raw = meta.get("HTTP_AUTHORIZATION", "").partition(" ")
    return raw.strip() if scheme.lower() == _KEYWORD.lower() else None


class ApiKeyAuthentication(authentication.BaseAuthentication):
    """`Authorization: Api-Key <key>`. Revoking a key takes effect in every process within two seconds."""

    def authenticate(self, request: Request) -> tuple[ApiPrincipal, ApiKey] | None:
        raw = key_given(request.META)
        if raw is None:
            return None
        known = _check(raw)
        request.principal = known.user.principal
        note_actor(known.user.principal)
        return known.user, known.key

    def authenticate_header(self, request: Request) -> str:
        return f'{_KEYWORD} realm="fraudsite"'


class AdminSessionAuthentication(authentication.SessionAuthentication):
    """Staff logged in to the admin may read the API in their browser (see `HasScope`)."""

    def authenticate(self, request: Request) -> tuple[object, None] | None:
        result = super().authenticate(request)
        if result is not None:
            request.principal = f"user:{result[0].get_username()}"
            note_actor(request.principal)
        return result


def forget_keys() -> None:
    """Drop what this process knows of keys, e.g. between tests."""
    _known.clear()


def _check(raw: str) -> _Known:
    """The key that `raw` is, or AuthenticationFailed: the same answer whatever is wrong with a secret."""
    if len(raw) > LONGEST_RAW_KEY:
        raise exceptions.AuthenticationFailed("The API key is not valid.")
    brand, _, rest = raw.partition("_")
    prefix, _, secret = rest.partition("_")
    known = _lookup(prefix) if brand == RAW_KEY_PREFIX and prefix.isascii() and prefix.isalnum() else None
    expected = bytes(known.key.digest) if known else bytes(32)
    if not hmac.compare_digest(api_key_digest(secret), expected) or known is None:
        raise exceptions.AuthenticationFailed("The API key is not valid.")
    if not known.key.is_valid_at(timezone.now()):
        raise exceptions.AuthenticationFailed("The API key has expired or was revoked.")
    return known


def _lookup(prefix: str) -> _Known | None:
    now = time.monotonic()
    known = _known.get(prefix)
    if known is not None and now - known.loaded_at < CACHE_S:
        return known
    key = ApiKey.objects.filter(prefix=prefix).first()
    if key is None:
        _known.pop(prefix, None)
        return None
    _note_use(key)
    known = _known[prefix] = _Known(key, ApiPrincipal(key.principal), now)
    return known


def _note_use(key: ApiKey) -> None:
    """Remember that the key is used, at most once a minute whatever the number of processes."""
    now = timezone.now()
    long_ago = now - LAST_USED_EVERY
    if not key.is_valid_at(now) or (key.last_used_at is not None and key.last_used_at > long_ago):
        return
    ApiKey.objects.filter(Q(last_used_at=None) | Q(last_used_at__lte=long_ago), pk=key.pk).update(
        last_used_at=now
    )
