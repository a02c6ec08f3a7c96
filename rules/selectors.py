"""Reading rules, versions and rulesets; named lists are read in `rules.list_selectors`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import Case, IntegerField, Max, Q, QuerySet, Value, When

from fraudsite.errors import Missing
from rules.models import Rule, RulesetVersion, RuleVersion
from rules.ruleset import LoadedRuleset, ruleset_current
from rules.wording import in_written_order

State = RuleVersion.State
OPEN_STATES = (State.DRAFT, State.PENDING_APPROVAL)


def ruleset_current_number() -> int:
    """The number in force; 0 when nothing was ever published."""
    return RulesetVersion.objects.aggregate(number=Max("number"))["number"] or 0


def rules_in_force() -> int:
    """How many rules are evaluated with effect. None: every payment is approved."""
    ruleset = ruleset_current()
    return len(ruleset.live) if ruleset else 0


def ruleset_load(number: int | None = None) -> LoadedRuleset:
    """A ruleset with its versions in the order of evaluation: two queries. None: the one in force."""
    rulesets = RulesetVersion.objects.order_by("-number")
    ruleset = (rulesets if number is None else rulesets.filter(number=number)).first()
    if ruleset is None:
        if number:
            raise Missing(f"There is no ruleset {number}.")
        return LoadedRuleset(0, 0, (), ())
    ids = [*ruleset.live, *ruleset.shadow]
    by_id = RuleVersion.objects.select_related("rule").in_bulk(ids)
    return LoadedRuleset(
        ruleset.number,
        ruleset.lists_version,
        tuple(by_id[each] for each in ruleset.live),
        tuple(by_id[each] for each in ruleset.shadow),
    )


def rule_get(rule_id: int) -> Rule:
    rule = Rule.objects.filter(pk=rule_id).first()
    if rule is None:
        raise Missing(f"There is no rule {rule_id}.")
    return rule


def version_get(rule: Rule, number: int) -> RuleVersion:
    version = rule.versions.filter(number=number).first()
    if version is None:
        raise Missing(f"Rule {rule.pk} has no version {number}.")
    version.rule = rule
    return version


def versions_shown() -> QuerySet[RuleVersion]:
    """One version of each rule, the one that stands for it: the live one, else the newest."""
    rank = Case(When(state=State.LIVE, then=Value(0)), default=Value(1), output_field=IntegerField())
    chosen = (
        RuleVersion.objects.annotate(rank=rank)
        .order_by("rule_id", "rank", "-number")
        .distinct("rule_id")
        .values("pk")
    )
    return RuleVersion.objects.filter(pk__in=chosen).select_related("rule")


def version_shown(rule: Rule) -> RuleVersion:
    return versions_shown().get(rule=rule)


def version_waiting(rule: Rule) -> RuleVersion | None:
    """The draft or request that is not in force yet; None when nothing waits."""
    return rule.versions.filter(state__in=OPEN_STATES).order_by("-number").first()


def versions_to_review(*, limit: int) -> list[tuple[RuleVersion, RuleVersion | None]]:
    """The oldest of those that wait for approval or are in shadow, each with the version it would replace."""
    waiting = RuleVersion.objects.filter(state__in=[State.PENDING_APPROVAL, State.SHADOW])
    shown = list(waiting.select_related("rule").order_by("created_at")[:limit])
    replaced = RuleVersion.objects.filter(state=State.LIVE, rule__in=[each.rule_id for each in shown])
    by_rule = {each.rule_id: each for each in replaced.select_related("rule")}
    return [(each, by_rule.get(each.rule_id)) for each in shown]


def rule_bodies(versions: Iterable[RuleVersion]) -> list[dict[str, Any]]:
    """Rules as the API answers them, given the version that stands for each: one query for all the rest."""
    shown = list(versions)
    others = RuleVersion.objects.filter(
        Q(state__in=OPEN_STATES) | Q(state=State.SHADOW), rule_id__in=[each.rule_id for each in shown]
    ).only("rule_id", "number", "state", "authored_by", "created_at", "change_note")
    beside: dict[int, dict[str, RuleVersion]] = {}
    for other in others:
        slot = "shadow" if other.state == State.SHADOW else "pending"
        beside.setdefault(other.rule_id, {})[slot] = other
    return [_rule_body(each, beside.get(each.rule_id, {})) for each in shown]


def rule_body(version: RuleVersion) -> dict[str, Any]:
    return rule_bodies([version])[0]


def _rule_body(version: RuleVersion, beside: dict[str, RuleVersion]) -> dict[str, Any]:
    pending, shadow = beside.get("pending"), beside.get("shadow")
    return {
        "id": version.rule_id,
        **in_written_order(version.definition),
        "version": version.number,
        "is_active": version.is_active,
        "state": version.state,
        "in_force": version.state == State.LIVE and version.is_active,
        "authored_by": version.authored_by,
        "pending_version": _version_note(pending) if pending else None,
        "shadow_version": _version_note(shadow) if shadow else None,
        "created_at": version.rule.created_at,
        "updated_at": version.rule.updated_at,
    }


def _version_note(version: RuleVersion) -> dict[str, Any]:
    return {
        "version": version.number,
        "state": version.state,
        "authored_by": version.authored_by,
        "created_at": version.created_at,
        "change_note": version.change_note,
    }


def version_body(version: RuleVersion) -> dict[str, Any]:
    return {
        "rule_id": version.rule_id,
        "version": version.number,
        "state": version.state,
        "definition": in_written_order(version.definition),
        "authored_by": version.authored_by,
        "co_authors": version.co_authors,
        "needs_approval": version.needs_approval,
        "reviewed_by": version.reviewed_by,
        "review_note": version.review_note,
        "change_note": version.change_note,
        "created_at": version.created_at,
        "live_from": version.live_from,
        "retired_at": version.retired_at,
    }
