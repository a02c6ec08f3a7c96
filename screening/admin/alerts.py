"""Alerts and snoozes as lists; working them is working their case."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from fraudsite.admin_site import WorkspaceModelAdmin, number_of, principal_of, require, told
from fraudsite.errors import Conflict, DomainError, Missing
from fraudsite.large_tables import LargeTableAdmin
from fraudsite.roles import Action
from rules.models import Rule
from screening.alerts.models import Alert, Snooze
from screening.alerts.selectors import snoozes_running
from screening.alerts.services import snooze_create, snooze_end

SEVERITY_COLOURS = {"low": "info", "medium": "warning", "high": "danger", "critical": "danger"}


@admin.register(Alert)
class AlertAdmin(LargeTableAdmin, WorkspaceModelAdmin):
    """Newest first, repeats left out."""

    list_display = (
        "what",
        "severity_shown",
        "rule_name",
        "who",
        "case_shown",
        "status",
        "repeat_count",
        "occurred_at",
    )
    list_display_links = ("what",)
    list_filter = ("severity", "status")
    list_select_related = ("rule", "case", "transaction")
    exact_search = ("user_id", "account_id")
    search_order = "occurred_at"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Alert]:
        return super().get_queryset(request).filter(repeat_of=None).defer("transaction__metadata")

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        require(request, Action.READ)
        alert = Alert.objects.select_related("case", "transaction").filter(pk=number_of(object_id)).first()
        if alert is None:
            raise Missing("There is no such alert.")
        if alert.case is not None:
            return HttpResponseRedirect(reverse("admin:case", args=[alert.case.case_id]))
        if alert.transaction is not None:
            return HttpResponseRedirect(reverse("admin:transaction", args=[alert.transaction.transaction_id]))
        raise Missing("This alert is about to be joined to a case; look again in a moment.")

    @display(description="severity", label=SEVERITY_COLOURS)
    def severity_shown(self, alert: Alert) -> str:
        return alert.severity

    @display(description="what")
    def what(self, alert: Alert) -> str:
        return alert.reason or alert.signal or alert.get_kind_display()

    @display(description="rule")
    def rule_name(self, alert: Alert) -> str:
        return alert.rule.name if alert.rule else ""

    @display(description="account or user")
    def who(self, alert: Alert) -> str:
        return alert.account_id or alert.user_id or ""

    @display(description="case no.")
    def case_shown(self, alert: Alert) -> str:
        if alert.case is None:
            return ""
        return format_html(
            '<a href="{}">{}</a>', reverse("admin:case", args=[alert.case.case_id]), alert.case.pk
        )


class SnoozeForm(forms.ModelForm):
    rule = forms.ModelChoiceField(queryset=Rule.objects.order_by("name"), widget=UnfoldAdminSelectWidget)
    entity_type = forms.ChoiceField(
        choices=Snooze.EntityType.choices, label="of", widget=UnfoldAdminSelectWidget
    )
    entity_id = forms.CharField(max_length=128, label="whose id is", widget=UnfoldAdminTextInputWidget)
    days = forms.IntegerField(
        min_value=1, max_value=365, initial=7, help_text="how long", widget=UnfoldAdminTextInputWidget
    )
    reason = forms.CharField(max_length=500, widget=UnfoldAdminTextInputWidget)

    class Meta:
        model = Snooze
        fields: ClassVar = ["rule", "entity_type", "entity_id", "reason"]

    def clean(self) -> dict[str, Any]:
        """Said beside the form, with what was typed still in it; `snooze_create` has the last word."""
        given = super().clean() or self.cleaned_data
        if not self.errors:
            of = {name: given[name] for name in ("rule", "entity_type", "entity_id")}
            if running := snoozes_running(timezone.now()).filter(**of).first():
                until = f"{running.until:%-d %b %Y %H:%M} UTC"
                raise forms.ValidationError(
                    f"The rule is already snoozed for it, until {until}. End that first."
                )
        return given


@admin.register(Snooze)
class SnoozeAdmin(WorkspaceModelAdmin):
    """One rule quiet about one entity. Made and ended, never edited."""

    add_action = Action.CASES_WRITE
    list_display = ("rule", "entity_type", "entity_id", "until", "reason", "created_by", "ended_at")
    list_select_related = ("rule",)
    search_fields = ("entity_id",)
    actions = ("end",)
    form = SnoozeForm

    def save_model(self, request: HttpRequest, obj: Snooze, form: Any, change: bool) -> None:
        given = form.cleaned_data
        try:
            made = snooze_create(
                rule_id=given["rule"].pk,
                entity_type=given["entity_type"],
                entity_id=given["entity_id"],
                until=timezone.now() + timedelta(days=given["days"]),
                reason=given["reason"],
                principal=principal_of(request),
            )
        except DomainError as error:
            raise Conflict(told(error)) from error
        obj.__dict__.update(made.__dict__)

    @action(description="End the selected snoozes", permissions=["add"])
    def end(self, request: HttpRequest, snoozes: QuerySet[Snooze]) -> None:
        ended = 0
        for snooze in snoozes:
            try:
                snooze_end(snooze_id=snooze.pk, principal=principal_of(request))
                ended += 1
            except Conflict as error:
                messages.warning(request, error.detail)
        messages.success(request, f"{ended} ended.")
