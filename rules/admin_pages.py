"""The rule pages of the workspace: the builder, a rule with its versions, what changed, and its way into force."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from django.views.decorators.http import require_POST

from fraudsite import json_body
from fraudsite.admin_site import number_of, page, principal_of, render, require, told
from fraudsite.errors import Conflict, DomainError, FieldError, Missing, errors_body
from fraudsite.exact_json import to_json
from fraudsite.roles import Action, may
from rules import approval, selectors, services
from rules.builder import ACTION_LABELS, builder_choices, clock_note, empty_document, warning_words
from rules.core.errors import RuleErrors
from rules.core.features import features_of
from rules.core.parse import parse_rule
from rules.core.wording import describe_rule
from rules.diff import change_words, changed_paths
from rules.models import Rule, RuleVersion

State = RuleVersion.State
# Of a version; how many more there are is said.
SHOWN_CHANGES = 6
# The order and the words of the buttons on a version; who may press them, and the colour.
BUTTONS: dict[str, tuple[str, Action, str]] = {
    "submit": ("Submit for approval", Action.RULES_WRITE, "primary"),
    "approve": ("Approve and put in force", Action.RULES_APPROVE, "primary"),
    "shadow": ("Try in shadow", Action.RULES_APPROVE, "plain"),
    "reject": ("Reject", Action.RULES_APPROVE, "danger"),
    "retire": ("Withdraw", Action.RULES_WRITE, "plain"),
}


def rule_add(request: HttpRequest) -> HttpResponse:
    """The builder with nothing in it, or with a copy of `?copy=<rule id>`."""
    require(request, Action.RULES_WRITE)
    if request.method == "POST":
        return _save(request, rule=None)
    document = empty_document()
    if copied := number_of(request.GET.get("copy", "")):
        document = selectors.version_shown(selectors.rule_get(copied)).definition
        document = document | {"name": f"Copy of {document['name']}"[:120]}
    return _builder(request, document, rule=None)


@page("rules/rule/<int:rule_id>/edit/", name="rule_edit", action=Action.RULES_WRITE)
def rule_edit(request: HttpRequest, rule_id: int) -> HttpResponse:
    rule = selectors.rule_get(rule_id)
    if request.method == "POST":
        return _save(request, rule=rule)
    base = _newest(rule)
    return _builder(request, base.definition, rule=rule, base=base)


@page("rules/validate/", name="rule_validate")
@require_POST
def rule_validate(request: HttpRequest) -> HttpResponse:
    """What the builder shows while one types: the sentence, or what is wrong and where."""
    try:
        document = json_body.decode(request.body)
        parsed = services.rule_validate(document)
    except json_body.JsonBodyError as error:
        return _problems([FieldError(error.path, error.message)])
    except DomainError as error:
        return _problems(error.errors or [FieldError("$", error.detail)])
    return JsonResponse(
        {
            "sentence": describe_rule(parsed.rule),
            "problems": [],
            "warnings": [warning_words(document, each) for each in parsed.warnings],
            "clock": clock_note(document),
            "counts": [reader["text"] for each in features_of(parsed.rule) for reader in each["aggregates"]],
        }
    )


def rule_page(request: HttpRequest, rule_id: int) -> HttpResponse:
    """One rule: what stands, what waits, every version, and what may be done with each."""
    require(request, Action.READ)
    rule = selectors.rule_get(rule_id)
    versions = list(rule.versions.order_by("-number")[:100])
    shown = next((each for each in versions if each.state == State.LIVE), versions[0])
    return render(
        request,
        "workspace/rules/rule.html",
        title=rule.name,
        rule=rule,
        shown=shown,
        sentence=sentence_of(shown),
        doubts=doubts_of(shown),
        # Any newer wording takes its place.
        begun=next(
            (each for each in versions if each.state in selectors.OPEN_STATES and each != shown), None
        ),
        actions=shown.definition["actions"],
        action_labels=ACTION_LABELS,
        waiting=[
            _version_row(request, each, previous=shown if each.number != shown.number else None)
            for each in versions
            if each.state in (State.DRAFT, State.PENDING_APPROVAL, State.SHADOW)
        ],
        versions=[_version_row(request, each, previous=_before(versions, each)) for each in versions],
        may_write=may(request.user, Action.RULES_WRITE),
        needs_approval=settings.REQUIRE_RULE_APPROVAL,
    )


@page("rules/rule/<int:rule_id>/versions/<int:number>/<str:move>/", name="rule_move")
@require_POST
def rule_move(request: HttpRequest, rule_id: int, number: int, move: str) -> HttpResponse:
    """Submit, approve, reject, shadow, withdraw or roll back to a version."""
    if move == "rollback":
        require(request, Action.RULES_WRITE)
        return _moved(request, rule_id, lambda: _rollback(request, rule_id, number))
    if move not in BUTTONS:
        raise Missing(f"There is no move {move!r}.")
    require(request, BUTTONS[move][1])
    options: dict[str, Any] = {"rule_id": rule_id, "number": number}
    if move != "submit":
        options["principal"] = principal_of(request)
    if move in ("approve", "reject", "shadow"):
        options["note"] = request.POST.get("note", "").strip()
    service = getattr(approval, f"version_{move}")
    return _moved(request, rule_id, lambda: _said(service(**options)))


@page("rules/rule/<int:rule_id>/deactivate/", name="rule_deactivate", action=Action.RULES_WRITE)
@require_POST
def rule_deactivate(request: HttpRequest, rule_id: int) -> HttpResponse:
    return _moved(
        request,
        rule_id,
        lambda: _said(services.rule_deactivate(rule_id=rule_id, principal=principal_of(request))),
    )


@page("rules/rule/<int:rule_id>/diff/", name="rule_diff")
def rule_diff(request: HttpRequest, rule_id: int) -> HttpResponse:
    """What changed between two versions, in words and place by place."""
    rule = selectors.rule_get(rule_id)
    numbers = list(rule.versions.order_by("-number").values_list("number", flat=True)[:200])
    newer = number_of(request.GET.get("to", "")) or numbers[0]
    older = number_of(request.GET.get("from", "")) or max(newer - 1, 1)
    old, new = selectors.version_get(rule, older), selectors.version_get(rule, newer)
    return render(
        request,
        "workspace/rules/diff.html",
        title=f"{rule.name}: version {older} to {newer}",
        rule=rule,
        numbers=numbers,
        old=old,
        new=new,
        old_sentence=sentence_of(old),
        new_sentence=sentence_of(new),
        words=change_words(old, new),
        changes=list(changed_paths(old.definition, new.definition)),
    )


@page("rules/waiting/", name="rules_waiting")
def rules_waiting(request: HttpRequest) -> HttpResponse:
    """Everything that someone must look at: requests for approval, and versions in shadow."""
    rows = [
        _version_row(request, each, previous=live) | {"doubts": doubts_of(each)}
        for each, live in selectors.versions_to_review(limit=200)
    ]
    return render(request, "workspace/rules/waiting.html", title="Waiting for approval", rows=rows)


def sentence_of(version: RuleVersion) -> str:
    try:
        return describe_rule(parse_rule(version.definition).rule)
    except RuleErrors as error:
        return f"This wording is not valid any more: {error}"


def doubts_of(version: RuleVersion) -> list[str]:
    """What looks doubtful in the wording, as whoever saved it was told."""
    try:
        warnings = parse_rule(version.definition).warnings
    except RuleErrors:
        return []
    return [warning_words(version.definition, each) for each in warnings]


def _version_row(
    request: HttpRequest, version: RuleVersion, previous: RuleVersion | None = None
) -> dict[str, Any]:
    buttons = _buttons(request, version)
    changes = change_words(previous, version) if previous else []
    return {
        "version": version,
        "sentence": sentence_of(version),
        "changes": changes[:SHOWN_CHANGES],
        "more_changes": len(changes[SHOWN_CHANGES:]),
        "previous": previous,
        "buttons": buttons,
        "takes_note": any(each["takes_note"] and not each["refused"] for each in buttons),
        "may_roll_back": version.state in (State.RETIRED, State.REJECTED)
        and may(request.user, Action.RULES_WRITE),
    }


def _buttons(request: HttpRequest, version: RuleVersion) -> list[dict[str, Any]]:
    """The moves that the state allows and this person may make; the author's approval is shown as refused."""
    needs_approval = approval.needs_approval(version)
    moves = approval.MOVES if needs_approval else approval.MOVES_WITHOUT_APPROVAL
    is_author = approval.wrote(principal_of(request), version)
    return [
        {
            "move": move,
            "label": label if version.is_active or move != "approve" else "Approve and switch off",
            "style": style,
            "refused": "You wrote it: another person approves."
            if needs_approval and is_author and move in ("approve", "shadow")
            else "",
            "takes_note": move in ("approve", "reject", "shadow"),
        }
        for move, (label, action, style) in BUTTONS.items()
        if version.state in moves[move] and may(request.user, action) and _makes_sense(version, move)
    ]


