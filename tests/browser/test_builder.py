"""The rule builder loses nothing: what it opens it writes again as it was, and what is no number it says so."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from playwright.sync_api import Page, expect

from fraudsite.exact_json import from_json, to_json
from rules.core.documents import rule_to_document
from rules.core.parse import parse_rule
from rules.models import RuleVersion
from rules.pack import pack_entries
from rules.services import rule_create
from tests.admin.samples import LARGE
from tests.browser.test_story import at
from tests.reference import rule_documents
from tests.reference.chooser import RandomChooser
from tests.staff import staff

LogIn = Callable[..., Page]
GENERATED = 150
COUNT = {"aggregate_function": "count", "time_window": "24h"}
AWKWARD: tuple[dict[str, Any], ...] = (
    {"field": "merchant_name", "operator": "in", "value": ["Smith, Jones & Co", "A;B", " lead", "trail "]},
    {"field": "merchant_name", "operator": "not_in", "value": ["", "two\nlines", '"quoted"', "back\\slash"]},
    {"field": "merchant_name", "operator": "eq", "value": ""},
    {"field": "merchant_name", "operator": "eq", "value": " a\nb "},
    {"field": "merchant_name", "operator": "contains", "value": " , "},
    {"field": "metadata.code", "operator": "in", "value": [1, "2", True]},
    {"field": "metadata.code", "operator": "in", "value": [1, "1", "true", True, "1.50", 1.5]},
    {"field": "metadata.code", "operator": "in", "value": [False]},
    {"field": "metadata.code", "operator": "eq", "value": "12"},
    {"field": "metadata.code", "operator": "eq", "value": 999999999999999},
    {"field": "metadata.code", "operator": "ne", "value": False},
    {"field": "metadata.code", "operator": "eq", "value": " true"},
    {"field": "amount", "operator": "in", "value": ["123456789012345.0123456789", 1, "0.0000001"]},
    {"field": "amount", "operator": "between", "value": ["0.0000000001", "999999999999999.9999999999"]},
    {"field": "amount", "operator": "between", "value": [{"field": "base_amount", "times": 2}, 100]},
    {
        "field": "occurred_at",
        "operator": "between",
        "value": ["2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"],
    },
    {"field": "is_cnp", "operator": "in", "value": [True, False]},
    {"field": "ip_address", "operator": "in_cidr", "value": "10.0.0.0/8"},
    {"field": "ip_address", "operator": "in_cidr", "value": ["10.0.0.0/8"]},
    {"field": "user_id", "operator": "similar_to", "value": {"text": " a, b", "threshold": 62.5}},
    {"field": "user_id", "operator": "fuzzy_in_list", "value": {"list": "watched", "threshold": 80}},
    {"all": [{"field": "amount", "operator": "gt", "value": 1}]},
    {"not": {"any": [{"field": "amount", "operator": "gt", "value": 1}]}},
    {"not": {"all": [{"field": "amount", "operator": "gt", "value": 1}]}},
    {"not": {"not": {"field": "amount", "operator": "gt", "value": 1}}},
    {**COUNT, "operator": "in", "value": [1, 2]},
    {**COUNT, "time_window": "1440m", "operator": "gt", "value": 1, "delay": "60s", "exclude_current": True},
)


def documents() -> Iterator[dict[str, Any]]:
    """The pack's rules, generated ones, and what a box or a script would easily get wrong; as they are stored."""
    written = [dict(entry.document) for entry in pack_entries()]
    written += [rule_documents.rule(RandomChooser(seed), f"generated {seed}") for seed in range(GENERATED)]
    for condition in AWKWARD:
        written.append({**LARGE, "conditions": [condition]})
        written.append({**LARGE, "conditions": [condition, condition]})
    for document in written:
        yield from_json(to_json(rule_to_document(parse_rule(document).rule)).decode())


def show(page: Page, document: dict[str, Any]) -> None:
    """As if the builder had been opened with the rule."""
    page.evaluate(
        """text => {
          const source = document.getElementById("rule-document");
          source.value = text;
          source.dispatchEvent(new Event("change"));
        }""",
        to_json(document).decode(),
    )


def written(page: Page) -> Any:
    return from_json(page.locator("#rule-document").input_value())


