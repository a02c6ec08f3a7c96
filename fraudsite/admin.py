"""Staff's view of API keys: made here, shown once, revoked, never edited into something else."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from unfold.decorators import action, display

from fraudsite import staff_admin  # noqa: F401 - registers users and roles
from fraudsite.admin_site import WorkspaceModelAdmin, principal_of
from fraudsite.large_tables import LargeTableAdmin
from fraudsite.models import ApiKey, RecordView, Scope
from fraudsite.roles import Action
from fraudsite.services import api_key_create, api_key_revoke

_STATUS_COLOURS = {"active": "success", "expired": "warning", "revoked": "danger"}


class ApiKeyForm(forms.ModelForm):
    scopes = forms.MultipleChoiceField(choices=Scope.choices, widget=forms.CheckboxSelectMultiple)

    class Meta:
        model = ApiKey
        fields: ClassVar = ["name", "scopes", "expires_at"]

    def clean_expires_at(self) -> Any:
        expires_at = self.cleaned_data["expires_at"]
        if expires_at is not None and expires_at <= timezone.now():
            raise forms.ValidationError("That moment has passed: the key could never be used.")
        return expires_at


@admin.register(ApiKey)
class ApiKeyAdmin(WorkspaceModelAdmin):
    view_action = add_action = change_action = Action.KEYS_WRITE
    list_display = ("name", "prefix", "scope_names", "status", "last_used_at", "created_by", "created_at")
    search_fields = ("name", "prefix")
    actions = ("revoke",)
    _unchanging = ("prefix", "scopes", "created_by", "created_at", "revoked_at", "last_used_at")

    def get_form(self, request: HttpRequest, obj: ApiKey | None = None, **options: Any) -> Any:
        return super().get_form(request, obj, **options | ({} if obj else {"form": ApiKeyForm}))

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> list[str]:
        shown = ["name", "scopes", "expires_at"]
        return shown if obj is None else [*shown, *(name for name in self._unchanging if name not in shown)]

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        return () if obj is None else self._unchanging

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """A key is revoked, not deleted: the record of what it did must keep its name."""
        return False

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if change:
            obj.save(update_fields=["name", "expires_at"])
            return
        key, raw_key = api_key_create(
            name=obj.name,
            scopes=obj.scopes,
            created_by=principal_of(request),
            expires_at=obj.expires_at,
        )
        obj.__dict__.update(key.__dict__)
        obj.raw_key = raw_key

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: Any = None) -> HttpResponse:
        """The raw key is in this one answer and nowhere else: a message would keep it in a cookie."""
        context = self.admin_site.each_context(request) | {
            "title": "API key made",
            "key": obj,
            "raw_key": obj.raw_key,
            "opts": self.model._meta,
        }
        return TemplateResponse(request, "admin/fraudsite/apikey/made.html", context)

    @display(description="scopes")
    def scope_names(self, key: ApiKey) -> str:
        return "all" if set(key.scopes) == set(Scope.values) else ", ".join(key.scopes)

    @display(description="status", label=_STATUS_COLOURS)
    def status(self, key: ApiKey) -> str:
        if key.revoked_at is not None:
            return "revoked"
        return "active" if key.is_valid_at(timezone.now()) else "expired"

    @action(description="Revoke the selected keys")
    def revoke(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> None:
        revoked = sum(api_key_revoke(key=key) for key in keys)
        messages.success(request, f"{revoked} revoked; every process refuses them within two seconds.")


@admin.register(RecordView)
class RecordViewAdmin(LargeTableAdmin, WorkspaceModelAdmin):
    """Who of staff looked at whose records, newest first."""

    view_action = Action.AUDIT_READ
    list_display = ("viewed_at", "viewed_by", "kind", "subject", "user_id", "address")
    list_filter = ("kind", "viewed_at")
    exact_search = ("viewed_by", "subject", "user_id")
    search_help_text = "Who looked, a customer, or a whole id"
