"""Users and roles. What a role may is a choice of actions; Django's permissions per model are not used."""

from __future__ import annotations

from typing import Any

from axes.models import AccessAttempt
from django.contrib import admin, messages
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, Permission, User
from django.db.models import QuerySet
from django.http import HttpRequest
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice
from unfold.decorators import action, display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from fraudsite.admin_site import WorkspaceModelAdmin
from fraudsite.roles import Action, may
from fraudsite.services import api_keys_working
from fraudsite.two_factor import second_factor_remove
from fraudsite.unchanged_form import UnchangedForm


def action_permissions() -> QuerySet[Permission]:
    return Permission.objects.filter(
        content_type__app_label="fraudsite", content_type__model="workspace"
    ).order_by("codename")


class UsersOnly(WorkspaceModelAdmin):
    view_action = add_action = change_action = Action.USERS_WRITE


# Django's own pages for these; second factors are set up by their owners (see `fraudsite.two_factor`).
for model in (User, Group, TOTPDevice, StaticDevice):
    if admin.site.is_registered(model):
        admin.site.unregister(model)


class UserForm(UnchangedForm, UserChangeForm):
    """Somebody who was made inactive does not become active again by an old tab."""


class RoleFilter(admin.RelatedFieldListFilter):
    def __init__(self, field: Any, *args: Any, **options: Any) -> None:
        super().__init__(field, *args, **options)
        self.title = "role"


@admin.register(User)
class UserAdmin(UsersOnly, DjangoUserAdmin):
    """A user is made inactive, not deleted, and keeps their name: the record of what they did, and who may approve what
    they wrote, goes by it."""

    form = UserForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "first_name", "last_name", "role_names", "is_active", "last_login")
    list_filter = (("groups", RoleFilter), "is_active")
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Roles", {"fields": ("is_active", "is_staff", "groups", "seen")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = (
        (None, {"classes": ("wide",), "fields": ("username", "usable_password", "password1", "password2")}),
    )
    readonly_fields = ("last_login", "date_joined")
    filter_horizontal = ()
    actions = ("reset_second_factor",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups")

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        """Few enough to tick, where two lists side by side are too wide."""
        if db_field.name == "groups":
            options["widget"] = UnfoldAdminCheckboxSelectMultipleWidget
        field = super().formfield_for_manytomany(db_field, request, **options)
        if db_field.name == "groups" and field is not None:
            field.label, field.help_text = (
                "Roles",
                "Several are allowed: a person may do what any of them may.",
            )
        return field

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **options)
        if db_field.name == "groups" and isinstance(field.widget, RelatedFieldWidgetWrapper):
            # Without what adds "another group": roles have a page of their own.
            field.widget = field.widget.widget
        return field

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        shown = super().get_readonly_fields(request, obj)
        return shown if obj is None else ("username", *shown)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody but a superuser changes a superuser, or an administrator could take their place."""
        if obj is not None and obj.is_superuser and not request.user.is_superuser:
            return False
        return super().has_change_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if not change:
            obj.is_staff = True
        super().save_model(request, obj, form, change)
        if "is_active" in form.changed_data and not obj.is_active:
            _warn_of_keys(request, obj)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        if "groups" in form.changed_data:
            _tell_of_roles(request, form.instance)

    @action(description="Remove the second factor of the selected users")
    def reset_second_factor(self, request: HttpRequest, users: QuerySet[User]) -> None:
        chosen = [user for user in users if self.has_change_permission(request, user)]
        for user in chosen:
            second_factor_remove(user)
        messages.success(request, f"{len(chosen)} must set up a second factor again.")

    @display(description="roles")
    def role_names(self, user: User) -> str:
        names = [group.name for group in user.groups.all()]
        return ", ".join(["superuser", *names] if user.is_superuser else names)


def _warn_of_keys(request: HttpRequest, user: User) -> None:
    """Whoever leaves may have kept a key that they made. Revoking all of them would stop clients that use one."""
    if working := api_keys_working(f"user:{user.get_username()}"):
        names = ", ".join(f"{key.name} ({key.prefix})" for key in working)
        messages.warning(
            request,
            f"{user.get_username()} made API keys that still work: {names}. Revoke those they may have kept.",
        )


def _tell_of_roles(request: HttpRequest, user: User) -> None:
    """Not refused: each version takes two people all the same, and a second login is as easily made."""
    name = user.get_username()
    if may(user, Action.RULES_WRITE) and may(user, Action.RULES_APPROVE):
        messages.warning(
            request, f"{name} may now write rules and approve those of others. Nobody approves their own."
        )
    if user == request.user:
        messages.warning(request, "You changed what you may do yourself. The audit trail says so.")


@admin.register(Group)
class RoleAdmin(UsersOnly):
    form = UnchangedForm
    list_display = ("name", "actions_shown")
    search_fields = ("name",)
    delete_action = Action.USERS_WRITE

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        return super().get_queryset(request).prefetch_related("permissions")

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        if db_field.name == "permissions":
            options["queryset"] = action_permissions()
            options["widget"] = UnfoldAdminCheckboxSelectMultipleWidget
        field = super().formfield_for_manytomany(db_field, request, **options)
        if db_field.name == "permissions" and field is not None:
            field.label_from_instance = lambda permission: permission.name
            field.label, field.help_text = "May", ""
        return field

    @display(description="may")
    def actions_shown(self, role: Group) -> str:
        return "; ".join(sorted(each.name.removeprefix("Can ") for each in role.permissions.all()))


@admin.register(AccessAttempt)
class LockoutAdmin(WorkspaceModelAdmin):
    """Wrong passwords, by name and address. Deleting a row unlocks the pair."""

    view_action = delete_action = Action.USERS_WRITE
    list_display = ("username", "ip_address", "failures_since_start", "attempt_time")
    search_fields = ("username", "ip_address")
