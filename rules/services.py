"""Changing rules: each change is one new, immutable version, and one new ruleset when it comes in force.

Every function takes the rules lock first and then reads, inside one transaction: of two changes at once the second
sees the first, and what is refused leaves nothing behind. Isolation is READ COMMITTED; the lock is what orders.
Moving a version through its states (submit, approve …) is in `rules.approval`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone

from fraudsite.errors import Conflict, FieldError, Invalid
from fraudsite.exact_json import ExactDecoder, is_same_json, to_json
from rules.core.documents import rule_to_document
from rules.core.errors import RuleErrors, RuleProblem
from rules.core.parse import ParsedRule, parse_rule
from rules.list_selectors import list_names
from rules.models import Rule, RuleVersion
from rules.ruleset import ruleset_lock, ruleset_publish
from rules.selectors import OPEN_STATES, State, rule_get, version_get, version_shown, version_waiting

# What an answer adds to the wording: a client may send back what it got.
ANSWER_KEYS = frozenset(
    {"id", "state", "in_force", "authored_by", "pending_version", "shadow_version"}
    | {"created_at", "updated_at", "warnings"}
)


@dataclass(frozen=True, slots=True)
class Saved:
    """A version, and what looks doubtful in its wording (e.g. a condition that is never true)."""

    version: RuleVersion
    warnings: tuple[RuleProblem, ...] = ()


def rule_create(
    *, document: Mapping[str, Any], principal: str, as_draft: bool = False, pack_key: str | None = None
) -> Saved:
    """A new rule, in force at once unless it is a draft or `REQUIRE_RULE_APPROVAL` holds.

    `as_draft` keeps it out of force until it is approved. Raises Invalid (with JSON paths) or Conflict (name).
    """
    with transaction.atomic():
        ruleset_lock()
        parsed = rule_validate(document)
        _check_name_is_free(parsed.rule.name)
        with _taken_name_refused():
            rule = Rule.objects.create(name=parsed.rule.name, pack_key=pack_key)
        version = _add_version(rule, _definition(parsed), principal=principal, note="created")
        _settle(version, state=_first_state(as_draft), principal=principal)
    return Saved(version, parsed.warnings)


def rule_update(*, rule_id: int, changes: Mapping[str, Any], principal: str, as_draft: bool = False) -> Saved:
    """Change the keys given; the rest stays. A change that changes nothing makes no version.

    A draft goes on from the newest draft, everything else from the version in force or, where `version` names it, from
    the draft. `version`, when given, must be the one gone on from, so that nobody overwrites a change they have not
    seen.
    """
    with transaction.atomic():
        ruleset_lock()
        rule = rule_get(rule_id)
        shown = version_shown(rule)
        stays_out = as_draft or settings.REQUIRE_RULE_APPROVAL
        wording, known = _wording(changes), changes.get("version")
        if changes.get("id", rule_id) != rule_id:
            raise Invalid("The rule is not valid.", [FieldError("id", f"must be {rule_id}, or be left out")])
        waiting = version_waiting(rule)
        base = waiting if waiting is not None and (stays_out or known == waiting.number) else shown
        parsed = rule_validate(base.definition | wording)
        is_same = is_same_json(_definition(parsed), base.definition) and base.state in (
            State.LIVE,
            *OPEN_STATES,
        )
        # A retry of the change that made the draft still names the version in force.
        if known is not None and known not in (base.number, shown.number if is_same else base.number):
            raise _changed_meanwhile(base)
        if is_same:
            return Saved(base, parsed.warnings)
        _check_name_is_free(parsed.rule.name, besides=rule)
        version = _add_version(
            rule,
            _definition(parsed),
            principal=principal,
            note=_changed_keys(base, parsed),
            going_on_from=base,
        )
        _settle(version, state=_first_state(as_draft), principal=principal)
    return Saved(version, parsed.warnings)


def rule_deactivate(*, rule_id: int, principal: str) -> RuleVersion:
    """Delete a rule: a new version that is not active. One that never was in force needs no approval for it."""
    with transaction.atomic():
        ruleset_lock()
        rule = rule_get(rule_id)
        shown = version_shown(rule)
        if not shown.is_active and shown.state in (State.LIVE, State.RETIRED):
            return shown
        pending = version_waiting(rule)
        if pending is not None and not pending.is_active and pending.state == State.PENDING_APPROVAL:
            return pending
        # Not parsed again: a rule must be possible to stop even if the language would refuse it by now.
        definition = shown.definition | {"is_active": False}
        version = _add_version(rule, definition, principal=principal, note="deactivated", going_on_from=shown)
        if shown.state != State.LIVE:
            _settle(version, state=State.RETIRED, principal=principal)
        else:
            _settle(version, state=_decided_state(), principal=principal)
    return version


def rule_rollback(*, rule_id: int, number: int, principal: str) -> Saved:
    """An earlier wording again, as a new version; a retry makes no second one."""
    with transaction.atomic():
        ruleset_lock()
        rule = rule_get(rule_id)
        earlier = version_get(rule, number)
        parsed = rule_validate(earlier.definition)
        same = _same_already(rule, parsed)
        if same is not None:
            return Saved(same, parsed.warnings)
        _check_name_is_free(parsed.rule.name, besides=rule)
        version = _add_version(
            rule,
            _definition(parsed),
            principal=principal,
            note=f"rollback to version {number}",
            going_on_from=earlier,
        )
        _settle(version, state=_decided_state(), principal=principal)
    return Saved(version, parsed.warnings)


def _same_already(rule: Rule, parsed: ParsedRule) -> RuleVersion | None:
    """What is waiting for approval or, where nothing waits, in force, if it reads like `parsed`."""
    candidate, state = version_waiting(rule), State.PENDING_APPROVAL
    if candidate is None:
        candidate, state = version_shown(rule), State.LIVE
    is_same = candidate.state == state and is_same_json(_definition(parsed), candidate.definition)
    return candidate if is_same else None


def make_live(version: RuleVersion, *, principal: str) -> None:
    """Put a version in force in place of the one that is; under the rules lock."""
    now = timezone.now()
    rule = version.rule
    rule.versions.filter(state=State.LIVE).exclude(pk=version.pk).update(state=State.RETIRED, retired_at=now)
    if not version.is_active:
        rule.versions.filter(state=State.SHADOW).exclude(pk=version.pk).update(
            state=State.RETIRED, retired_at=now
        )
    version.state, version.live_from = State.LIVE, now
    version.save(update_fields=["state", "live_from", "needs_approval", "reviewed_by", "review_note"])
    _rename(rule, version.definition["name"])
    ruleset_publish(principal=principal, reason=f"rule {rule.pk} version {version.number}")


def touch(rule: Rule) -> None:
    rule.updated_at = timezone.now()
    rule.save(update_fields=["updated_at"])


def rule_validate(document: Mapping[str, Any]) -> ParsedRule:
    """Parse as saving does. Raises Invalid with the JSON path of everything that is wrong."""
    if not isinstance(document, dict):
        raise Invalid("A rule is a JSON object.", [FieldError("$", "expected an object")])
    try:
        return parse_rule(document, lists=list_names())
    except RuleErrors as error:
        raise Invalid("The rule is not valid.", [problem_error(each) for each in error.problems]) from None


def _definition(parsed: ParsedRule) -> dict[str, Any]:
    """The canonical document, with numbers as they will be when read back."""
    return dict(json.loads(to_json(rule_to_document(parsed.rule)), cls=ExactDecoder))


def problem_error(problem: RuleProblem) -> FieldError:
    return FieldError(problem.path or "$", problem.told)


def _wording(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of `changes` that are wording; refuses a `version` that is no number."""
    if not isinstance(changes, dict):
        raise Invalid("A change of a rule is a JSON object.", [FieldError("$", "expected an object")])
    given = changes.get("version")
    if given is not None and (isinstance(given, bool) or not isinstance(given, int | Decimal) or given % 1):
        raise Invalid("The version is not valid.", [FieldError("version", "expected a whole number")])
    return {key: value for key, value in changes.items() if key not in ANSWER_KEYS and key != "version"}


