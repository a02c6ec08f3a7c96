"""What an entry of the audit trail is about, as its readers call it: the rule, the list, the case, the person."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.urls import NoReverseMatch, reverse
from django_celery_beat.models import PeriodicTask

from fraudsite.models import ApiKey
from rules.models import NamedList, NamedListEntry, Rule, RuleVersion
from screening.cases.models import CaseEntry, CaseNote
from screening.models import Alert, Case, Snooze, Webhook

# Where a row is gone, or has no name: the first of its values that says most.
TELLING = ("name", "username", "transaction_id", "account_id", "entity_id", "title")


@dataclass(frozen=True, slots=True)
class Subject:
    text: str
    address: str = ""


@dataclass(frozen=True, slots=True)
class _Kind:
    """Rows of one table: how to find them, what each is called, and the name of its page with what that takes."""

    model: type[Model]
    text: Callable[[Any], str]
    page: Callable[[Any], tuple[str, Any]] | None = None
    beside: tuple[str, ...] = ()


def _case_page(case: Any) -> tuple[str, Any]:
    return "case", case.case_id


KINDS = {
    "rules_rule": _Kind(Rule, lambda rule: f"“{rule.name}”", lambda rule: ("rules_rule_change", rule.pk)),
    "rules_ruleversion": _Kind(
        RuleVersion,
        lambda version: f"“{version.rule.name}”, version {version.number}",
        lambda version: ("rules_rule_change", version.rule_id),
        ("rule",),
    ),
    "rules_namedlist": _Kind(NamedList, lambda found: found.name, lambda found: ("named_list", found.name)),
    "rules_namedlistentry": _Kind(
        NamedListEntry,
        lambda entry: f"{entry.value} on {entry.named_list.name}",
        lambda entry: ("named_list", entry.named_list.name),
        ("named_list",),
    ),
    "screening_case": _Kind(Case, lambda case: case.title, _case_page),
    "screening_casenote": _Kind(
        CaseNote, lambda note: f"on case {note.case_id}", lambda note: _case_page(note.case), ("case",)
    ),
    "screening_caseentry": _Kind(
        CaseEntry, lambda entry: f"of case {entry.case_id}", lambda entry: _case_page(entry.case), ("case",)
    ),
    "screening_alert": _Kind(Alert, lambda alert: alert.reason or alert.signal or ""),
    "screening_snooze": _Kind(
        Snooze, lambda snooze: f"“{snooze.rule.name}” of {snooze.entity_id}", None, ("rule",)
    ),
    "screening_webhook": _Kind(Webhook, lambda hook: hook.name),
    "fraudsite_apikey": _Kind(ApiKey, lambda key: key.name),
    "auth_user": _Kind(User, lambda user: user.username),
    "auth_group": _Kind(Group, lambda group: group.name),
    "auth_user_groups": _Kind(
        User.groups.through, lambda row: f"{row.group.name} of {row.user.username}", None, ("group", "user")
    ),
    "django_celery_beat_periodictask": _Kind(PeriodicTask, lambda task: task.name),
}


def with_subjects(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entries (`entry_body`) with the `subject` of each; one query a table, however many entries there are."""
    kept = list(entries)
    wanted: dict[str, set[int]] = defaultdict(set)
    for each in kept:
        if each["table"] in KINDS and each["row"].isdecimal():
            wanted[each["table"]].add(int(each["row"]))
    found = {
        (table, str(row.pk)): row
        for table, ids in wanted.items()
        for row in KINDS[table].model._default_manager.filter(pk__in=ids).select_related(*KINDS[table].beside)
    }
    return [each | {"subject": _subject(each, found.get((each["table"], each["row"])))} for each in kept]


def _subject(entry: dict[str, Any], row: Any) -> Subject:
    if row is None:
        values = entry["new"] or entry["old"] or {}
        return Subject(next((str(values[name]) for name in TELLING if values.get(name)), ""))
    kind = KINDS[entry["table"]]
    return Subject(kind.text(row), _address(kind.page(row)) if kind.page else "")


def _address(page: tuple[str, Any]) -> str:
    try:
        return reverse(f"admin:{page[0]}", args=[page[1]])
    except NoReverseMatch:
        return ""