def _makes_sense(version: RuleVersion, move: str) -> bool:
    if version.state in (State.LIVE, State.RETIRED, State.REJECTED):
        return False
    if move == "shadow":
        return version.is_active
    return move != "submit" or approval.needs_approval(version)


def _before(versions: list[RuleVersion], version: RuleVersion) -> RuleVersion | None:
    return next((each for each in versions if each.number < version.number), None)


def _newest(rule: Rule) -> RuleVersion:
    """What an edit goes on from: the draft, else the version that stands for the rule."""
    return selectors.version_waiting(rule) or selectors.version_shown(rule)


def _builder(
    request: HttpRequest,
    document: dict[str, Any],
    *,
    rule: Rule | None,
    base: RuleVersion | None = None,
    was_changed: bool = False,
    problems: list[FieldError] | None = None,
    status: int = 200,
) -> HttpResponse:
    """`base` is the version that a save goes on from; `was_changed`: it came in between."""
    response = render(
        request,
        "workspace/rules/builder.html",
        title=f"Edit {rule.name}" if rule else "New rule",
        rule=rule,
        base=base,
        document=to_json(document).decode(),
        choices=builder_choices(),
        problems=errors_body(problems or ()),
        was_changed=was_changed,
        needs_approval=settings.REQUIRE_RULE_APPROVAL,
        may_read=True,
    )
    response.status_code = status
    return response