def _changed_meanwhile(base: RuleVersion) -> Conflict:
    what = (
        f"a {base.get_state_display().lower()} by {base.authored_by}"
        if base.state in OPEN_STATES
        else "in force"
    )
    return Conflict(
        "The rule was changed in the meantime.",
        [FieldError("version", f"the rule is at version {base.number} now, {what}")],
    )


def _changed_keys(base: RuleVersion, parsed: ParsedRule) -> str:
    new = _definition(parsed)
    keys = [key for key in new if not is_same_json(new[key], base.definition.get(key))]
    return f"changed {', '.join(keys)}"[:200]


def _check_name_is_free(name: str, *, besides: Rule | None = None) -> None:
    taken = Rule.objects.filter(name=name).exclude(pk=besides.pk if besides else None).first()
    if taken is not None:
        raise Conflict(f"Rule {taken.pk} has this name.", [FieldError("name", "is taken by another rule")])


@contextmanager
def _taken_name_refused() -> Iterator[None]:
    """A savepoint, so that a name that came in past the lock (by SQL, say) is a conflict and no broken transaction."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError:
        raise Conflict(
            "Another rule has this name.", [FieldError("name", "is taken by another rule")]
        ) from None


def _rename(rule: Rule, name: str) -> None:
    rule.name, rule.updated_at = name, timezone.now()
    with _taken_name_refused():
        rule.save(update_fields=["name", "updated_at"])


def _add_version(
    rule: Rule,
    definition: dict[str, Any],
    *,
    principal: str,
    note: str,
    going_on_from: RuleVersion | None = None,
) -> RuleVersion:
    """Append a version, still a draft; drafts and requests before it are superseded."""
    rule.versions.filter(state__in=OPEN_STATES).update(state=State.RETIRED, retired_at=timezone.now())
    newest = rule.versions.aggregate(number=Max("number"))["number"] or 0
    return RuleVersion.objects.create(
        rule=rule,
        number=newest + 1,
        definition=definition,
        rule_type=definition["rule_type"],
        priority=int(definition["priority"]),
        is_active=definition["is_active"],
        state=State.DRAFT,
        authored_by=principal,
        co_authors=sorted(_unapproved_authors(going_on_from) - {principal}),
        needs_approval=settings.REQUIRE_RULE_APPROVAL,
        change_note=note,
    )


def _unapproved_authors(version: RuleVersion | None) -> set[str]:
    """Who wrote a version that was never in force: approving what goes on from it would be approving their own."""
    if version is None or version.live_from is not None:
        return set()
    return {version.authored_by, *version.co_authors}


def _settle(version: RuleVersion, *, state: str, principal: str) -> None:
    if state == State.LIVE:
        make_live(version, principal=principal)
        return
    version.state = state
    version.retired_at = timezone.now() if state == State.RETIRED else None
    version.save(update_fields=["state", "retired_at"])
    touch(version.rule)
    # A rule deleted before it was ever live may have been in shadow.
    if state == State.RETIRED:
        version.rule.versions.filter(state=State.SHADOW).update(
            state=State.RETIRED, retired_at=timezone.now()
        )
        ruleset_publish(principal=principal, reason=f"rule {version.rule_id} version {version.number}")


def _first_state(as_draft: bool) -> str:
    return State.DRAFT if as_draft or settings.REQUIRE_RULE_APPROVAL else State.LIVE


def _decided_state() -> str:
    """Of a change with nothing left to word (a rollback, a deactivation): it is for approval straight away."""
    return State.PENDING_APPROVAL if settings.REQUIRE_RULE_APPROVAL else State.LIVE
