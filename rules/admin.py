"""Rules, rulesets and named lists in the admin. Rules are written in the builder (see `rules.admin_pages`)."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Case, IntegerField, OuterRef, QuerySet, Subquery, Value, When
from django.db.models.functions import JSONObject
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from unfold.decorators import display

from fraudsite.admin_site import WorkspaceModelAdmin, number_of
from fraudsite.roles import Action
from rules import admin_pages, lists_pages  # noqa: F401
from rules.approval import STATE_WORDS
from rules.models import Rule, RulesetVersion, RuleVersion

State = RuleVersion.State
STATE_COLOURS = {
    "in force": "success",
    "switched off": "default",
    "draft": "info",
    "waiting for approval": "warning",
    "in shadow": "info",
    "rejected": "danger",
    "retired": "default",
}


class _StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("live", "in force"),
            ("off", "switched off"),
            ("draft", "draft"),
            ("pending", "waiting for approval"),
            ("shadow", "in shadow"),
        ]

    def queryset(self, request: HttpRequest, rules: QuerySet[Rule]) -> QuerySet[Rule]:
        match self.value():
            case "live":
                return rules.filter(versions__state=State.LIVE, versions__is_active=True)
            case "off":
                return rules.exclude(versions__state=State.LIVE, versions__is_active=True)
            case "draft":
                return rules.filter(versions__state=State.DRAFT)
            case "pending":
                return rules.filter(versions__state=State.PENDING_APPROVAL)
            case "shadow":
                return rules.filter(versions__state=State.SHADOW)
        return rules


@admin.register(Rule)
class RuleAdmin(WorkspaceModelAdmin):
    add_action = Action.RULES_WRITE
    list_display = ("name", "kind", "priority", "standing", "waiting", "updated_at")
    list_filter = (_StateFilter,)
    search_fields = ("name", "versions__rule_type")
    ordering = ("name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Rule]:
        """With the version that stands for each rule, and the one that waits, as small JSON objects."""
        rank = Case(When(state=State.LIVE, then=Value(0)), default=Value(1), output_field=IntegerField())
        versions = RuleVersion.objects.filter(rule=OuterRef("pk"))
        shown = (
            versions.annotate(rank=rank)
            .order_by("rank", "-number")
            .values(
                data=JSONObject(
                    number="number",
                    rule_type="rule_type",
                    priority="priority",
                    state="state",
                    is_active="is_active",
                )
            )
        )
        waiting = versions.filter(state__in=[State.DRAFT, State.PENDING_APPROVAL, State.SHADOW])
        waiting = waiting.order_by("-number").values(data=JSONObject(number="number", state="state"))
        return super().get_queryset(request).annotate(shown=Subquery(shown[:1]), open=Subquery(waiting[:1]))

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        return admin_pages.rule_add(request)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        return admin_pages.rule_page(request, number_of(object_id))

    @display(description="type")
    def kind(self, rule: Any) -> str:
        return (rule.shown or {}).get("rule_type", "")

    @display(description="priority")
    def priority(self, rule: Any) -> int:
        return (rule.shown or {}).get("priority", 0)

    @display(description="state", label=STATE_COLOURS)
    def standing(self, rule: Any) -> str:
        return standing_words(rule.shown or {})

    @display(description="newer version", label=STATE_COLOURS)
    def waiting(self, rule: Any) -> str:
        if not rule.open or rule.open["number"] == (rule.shown or {}).get("number"):
            return ""
        return STATE_WORDS[rule.open["state"]]


def standing_words(shown: dict[str, Any]) -> str:
    if shown.get("state") == State.LIVE and not shown.get("is_active"):
        return "switched off"
    return STATE_WORDS[shown["state"]] if shown else ""


@admin.register(RulesetVersion)
class RulesetVersionAdmin(WorkspaceModelAdmin):
    list_display = ("number", "reason", "rules", "created_by", "created_at")
    search_fields = ("reason", "created_by")
    readonly_fields = ("number", "reason", "created_by", "created_at", "lists_version", "in_force")
    fields = readonly_fields

    @display(description="rules (in shadow)")
    def rules(self, ruleset: RulesetVersion) -> str:
        return f"{len(ruleset.live)} ({len(ruleset.shadow)})"

    @display(description="rules in force")
    def in_force(self, ruleset: RulesetVersion) -> str:
        versions = RuleVersion.objects.select_related("rule").in_bulk(ruleset.live)
        shown = [(each.rule.name, each.number) for each in (versions.get(pk) for pk in ruleset.live) if each]
        return format_html(
            "<ol class='fs-plain'>{}</ol>",
            format_html_join("", "<li>{} <span class='fs-muted'>version {}</span></li>", shown),
        )
