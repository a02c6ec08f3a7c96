"""Which entries of the pack are installed, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings

from rules.models import RuleVersion
from rules.pack import PackEntry, pack_entries
from rules.selectors import versions_shown


@dataclass(frozen=True, slots=True)
class PackStatus:
    """`state`: "not installed", "active", "inactive", or the version's state while it awaits approval."""

    entry: PackEntry
    state: str
    rule_id: int | None = None


def entries_in_use() -> tuple[PackEntry, ...]:
    """The pack with this installation's settings."""
    return pack_entries(structuring_threshold=settings.STRUCTURING_THRESHOLD)


def pack_status() -> tuple[PackStatus, ...]:
    """One for each entry, in the pack's order: two queries."""
    by_key = {
        version.rule.pack_key: version for version in versions_shown().filter(rule__pack_key__isnull=False)
    }
    return tuple(_status(entry, by_key.get(entry.key)) for entry in entries_in_use())


def _status(entry: PackEntry, version: RuleVersion | None) -> PackStatus:
    if version is None:
        return PackStatus(entry, "not installed")
    if not version.is_active:
        return PackStatus(entry, "inactive", version.rule_id)
    is_live = version.state == RuleVersion.State.LIVE
    return PackStatus(entry, "active" if is_live else str(version.state), version.rule_id)