def test_it_writes_every_rule_as_it_opened_it(log_in: LogIn) -> None:
    staff("ada", "Rule author")
    page = log_in("ada")
    page.goto("/admin/rules/rule/add/")
    opened = list(documents())
    # One after the other within the page: asking it from here takes longer than the builder does.
    again = page.evaluate(
        """texts => texts.map((text) => {
          const source = document.getElementById("rule-document");
          source.value = text;
          source.dispatchEvent(new Event("change"));
          const description = document.querySelector("input[data-path=description]");
          description.value = "Another description";
          description.dispatchEvent(new Event("input"));
          return source.value;
        })""",
        [to_json(document).decode() for document in opened],
    )
    for before, after in zip(opened, again, strict=True):
        assert from_json(after) == {**before, "description": "Another description"}, before["name"]


def test_it_saves_a_new_description_and_nothing_else(log_in: LogIn) -> None:
    conditions = [
        {"field": "merchant_name", "operator": "in", "value": ["Smith, Jones & Co", "A;B", " lead"]},
        {"field": "metadata.code", "operator": "in", "value": [1, "2", True]},
        {"field": "amount", "operator": "gt", "value": "0.1234567891"},
    ]
    before = rule_create(document={**LARGE, "conditions": conditions}, principal="user:api").version
    staff("ada", "Rule author")
    page = log_in("ada")
    page.goto(f"/admin/rules/rule/{before.rule_id}/edit/")
    at(page, "description").fill("What it is for")
    page.get_by_role("button", name="Save and put in force").click()
    page.wait_for_url("**/change/")
    after = RuleVersion.objects.get(state="live")
    assert after.number == 2
    assert after.definition == {**before.definition, "description": "What it is for"}


def test_it_keeps_the_lines_of_a_list_beside_one_that_is_added(log_in: LogIn) -> None:
    staff("ada", "Rule author")
    page = log_in("ada")
    page.goto("/admin/rules/rule/add/")
    values = ["Smith, Jones & Co", " lead", ""]
    show(page, {**LARGE, "conditions": [{"field": "merchant_name", "operator": "in", "value": values}]})
    box = at(page, "conditions[0].value")
    box.fill(box.input_value() + "\nA, B; C \n\n")
    assert written(page)["conditions"][0]["value"] == [*values, "A, B; C"]

    show(
        page, {**LARGE, "conditions": [{"field": "metadata.code", "operator": "in", "value": [1, "2", True]}]}
    )
    box = at(page, "conditions[0].value")
    box.fill(box.input_value() + "\n7\nseven")
    assert written(page)["conditions"][0]["value"] == [1, "2", True, 7, "seven"]
    kind = page.get_by_label("kind of value")
    expect(kind.locator("option:checked")).to_have_text("of several kinds")


def test_it_takes_commas_only_between_thousands_and_says_how_to_write_a_number(log_in: LogIn) -> None:
    staff("ada", "Rule author")
    page = log_in("ada")
    page.goto("/admin/rules/rule/add/")
    at(page, "name").fill("Numbers")
    value = at(page, "conditions[0].value")
    for given, number in (
        ("1,000,000.50", "1000000.5"),
        ("100,000", "100000"),
        ("0.50", "0.5"),
        (".5", "0.5"),
        ("+7", "7"),
        ("999999999999999.1234567891", "999999999999999.1234567891"),
    ):
        value.fill(given)
        assert Decimal(written(page)["conditions"][0]["value"]) == Decimal(number), given
        expect(page.locator("#rule-sentence")).to_contain_text("amount is more than")

    for given in ("0,5", "1,5", "100.000,50", "1,0000", "1 000", "₦100,000", "NaN", "ten", "1e400"):
        value.fill(given)
        value.blur()
        expect(value).to_have_attribute("aria-invalid", "true")
        expect(page.locator("#rule-sentence")).to_contain_text("One thing is not right")
        said = "is larger than any number" if given == "1e400" else "is no number: write it like"
        expect(page.locator("#rule-builder .fs-problem")).to_contain_text(f"“{given}” {said}")
    page.get_by_role("button", name="Save and put in force").click()
    expect(value).to_be_focused()
    assert not RuleVersion.objects.exists()


