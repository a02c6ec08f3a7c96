"""What staff may do: roles are groups of actions, and the actions are the scopes of API keys and a few of their own.

A role is a `Group` made by migration; an administrator may give a person several. What is checked is always the
action (`may(user, Action.RULES_WRITE)`), never the role's name.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.db import models


class Action(models.TextChoices):
    """Each is the permission `fraudsite.<name>`; those that API keys know too are spelt as their scope is."""

    READ = "read", "see transactions, decisions, rules, cases and reports"
    TRANSACTIONS_WRITE = "transactions:write", "import transactions"
    RULES_WRITE = "rules:write", "write rules and submit them"
    RULES_APPROVE = "rules:approve", "approve, reject and shadow rules of others"
    LISTS_WRITE = "lists:write", "change named lists"
    SCREENING_WRITE = "screening:write", "run batches and backtests"
    CASES_WRITE = "cases:write", "work alerts and cases"
    CASES_DISPOSE = "cases:dispose", "close cases with a finding"
    WEBHOOKS_WRITE = "webhooks:write", "manage webhooks"
    REPORTS_WRITE = "reports:write", "run and schedule reports"
    AUDIT_READ = "audit:read", "read the audit trail"
    KEYS_WRITE = "keys:write", "make and revoke API keys"
    USERS_WRITE = "users:write", "manage users and their roles"

    @property
    def codename(self) -> str:
        return codename(self.value)

    @property
    def permission(self) -> str:
        return f"fraudsite.{self.codename}"


def codename(action: str) -> str:
    return action.replace(":", "_")


ROLES: dict[str, tuple[Action, ...]] = {
    "Analyst": (Action.READ, Action.CASES_WRITE, Action.SCREENING_WRITE),
    "Investigator": (Action.READ, Action.CASES_WRITE, Action.CASES_DISPOSE, Action.LISTS_WRITE),
    "Rule author": (Action.READ, Action.RULES_WRITE, Action.LISTS_WRITE, Action.SCREENING_WRITE),
    "Approver": (Action.READ, Action.RULES_APPROVE, Action.SCREENING_WRITE),
    "Auditor": (Action.READ, Action.AUDIT_READ),
    # Runs the system; what the rules say and how cases end is others' work.
    "Administrator": (
        Action.READ,
        Action.TRANSACTIONS_WRITE,
        Action.LISTS_WRITE,
        Action.SCREENING_WRITE,
        Action.WEBHOOKS_WRITE,
        Action.REPORTS_WRITE,
        Action.AUDIT_READ,
        Action.KEYS_WRITE,
        Action.USERS_WRITE,
    ),
}


# What lets somebody take a case out of the system as a file.
MAY_TAKE_CASE_FILES = (Action.CASES_WRITE, Action.AUDIT_READ)


def may(user: Any, *actions: str) -> bool:
    """Whether a member of staff may do one of these; a superuser may all."""
    if not (getattr(user, "is_active", False) and getattr(user, "is_staff", False)):
        return False
    return any(user.has_perm(f"fraudsite.{codename(action)}") for action in actions)


def staff_who_may(action: str) -> list[str]:
    """Active staff whose roles allow an action, superusers too, as the record names them."""
    # Of several backends Django asks to be told which one knows permissions.
    backend = "django.contrib.auth.backends.ModelBackend"
    users = get_user_model().objects.with_perm(f"fraudsite.{codename(action)}", backend=backend)
    names = users.filter(is_staff=True).order_by("username").values_list("username", flat=True)
    return [f"user:{name}" for name in names]


def roles_install(apps: Any) -> None:
    """Make the permissions and groups that are missing; `apps` is the registry of a migration or Django's own."""
    content_type, _made = apps.get_model("contenttypes", "ContentType").objects.get_or_create(
        app_label="fraudsite", model="workspace"
    )
    permission_model, group_model = apps.get_model("auth", "Permission"), apps.get_model("auth", "Group")
    permissions = {
        action: permission_model.objects.update_or_create(
            content_type=content_type, codename=action.codename, defaults={"name": f"Can {action.label}"}
        )[0]
        for action in Action
    }
    for name, actions in ROLES.items():
        group, was_made = group_model.objects.get_or_create(name=name)
        if was_made:
            group.permissions.set([permissions[action] for action in actions])
