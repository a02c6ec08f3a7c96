"""The documents about the language are true of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from rules.core.features import features_of
from rules.core.fields import FIELDS
from rules.core.functions import AGGREGATES
from rules.core.operators import OPERATORS
from rules.core.parse import parse_rule
from rules.core.reference_docs import main, reference
from rules.core.wording import describe_rule
from tests.rules.core.build import counting, rule

DOCS = Path(__file__).parents[3] / "docs"
COOKBOOK = re.findall(
    r"^## (\d+\. .*?)$.*?^```json\n(.*?)^```\n\n> (.*?)$",
    (DOCS / "cookbook.md").read_text("utf-8"),
    re.S | re.M,
)


def test_the_reference_is_current():
    """Rewrite it with `python -m rules.core.reference_docs docs/rule-language.md`."""
    assert (DOCS / "rule-language.md").read_text("utf-8") == reference()


def test_the_reference_leaves_nothing_out():
    text = reference()

    for name in (*OPERATORS, *AGGREGATES, *(name for fields in FIELDS.values() for name in fields)):
        assert f"`{name}`" in text


def test_the_reference_can_be_rewritten(tmp_path, capsys):
    main([str(tmp_path / "reference.md")])
    main([])

    assert (tmp_path / "reference.md").read_text("utf-8") == capsys.readouterr().out == reference()


def test_the_cookbook_has_twenty_rules():
    assert [title.partition(".")[0] for title, _, _ in COOKBOOK] == [str(number) for number in range(1, 21)]
    assert len({json.loads(written)["name"] for _, written, _ in COOKBOOK}) == 20


@pytest.mark.parametrize(("title", "written", "sentence"), COOKBOOK, ids=[title for title, _, _ in COOKBOOK])
def test_a_rule_of_the_cookbook_is_valid_and_reads_as_it_says(title, written, sentence):
    parsed = parse_rule(json.loads(written), lists=["watched_names", "payroll_accounts"])

    assert parsed.warnings == ()
    assert describe_rule(parsed.rule) == sentence


def test_features_name_what_a_rule_needs():
    written = rule(
        counting("gt", 1, time_window="24h"), counting("gt", 5, time_window="7d"), counting("gt", 5, last=3)
    )

    (feature,) = features_of(written)

    assert (feature["event"], feature["group_by"], feature["filters"]) == ("transaction", ["user_id"], [])
    assert [each["window"] for each in feature["aggregates"]] == ["24h", "7d", "last 3"]
    assert re.fullmatch("[0-9a-f]{16}", feature["id"])
    assert feature["id"] == features_of(rule(counting("lt", 9)))[0]["id"]
