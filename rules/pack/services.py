"""Installing the rule pack: each entry becomes an ordinary rule once, and is nobody's but the user's from then on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from django.db import transaction

from fraudsite.errors import Conflict, FieldError, Invalid
from rules.approval import version_submit
from rules.models import Rule, RuleVersion
from rules.pack import PackEntry
from rules.pack.selectors import entries_in_use
from rules.ruleset import ruleset_lock
from rules.selectors import version_shown
from rules.services import rule_create, rule_update


@dataclass(frozen=True, slots=True)
class PackChange:
    """What installing did about one entry: "installed", "activated" or "left out" (with the `reason`)."""

    key: str
    action: str
    rule_id: int | None = None
    is_active: bool = False
    is_in_force: bool = False
    reason: str = ""


def pack_install(
    *, principal: str, enable: Collection[str] = (), enable_all: bool = False
) -> tuple[PackChange, ...]:
    """Install the entries that are not there yet, active where the pack or the caller says so.

    Rules installed before stay as they are, edited or not, with one exception: those named in `enable` are made
    active, and with `enable_all` those nobody has changed since. Where rules need approval, what is to be active is
    submitted for it: a draft waits nowhere that an approver looks. All or nothing. Raises Invalid for unknown keys.
    """
    entries = entries_in_use()
    unknown = sorted(set(enable) - {entry.key for entry in entries})
    if unknown:
        raise Invalid(
            "The pack has no such entry.", [FieldError("enable", f"unknown key {key!r}") for key in unknown]
        )
    with transaction.atomic():
        ruleset_lock()
        installed = {rule.pack_key: rule for rule in Rule.objects.filter(pack_key__isnull=False)}
        changes: list[PackChange | None] = []
        for entry in entries:
            rule = installed.get(entry.key)
            if rule is None:
                is_wanted = entry.is_enabled or enable_all or entry.key in enable
                changes.append(_install(entry, is_active=is_wanted, principal=principal))
            elif entry.key in enable or (enable_all and not rule.versions.filter(number__gt=1).exists()):
                changes.append(_activate(entry, rule, principal=principal))
        _submit_drafts(principal)
        return tuple(change for change in changes if change is not None)


def _install(entry: PackEntry, *, is_active: bool, principal: str) -> PackChange:
    try:
        saved = rule_create(
            document={**entry.document, "is_active": is_active}, principal=principal, pack_key=entry.key
        )
    except Conflict as conflict:
        return PackChange(entry.key, "left out", reason=str(conflict))
    version = saved.version
    is_in_force = is_active and version.state == version.State.LIVE
    return PackChange(entry.key, "installed", version.rule_id, is_active, is_in_force)


def _activate(entry: PackEntry, rule: Rule, *, principal: str) -> PackChange | None:
    if version_shown(rule).is_active:
        return None
    version = rule_update(rule_id=rule.pk, changes={"is_active": True}, principal=principal).version
    return PackChange(entry.key, "activated", rule.pk, True, version.state == version.State.LIVE)


def _submit_drafts(principal: str) -> None:
    """Those that nobody but the pack has touched."""
    drafts = RuleVersion.objects.filter(
        rule__pack_key__isnull=False,
        state=RuleVersion.State.DRAFT,
        is_active=True,
        authored_by=principal,
        co_authors=[],
    )
    for rule_id, number in drafts.values_list("rule_id", "number"):
        version_submit(rule_id=rule_id, number=number)