def test_it_sends_no_text_where_a_number_of_free_data_is_meant(log_in: LogIn) -> None:
    staff("ada", "Rule author")
    page = log_in("ada")
    page.goto("/admin/rules/rule/add/")
    show(page, {**LARGE, "conditions": [{"field": "metadata.code", "operator": "eq", "value": 5}]})
    at(page, "conditions[0].value").fill("0,5")
    at(page, "conditions[0].value").blur()
    expect(page.locator("#rule-builder .fs-problem")).to_contain_text("is no number")
    page.get_by_role("button", name="Save and put in force").click()
    expect(at(page, "conditions[0].value")).to_have_attribute("aria-invalid", "true")
    assert json.loads(page.locator("#rule-document").input_value())["conditions"][0]["value"] is None
    assert not RuleVersion.objects.exists()


def test_it_takes_the_first_click_on_a_button_when_an_empty_box_is_left_for_it(log_in: LogIn) -> None:
    staff("ada", "Rule author")
    page = log_in("ada")
    page.goto("/admin/rules/rule/add/")
    expect(page.locator("#rule-sentence")).to_contain_text("still to be filled in")
    at(page, "conditions[0].value").click()
    box = page.get_by_role("button", name="Add condition").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    expect(at(page, "conditions[0].value")).not_to_be_focused()
    page.mouse.up()
    expect(at(page, "conditions[1].value")).to_be_visible()
    # What is missing is said all the same, once the button is let go.
    expect(at(page, "conditions[0].value")).to_have_attribute("aria-invalid", "true")


def test_it_groups_by_own_data_and_says_in_words_what_is_counted(log_in: LogIn) -> None:
    staff("ada", "Rule author")
    page = log_in("ada")
    page.goto("/admin/rules/rule/add/")
    at(page, "name").fill("Shared address")
    at(page, "conditions[0].aggregate_function").select_option("distinct_count")
    at(page, "conditions[0].group_by[0]").select_option("metadata.")
    at(page, "conditions[0].group_by[0].name").fill("address.hash")
    at(page, "conditions[0].operator").select_option("gte")
    at(page, "conditions[0].value").fill("3")
    expect(page.locator("#rule-sentence")).to_contain_text("with the same metadata.address.hash")
    assert written(page)["conditions"][0]["group_by"] == ["metadata.address.hash"]

    page.get_by_role("button", name="as another field").click()
    at(page, "conditions[0].group_by[0].current").select_option("metadata.")
    at(page, "conditions[0].group_by[0].current.name").fill("billing.hash")
    assert written(page)["conditions"][0]["group_by"] == [{"metadata.address.hash": "metadata.billing.hash"}]
    expect(page.locator("#rule-sentence")).to_contain_text("this metadata.billing.hash")

    show(page, {**LARGE, "conditions": [{**COUNT, "field": "transaction_id", "operator": "gt", "value": 1}]})
    currency = at(page, "conditions[0].field")
    expect(currency.locator("option:checked")).to_have_text("in any currency")


def test_it_says_behind_the_box_what_a_number_is_of_and_offers_the_texts_there_are(log_in: LogIn) -> None:
    staff("ada", "Rule author")
    page = log_in("ada")
    page.goto("/admin/rules/rule/add/")
    line = page.locator("[data-path='conditions[0]']")
    for field, behind in (
        ("amount", "in its own currency"),
        ("base_amount", "NGN"),
        ("hour", "0 to 23"),
        ("weekday", "0 is Monday, 6 is Sunday"),
        ("country_code", "two capital letters"),
    ):
        at(page, "conditions[0].field").select_option(field)
        expect(line).to_contain_text(behind)

    at(page, "conditions[0].field").select_option("customer.risk_tier")
    at(page, "conditions[0].value").select_option("pep")
    assert written(page)["conditions"][0]["value"] == "pep"
    at(page, "conditions[0].operator").select_option("in")
    expect(line).to_contain_text("of low, medium, high, pep, sanctioned")

    for measure, behind in (
        ("seconds_since_last", "seconds"),
        ("speed_kmh_from_previous", "km/h"),
        ("max", "in its own currency"),
    ):
        at(page, "conditions[0].aggregate_function").select_option(measure)
        expect(line).to_contain_text(behind)


def test_it_keeps_the_focus_near_what_the_keyboard_removed(log_in: LogIn) -> None:
    staff("ada", "Rule author")
    page = log_in("ada")
    page.goto("/admin/rules/rule/add/")
    page.get_by_role("button", name="Add condition").press("Enter")
    remove = page.get_by_role("button", name="Remove this condition")
    expect(remove).to_have_count(2)
    remove.last.press("Enter")
    expect(remove).to_have_count(1)
    expect(page.get_by_role("button", name="Add condition")).to_be_focused()
