"""Making and revoking API keys; filters that people of the workspace keep."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime

from django.utils import timezone

from fraudsite.errors import FieldError, Invalid
from fraudsite.models import ApiKey, SavedFilter, Scope

RAW_KEY_PREFIX = "fs"
PREFIX_BYTES = 5
SECRET_BYTES = 32


def api_key_create(
    *, name: str, scopes: Iterable[str], created_by: str, expires_at: datetime | None = None
) -> tuple[ApiKey, str]:
    """Make a key. Returns it with the raw key (`fs_<prefix>_<secret>`), which is kept nowhere: show it once."""
    chosen = sorted(set(scopes))
    if unknown := [scope for scope in chosen if scope not in Scope.values]:
        raise Invalid(
            "Unknown scope.", [FieldError("scopes", f"{scope!r} is not a scope") for scope in unknown]
        )
    if not chosen:
        raise Invalid("A key needs a scope.", [FieldError("scopes", "give at least one scope")])
    if not name.strip():
        raise Invalid("A key needs a name.", [FieldError("name", "must not be empty")])
    prefix, secret = secrets.token_hex(PREFIX_BYTES), secrets.token_urlsafe(SECRET_BYTES)
    key = ApiKey.objects.create(
        name=name.strip(),
        prefix=prefix,
        digest=api_key_digest(secret),
        scopes=chosen,
        created_by=created_by,
        expires_at=expires_at,
    )
    return key, f"{RAW_KEY_PREFIX}_{prefix}_{secret}"


def api_key_revoke(*, key: ApiKey) -> bool:
    """Revoke a key for good; every process refuses it within two seconds. False: it was revoked before."""
    revoked_at = timezone.now()
    changed = ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=revoked_at)
    if changed:
        key.revoked_at = revoked_at
    return bool(changed)


def api_keys_working(created_by: str) -> list[ApiKey]:
    """The keys this principal made that can be used."""
    now = timezone.now()
    return [key for key in ApiKey.objects.filter(created_by=created_by) if key.is_valid_at(now)]


def api_key_digest(secret: str) -> bytes:
    """The secret is 32 random bytes, so one round of SHA-256 cannot be searched; a slow hash would only cost time."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def saved_filter_put(*, owner: str, page: str, name: str, query: str) -> SavedFilter:
    """Keep the filters of a page's address under a name, in place of what had that name."""
    kept, _made = SavedFilter.objects.update_or_create(
        owner=owner, page=page, name=name, defaults={"query": query}
    )
    return kept


def saved_filter_forget(*, owner: str, page: str, name: str) -> None:
    SavedFilter.objects.filter(owner=owner, page=page, name=name).delete()
