"""Rules in the workspace: the builder's endpoints, versions, approval, rollback."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.urls import reverse

from rules.builder import place_in_words
from rules.models import RuleVersion
from rules.services import rule_update
from tests.admin.samples import LARGE, rule
from tests.staff import StaffClient, messages_of

pytestmark = pytest.mark.django_db


def save(client: StaffClient, document: Any, *, url: str = "", **more: Any) -> Any:
    return client.post(
        url or reverse("admin:rules_rule_add"), {"document": json.dumps(document), **more}, follow=True
    )


def test_it_saves_what_the_builder_wrote_and_puts_it_in_force() -> None:
    author = StaffClient("ada", "Rule author")
    response = save(author, LARGE)
    version = RuleVersion.objects.get()
    assert version.state == "live"
    assert version.authored_by == "user:ada"
    assert "Large amount: version 1 is in force" in messages_of(response)
    assert "amount is more than 1,000" in response.content.decode()
    does = response.content.decode().split("<h2>When it hits</h2>")[1].split("</section>")[0]
    assert "Send to review and open an alert" in does, "in the builder's words"
    assert ">high<" in does


def test_a_rule_s_page_says_what_is_doubtful_in_it() -> None:
    shown = rule(**LARGE | {"conditions": [{"field": "channel", "operator": "in", "value": ["ATM", "pos"]}]})
    page = StaffClient("ada", "Rule author").get(reverse("admin:rules_rule_change", args=[shown.rule_id]))
    told = page.content.decode()
    assert "condition 1" in told
    assert "channel is lower-case (did you mean &#x27;atm&#x27;?)" in told


def test_it_shows_again_what_was_refused_with_the_paths() -> None:
    author = StaffClient("ada", "Rule author")
    wrong = {**LARGE, "conditions": [{"field": "amont", "operator": "gt", "value": 1000}]}
    response = save(author, wrong)
    assert response.status_code == 400
    assert "conditions[0].field" in response.content.decode()
    assert "amont" in response.content.decode()
    assert not RuleVersion.objects.exists()


def test_it_takes_no_json_that_is_none() -> None:
    author = StaffClient("ada", "Rule author")
    response = author.post(reverse("admin:rules_rule_add"), {"document": "{"})
    assert response.status_code == 400
    assert not RuleVersion.objects.exists()


def test_it_tells_the_sentence_and_what_is_wrong_while_typing() -> None:
    author = StaffClient("ada", "Rule author")
    url = reverse("admin:rule_validate")
    good = author.post(url, json.dumps(LARGE), content_type="application/json").json()
    assert "amount is more than 1,000" in good["sentence"]
    assert good["problems"] == []
    unfinished = {**LARGE, "conditions": [{"field": "amount", "operator": "gt", "value": None}]}
    bad = author.post(url, json.dumps(unfinished), content_type="application/json").json()
    assert bad["sentence"] == ""
    assert [each["path"] for each in bad["problems"]] == ["conditions[0].value"]


def test_it_offers_every_field_operator_and_function_of_the_language() -> None:
    from rules.core.fields import FIELDS
    from rules.core.functions import AGGREGATES
    from rules.core.operators import OPERATORS

    html = StaffClient("ada", "Rule author").page(reverse("admin:rules_rule_add"))
    found = re.search(r'<script id="rule-choices" type="application/json">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    choices = json.loads(found[1])
    assert {each["name"] for each in choices["operators"]} == set(OPERATORS)
    assert {each["name"] for each in choices["aggregates"]} == set(AGGREGATES)
    assert {event: {each["name"] for each in fields} for event, fields in choices["fields"].items()} == {
        event: set(fields) for event, fields in FIELDS.items()
    }


def test_it_refuses_an_edit_of_a_version_that_is_not_the_newest() -> None:
    version = rule()
    author = StaffClient("ada", "Rule author")
    rule_update(rule_id=version.rule_id, changes={"priority": 7}, principal="user:other")
    url = reverse("admin:rule_edit", args=[version.rule_id])
    response = save(author, {**LARGE, "priority": 9}, url=url, base_version=1)
    assert response.status_code == 409
    told = response.content.decode()
    assert "at version 2" in told
    assert "Version 2 by user:other came in between" in told
    assert RuleVersion.objects.count() == 2
    # Saved once more, it is meant.
    (known,) = re.findall(r'name="base_version" value="(\d+)"', told)
    save(author, {**LARGE, "priority": 9}, url=url, base_version=int(known))
    assert RuleVersion.objects.count() == 3


def test_it_still_knows_the_version_after_a_mistake() -> None:
    version = rule()
    author = StaffClient("ada", "Rule author")
    url = reverse("admin:rule_edit", args=[version.rule_id])
    mistaken = save(author, {**LARGE, "priority": "high"}, url=url, base_version=1)
    assert mistaken.status_code == 400
    assert 'name="base_version" value="1"' in mistaken.content.decode()


def test_it_rolls_back_and_says_what_changed_in_words() -> None:
    version = rule()
    author = StaffClient("ada", "Rule author")
    changed = {"conditions": [{"field": "amount", "operator": "gt", "value": 9000}]}
    rule_update(rule_id=version.rule_id, changes=changed, principal="user:other")
    diff = author.page(reverse("admin:rule_diff", args=[version.rule_id]))
    assert "9,000" in diff
    assert "conditions[0].value" in diff
    response = author.post(reverse("admin:rule_move", args=[version.rule_id, 1, "rollback"]), follow=True)
    assert "Large amount: version 3 is in force" in messages_of(response)
    assert RuleVersion.objects.get(state="live").definition["conditions"][0]["value"] == 1000


def test_it_lets_another_person_approve_and_not_the_author(settings: Any) -> None:
    settings.REQUIRE_RULE_APPROVAL = True
    author = StaffClient("ada", "Rule author", "Approver")
    save(author, LARGE, and_submit="1")
    version = RuleVersion.objects.get()
    assert version.state == "pending_approval"
    approve = reverse("admin:rule_move", args=[version.rule_id, 1, "approve"])
    assert "Whoever wrote a version cannot approve it" in messages_of(author.post(approve, follow=True))
    waiting = author.page(reverse("admin:rules_waiting"))
    assert "another person approves" in waiting
    approver = StaffClient("grace", "Approver")
    assert approve in approver.page(reverse("admin:rules_waiting"))
    approver.post(approve, {"note": "looks right"})
    version.refresh_from_db()
    assert (version.state, version.reviewed_by, version.review_note) == ("live", "user:grace", "looks right")


def test_it_takes_one_note_whatever_is_decided(settings: Any) -> None:
    settings.REQUIRE_RULE_APPROVAL = True
    save(StaffClient("ada", "Rule author"), LARGE, and_submit="1")
    waiting = StaffClient("grace", "Approver").page(reverse("admin:rules_waiting"))
    forms = [each for each in waiting.split("<form")[1:] if 'name="note"' in each]
    assert len(forms) == 1
    for move in ("approve", "shadow", "reject"):
        assert (
            f'formaction="{reverse("admin:rule_move", args=[RuleVersion.objects.get().rule_id, 1, move])}"'
            in forms[0]
        )


def test_it_says_of_a_version_that_waits_what_it_changes(settings: Any) -> None:
    version = rule()
    settings.REQUIRE_RULE_APPROVAL = True
    author = StaffClient("ada", "Rule author")
    address = reverse("admin:rules_rule_change", args=[version.rule_id])
    response = author.post(reverse("admin:rule_deactivate", args=[version.rule_id]), follow=True)
    assert "until then the rule is not switched off" in messages_of(response)
    beside = author.page(address).split("Beside it")[1].split("Try it on history")[0]
    assert "switched off" in beside
    waiting = StaffClient("grace", "Approver").page(reverse("admin:rules_waiting"))
    assert "Approve and switch off" in waiting
    assert "put in force" not in waiting
    assert "Try in shadow" not in waiting


def test_it_says_whose_place_switching_off_or_rolling_back_takes(settings: Any) -> None:
    version = rule()
    rule_update(rule_id=version.rule_id, changes={"priority": 3}, principal="user:other")
    author = StaffClient("ada", "Rule author")
    address = reverse("admin:rules_rule_change", args=[version.rule_id])
    assert "in place of version" not in author.page(address)
    settings.REQUIRE_RULE_APPROVAL = True
    rule_update(rule_id=version.rule_id, changes={"priority": 4}, principal="user:other")
    assert author.page(address).count("in place of version 3 (draft)") == 2
    author.post(reverse("admin:rule_deactivate", args=[version.rule_id]))
    assert "Switch off</button>" not in author.page(address), "it is asked for already"


def test_it_says_how_many_changes_it_does_not_show(settings: Any) -> None:
    version = rule()
    settings.REQUIRE_RULE_APPROVAL = True
    changes = {
        "name": "Another name",
        "description": "Another description",
        "rule_type": "other",
        "priority": 9,
        "trigger": ["transaction", "login"],
        "conditions": [{"field": "hour", "operator": "lt", "value": 5}],
        "actions": [{"action_type": "block", "parameters": {"risk_score": 99, "reason": "Night"}}],
        "is_active": False,
    }
    rule_update(rule_id=version.rule_id, changes=changes, principal="user:other")
    shown = StaffClient("ada", "Rule author").page(reverse("admin:rules_rule_change", args=[version.rule_id]))
    assert re.search(r"<li>and \d more</li>", shown)


def test_it_says_beside_a_roll_back_that_another_person_approves_it(settings: Any) -> None:
    version = rule()
    rule_update(rule_id=version.rule_id, changes={"priority": 4}, principal="user:maker")
    author = StaffClient("ada", "Rule author")
    address = reverse("admin:rules_rule_change", args=[version.rule_id])
    assert "another person approves it" not in author.page(address)
    settings.REQUIRE_RULE_APPROVAL = True
    assert "another person approves it" in author.page(address)


def test_it_tells_the_approver_what_is_doubtful(settings: Any) -> None:
    settings.REQUIRE_RULE_APPROVAL = True
    document = {**LARGE, "conditions": [{"field": "channel", "operator": "ne", "value": "ATM"}]}
    save(StaffClient("ada", "Rule author"), document, and_submit="1")
    html = StaffClient("grace", "Approver").page(reverse("admin:rules_waiting"))
    assert "take care" in html
    assert "always true" in html


def test_it_tries_a_version_in_shadow_and_rejects_it(settings: Any) -> None:
    settings.REQUIRE_RULE_APPROVAL = True
    save(StaffClient("ada", "Rule author"), LARGE, and_submit="1")
    version = RuleVersion.objects.get()
    approver = StaffClient("grace", "Approver")
    for move, state in (("shadow", "shadow"), ("reject", "rejected")):
        approver.post(reverse("admin:rule_move", args=[version.rule_id, 1, move]))
        version.refresh_from_db()
        assert version.state == state


@pytest.mark.parametrize(
    ("needs_approval", "told"),
    [
        (True, "Large amount: version 1 is kept as a draft; submit it for approval when it is ready."),
        (False, "Large amount: version 1 is kept as a draft; put it in force when it is ready."),
    ],
)
def test_it_keeps_a_draft_out_of_force_and_names_the_next_step(
    settings: Any, needs_approval: bool, told: str
) -> None:
    settings.REQUIRE_RULE_APPROVAL = needs_approval
    author = StaffClient("ada", "Rule author")
    assert told in messages_of(save(author, LARGE, as_draft="1"))
    assert RuleVersion.objects.get().state == "draft"


def test_it_names_states_in_words_when_a_move_is_not_possible(settings: Any) -> None:
    version = rule()
    settings.REQUIRE_RULE_APPROVAL = True
    approver = StaffClient("grace", "Approver")
    response = approver.post(reverse("admin:rule_move", args=[version.rule_id, 1, "approve"]), follow=True)
    assert "it must be waiting for approval or in shadow" in messages_of(response)


NIGHT = {
    "any": [
        {"field": "amount", "operator": "gt", "value": 5},
        {"field": "hour", "operator": "between", "value": [22, 5]},
    ]
}


def test_it_says_where_in_words_and_how_a_night_over_midnight_is_written(settings: Any) -> None:
    settings.BUSINESS_TIME_ZONE = "Africa/Lagos"
    author = StaffClient("ada", "Rule author")
    document = {**LARGE, "conditions": [*LARGE["conditions"], NIGHT]}
    url = reverse("admin:rule_validate")
    answer = author.post(url, json.dumps(document), content_type="application/json").json()
    (warning,) = answer["warnings"]
    assert warning.startswith(
        "condition 2, part 2: this is never true. No hour is at least 22 and at most 5."
    )
    assert "hour of day is at least 22, hour of day is at most 5" in warning
    assert answer["clock"] == "Hours and days of the week are those of Africa/Lagos."
    assert "Take care: condition 2, part 2: this is never true" in messages_of(save(author, document))
    without = author.post(url, json.dumps(LARGE), content_type="application/json").json()
    assert (without["warnings"], without["clock"]) == ([], "")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("conditions", "the rule as a whole"),
        ("conditions[2].any[1]", "condition 3, part 2"),
        ("conditions[0].not.all[0].filters", "condition 1, part 1, its filters"),
        (
            "conditions[0].value.aggregate.time_window",
            "condition 1, the figure it is compared with, its window",
        ),
    ],
)
def test_it_says_places_of_a_rule_in_words(path: str, words: str) -> None:
    assert place_in_words(path) == words


def test_it_switches_a_rule_off() -> None:
    version = rule()
    author = StaffClient("ada", "Rule author")
    author.post(reverse("admin:rule_deactivate", args=[version.rule_id]))
    assert not RuleVersion.objects.get(state="live").is_active
    assert "switched off" in author.page(reverse("admin:rules_rule_changelist"))


def test_it_answers_a_rule_that_is_not_there_with_a_page() -> None:
    response = StaffClient("ada", "Analyst").get(reverse("admin:rules_rule_change", args=[999]))
    assert response.status_code == 404
    assert "There is no rule 999" in response.content.decode()


def test_it_lists_rules_with_as_many_queries_however_many_there_are(
    django_assert_max_num_queries: Any,
) -> None:
    client = StaffClient("ada", "Analyst")
    for index in range(25):
        rule(f"Rule {index}")
    with django_assert_max_num_queries(14):
        html = client.page(reverse("admin:rules_rule_changelist"))
    assert "Rule 24" in html
