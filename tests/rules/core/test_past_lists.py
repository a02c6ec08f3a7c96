"""What lists held in earlier versions, and which of them an event sees."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta

import pytest

from rules.core.errors import EvaluationFailed
from rules.core.lists import ListEntries
from rules.core.past_lists import LISTS_VERSION, ListHistory, PastLists, Span

T = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
HISTORY = ListHistory(
    2, None, False, {"ann": [Span(2, 4, None), Span(6, None, T)], "bob": [Span(3, None, None)]}
)
LISTS = PastLists(
    {"watched": ListEntries({"ann": T, "bob": None}), "same": ListEntries(["x"])}, {"watched": [HISTORY]}
)


def holding(version: int | None, *, at: datetime = T - HOUR) -> list[str]:
    seen = LISTS.seen_by({} if version is None else {LISTS_VERSION: version})
    return [name for name in ("Ann", "bob") if seen.get("watched").contains(name.casefold(), at)]


@pytest.mark.parametrize(
    ("version", "held"),
    [(1, []), (2, ["Ann"]), (3, ["Ann", "bob"]), (4, ["bob"]), (6, ["Ann", "bob"]), (9, ["Ann", "bob"])],
)
def test_a_version_holds_what_came_before_it_and_had_not_gone(version: int, held: list[str]) -> None:
    assert holding(version) == held


def test_an_entry_expires_as_it_was_to_expire_in_that_version() -> None:
    assert holding(3, at=T) == ["Ann", "bob"]
    assert holding(6, at=T) == ["bob"]


def test_an_event_that_names_no_version_sees_the_newest() -> None:
    assert holding(None) == ["Ann", "bob"]
    assert holding(None, at=T) == ["bob"]
    assert LISTS.seen_by({}) is LISTS


def test_case_counts_as_it_did_in_the_list() -> None:
    seen = LISTS.seen_by({LISTS_VERSION: 2}).get("watched")
    assert seen.contains("ANN", T)
    assert seen.resembles("AN", 75, T)
    assert not seen.resembles("bob", 90, T)


def test_a_list_that_has_not_changed_is_the_newest_and_one_that_is_not_there_fails() -> None:
    seen = LISTS.seen_by({LISTS_VERSION: 2})
    assert seen.get("same") is LISTS.get("same")
    assert not LISTS.has_changed("same")
    with pytest.raises(EvaluationFailed):
        seen.get("none")


def test_of_lists_that_had_the_name_one_after_the_other_the_one_of_then_counts() -> None:
    before = ListHistory(1, 3, True, {"cyd": [Span(1, 3, None)]})
    lists = PastLists({"watched": ListEntries(["ann"])}, {"watched": [before, HISTORY._replace(added_in=5)]})

    def finds(version: int, text: str) -> bool:
        return lists.seen_by({LISTS_VERSION: version}).get("watched").contains(text, T)

    assert finds(2, "cyd")
    assert not finds(2, "Cyd")
    # Between the two there was none, which held nothing.
    assert not finds(4, "cyd")
    assert not finds(4, "bob")
    assert finds(5, "bob")


def test_they_go_to_other_machines_as_they_are() -> None:
    seen = pickle.loads(pickle.dumps(LISTS)).seen_by({LISTS_VERSION: 3})
    assert seen.get("watched").contains("bob", T)


def test_a_past_version_knows_how_many_entries_it_has_and_whether_any_ends() -> None:
    lengths = {version: len(LISTS.seen_by({LISTS_VERSION: version}).get("watched")) for version in (1, 3, 6)}
    assert lengths == {1: 0, 3: 2, 6: 2}
    assert [LISTS.seen_by({LISTS_VERSION: n}).get("watched").expires for n in (3, 6)] == [False, True]
