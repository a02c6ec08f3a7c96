"""Moving a version through its states: draft → pending_approval → live | shadow → retired, or rejected.

Who wrote a version that needs approval, or any of what it goes on from that nobody approved, cannot put it in force;
the database refuses it too (`rule_version_author_is_not_approver`).
"""

from __future__ import annotations

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from fraudsite.errors import Conflict, Refused
from fraudsite.models import ApiKey
from rules.models import RulesetVersion, RuleVersion
from rules.ruleset import ruleset_lock, ruleset_publish
from rules.selectors import State, rule_get, version_get
from rules.services import make_live, rule_validate, touch

# What a state is called wherever people read it.
STATE_WORDS: dict[str, str] = {
    State.LIVE: "in force",
    State.DRAFT: "draft",
    State.PENDING_APPROVAL: "waiting for approval",
    State.SHADOW: "in shadow",
    State.REJECTED: "rejected",
    State.RETIRED: "retired",
}
# From which states each action may be taken.
MOVES: dict[str, tuple[str, ...]] = {
    "submit": (State.DRAFT,),
    "approve": (State.PENDING_APPROVAL, State.SHADOW),
    "reject": (State.PENDING_APPROVAL, State.SHADOW),
    "shadow": (State.PENDING_APPROVAL,),
    "retire": (State.DRAFT, State.PENDING_APPROVAL, State.SHADOW, State.REJECTED),
}
# Where nobody has to approve, a version may be tried out in shadow from any state: taking the live one out of
# force that way is no more than deactivating it.
MOVES_WITHOUT_APPROVAL: dict[str, tuple[str, ...]] = MOVES | {
    "approve": (State.DRAFT, State.PENDING_APPROVAL, State.SHADOW),
    "reject": (State.DRAFT, State.PENDING_APPROVAL, State.SHADOW),
    "shadow": (State.DRAFT, State.PENDING_APPROVAL, State.LIVE, State.RETIRED),
}


def version_submit(*, rule_id: int, number: int) -> RuleVersion:
    """Ask for approval of a draft. Who asked is in the audit trail alone."""
    with transaction.atomic():
        version = _locked(rule_id, number)
        if version.state != State.PENDING_APPROVAL:
            _check_move(version, "submit")
            _move(version, State.PENDING_APPROVAL)
    return version


def version_approve(*, rule_id: int, number: int, principal: str, note: str = "") -> RuleVersion:
    """Put a version in force, in place of the one that is."""
    with transaction.atomic():
        version = _locked(rule_id, number)
        if version.state == State.LIVE and version.reviewed_by == principal:
            return version
        _check_move(version, "approve")
        _check_undoes_nothing(version)
        _check_wording(version)
        _review(version, principal, note)
        make_live(version, principal=principal)
    return version


def version_reject(*, rule_id: int, number: int, principal: str, note: str = "") -> RuleVersion:
    """Refuse a version for good; the author makes a new one."""
    with transaction.atomic():
        version = _locked(rule_id, number)
        if version.state == State.REJECTED and version.reviewed_by == principal:
            return version
        _check_move(version, "reject")
        version.reviewed_by, version.review_note = principal, note
        was_shadow = version.state == State.SHADOW
        _move(version, State.REJECTED, "reviewed_by", "review_note")
        if was_shadow:
            _publish(version, principal)
    return version


def version_shadow(*, rule_id: int, number: int, principal: str, note: str = "") -> RuleVersion:
    """Evaluate a version without effect, beside the one in force; a shadow before it is retired."""
    with transaction.atomic():
        version = _locked(rule_id, number)
        if version.state == State.SHADOW:
            return version
        _check_move(version, "shadow")
        if not version.is_active:
            raise Conflict(f"Version {number} is not active: there is nothing to evaluate.")
        _check_wording(version)
        _review(version, principal, note)
        shadows = version.rule.versions.filter(state=State.SHADOW)
        shadows.update(state=State.RETIRED, retired_at=timezone.now())
        version.retired_at = None
        _move(version, State.SHADOW, "reviewed_by", "review_note", "needs_approval", "retired_at")
        _publish(version, principal)
    return version


def version_retire(*, rule_id: int, number: int, principal: str) -> RuleVersion:
    """Withdraw a version that is not in force. What is in force is replaced or the rule deactivated."""
    with transaction.atomic():
        version = _locked(rule_id, number)
        if version.state == State.RETIRED:
            return version
        _check_move(version, "retire")
        was_shadow = version.state == State.SHADOW
        version.retired_at = timezone.now()
        _move(version, State.RETIRED, "retired_at")
        if was_shadow:
            _publish(version, principal)
    return version


def _locked(rule_id: int, number: int) -> RuleVersion:
    ruleset_lock()
    return version_get(rule_get(rule_id), number)


def needs_approval(version: RuleVersion) -> bool:
    """Whether somebody who did not write it has to let it through."""
    return version.needs_approval or settings.REQUIRE_RULE_APPROVAL


def _check_move(version: RuleVersion, action: str) -> None:
    moves = MOVES if needs_approval(version) else MOVES_WITHOUT_APPROVAL
    if version.state not in moves[action]:
        allowed = " or ".join(STATE_WORDS[each] for each in moves[action])
        raise Conflict(
            f"Version {version.number} of rule {version.rule_id} is {STATE_WORDS[version.state]}; "
            f"to {action} it, it must be {allowed}."
        )


def _check_wording(version: RuleVersion) -> None:
    """What was written long ago may name a list that is gone. A rule must be possible to stop all the same."""
    if version.is_active:
        rule_validate(version.definition)


def _check_undoes_nothing(version: RuleVersion) -> None:
    """A draft is retired by a later edit, a shadow is not: approved afterwards it would silently take the edit back."""
    live = version.rule.versions.filter(state=State.LIVE).first()
    if version.state != State.SHADOW or live is None or live.live_from is None:
        return
    before = RulesetVersion.objects.filter(created_at__lt=live.live_from).order_by("-number").first()
    if before is not None and version.pk in before.shadow:
        raise Conflict(
            f"Version {live.number} came into force while version {version.number} was in shadow, and approving "
            f"that one would undo it. Roll back to version {version.number} if that is meant."
        )


def _review(version: RuleVersion, principal: str, note: str) -> None:
    """Note who let the version through, and refuse its author where approval is needed."""
    if needs_approval(version):
        if wrote(principal, version):
            raise Refused("Whoever wrote a version cannot approve it; another principal must.")
        version.needs_approval = True
    version.reviewed_by, version.review_note = principal, note


def wrote(principal: str, version: RuleVersion) -> bool:
    """Whether any of the version is in this principal's hand, that it would approve."""
    hands = _hands_of(principal)
    return any(hands & _hands_of(author) for author in (version.authored_by, *version.co_authors))


def _hands_of(principal: str) -> set[str]:
    """The principal itself and, of a key, the person who made it: keys that one person made for themselves are one
    hand. Keys made by a command are the operator's, who has the database too, and count as whoever holds them."""
    kind, _, prefix = principal.partition(":")
    if kind != "key":
        return {principal}
    makers = ApiKey.objects.filter(prefix=prefix).values_list("created_by", flat=True)
    return {principal, *(each for each in makers if each.startswith("user:"))}


def _move(version: RuleVersion, state: str, *fields: str) -> None:
    version.state = state
    version.save(update_fields=["state", *fields])
    touch(version.rule)


def _publish(version: RuleVersion, principal: str) -> None:
    ruleset_publish(
        principal=principal, reason=f"rule {version.rule_id} version {version.number}: {version.state}"
    )
