"""The ruleset in force: which versions are evaluated, in which order, published as one new row."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from django.db import OperationalError, connection, transaction
from psycopg2.errors import QueryCanceled

from fraudsite.errors import Busy
from fraudsite.locks import RULES_LOCK, held_shared
from rules.models import RulesetVersion, RuleVersion


@dataclass(frozen=True, slots=True)
class LoadedRuleset:
    """One ruleset as read: `number` 0 means that nothing was ever published."""

    number: int
    lists_version: int
    live: tuple[RuleVersion, ...]
    shadow: tuple[RuleVersion, ...]


def ruleset_lock() -> None:
    """Wait until no one else is changing rules or lists; held until the end of the transaction. Raises Busy."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [RULES_LOCK])
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            raise Busy(
                "Other changes, or decisions being made, hold the rules and lists; nothing was changed. Try again."
            ) from error
        raise


def publishes_held_back() -> AbstractContextManager[None]:
    """What is in force stays so meanwhile: who changes rules or lists waits. Waits for who is doing so."""
    return held_shared(RULES_LOCK)


def ruleset_publish(*, principal: str, reason: str, lists_changed: bool = False) -> RulesetVersion | None:
    """Put in force what the versions' states say, under `ruleset_lock`. None: that was in force already.

    From the commit on, every decision is made with it: the statement that stores a decision compares the number.
    """
    live, shadow = _members(RuleVersion.State.LIVE), _members(RuleVersion.State.SHADOW)
    current = ruleset_current()
    if not lists_changed and current and (current.live, current.shadow) == (live, shadow):
        return None
    if not lists_changed and current is None and not live and not shadow:
        return None
    published = RulesetVersion.objects.create(
        live=live,
        shadow=shadow,
        lists_version=(current.lists_version if current else 0) + int(lists_changed),
        created_by=principal,
        reason=reason[:200],
    )
    for tell in _after_publish:
        transaction.on_commit(partial(tell, published.number), robust=True)
    return published


# What wants to know of every publish in this process. Rules know nothing of screening, so it registers itself.
_after_publish: list[Callable[[int], None]] = []


def call_after_publish(tell: Callable[[int], None]) -> None:
    """`tell` is called with the number of each ruleset published from here on, once that is committed."""
    _after_publish.append(tell)


def ruleset_current() -> RulesetVersion | None:
    return RulesetVersion.objects.order_by("-number").first()


def lists_version_next() -> int:
    """The version that the change being made under `ruleset_lock` will have once published."""
    current = ruleset_current()
    return (current.lists_version if current else 0) + 1


def _members(state: str) -> list[int]:
    versions = RuleVersion.objects.filter(state=state, is_active=True)
    return list(versions.order_by("-priority", "rule_id").values_list("id", flat=True))