def _known_version(request: HttpRequest, rule: Rule | None) -> RuleVersion | None:
    """The version that the form was opened with."""
    number = number_of(request.POST.get("base_version", ""))
    return rule.versions.filter(number=number).first() if rule is not None else None


def _save(request: HttpRequest, *, rule: Rule | None) -> HttpResponse:
    raw = request.POST.get("document", "")
    try:
        document = json_body.decode(raw.encode())
    except json_body.JsonBodyError as error:
        return _builder(
            request,
            empty_document(),
            rule=rule,
            base=_known_version(request, rule),
            problems=[FieldError(error.path, error.message)],
            status=400,
        )
    as_draft = "as_draft" in request.POST
    try:
        saved = _store(request, rule, document, as_draft=as_draft)
    except DomainError as error:
        problems = list(error.errors) or [FieldError("$", error.detail)]
        shown = document if isinstance(document, dict) else empty_document()
        was_changed = rule is not None and any(each.path == "version" for each in problems)
        return _builder(
            request,
            shown,
            rule=rule,
            # Whoever saves once more has been told of the change in between.
            base=_newest(rule) if rule is not None and was_changed else _known_version(request, rule),
            was_changed=was_changed,
            problems=problems,
            status=409 if isinstance(error, Conflict) else 400,
        )
    if "and_submit" in request.POST and saved.version.state == State.DRAFT:
        version = saved.version
        approval.version_submit(rule_id=version.rule_id, number=version.number)
        saved.version.refresh_from_db()
    messages.success(request, _news(saved.version))
    for warning in saved.warnings:
        messages.warning(request, f"Take care: {warning_words(saved.version.definition, warning)}.")
    return HttpResponseRedirect(reverse("admin:rules_rule_change", args=[saved.version.rule_id]))


def _store(request: HttpRequest, rule: Rule | None, document: Any, *, as_draft: bool) -> services.Saved:
    principal = principal_of(request)
    if rule is None:
        return services.rule_create(document=document, principal=principal, as_draft=as_draft)
    known = number_of(request.POST.get("base_version", ""))
    if isinstance(document, dict) and known:
        document = document | {"version": known}
    return services.rule_update(rule_id=rule.pk, changes=document, principal=principal, as_draft=as_draft)


def _moved(request: HttpRequest, rule_id: int, move: Any) -> HttpResponse:
    try:
        messages.success(request, move())
    except DomainError as error:
        messages.error(request, told(error))
    target = request.POST.get("next") or reverse("admin:rules_rule_change", args=[rule_id])
    if not target.startswith(reverse("admin:index")):
        target = reverse("admin:rules_rule_change", args=[rule_id])
    return HttpResponseRedirect(target)


def _rollback(request: HttpRequest, rule_id: int, number: int) -> str:
    return _news(
        services.rule_rollback(rule_id=rule_id, number=number, principal=principal_of(request)).version
    )


def _said(version: RuleVersion) -> str:
    version.refresh_from_db()
    return _news(version)


def _news(version: RuleVersion) -> str:
    what = {
        State.LIVE: "is in force" if version.is_active else "is in force: the rule is switched off",
        State.DRAFT: "is kept as a draft; "
        + ("submit it for approval" if approval.needs_approval(version) else "put it in force")
        + " when it is ready",
        State.PENDING_APPROVAL: "waits for approval by another person"
        + ("" if version.is_active else "; until then the rule is not switched off"),
        State.SHADOW: "is evaluated in shadow, without effect",
        State.REJECTED: "was rejected",
        State.RETIRED: "was withdrawn",
    }[State(version.state)]
    return f"{version.definition['name']}: version {version.number} {what}."


def _problems(problems: Any) -> JsonResponse:
    return JsonResponse(
        {
            "sentence": "",
            "warnings": [],
            "clock": "",
            "counts": [],
            "problems": errors_body(problems),
        }
    )
