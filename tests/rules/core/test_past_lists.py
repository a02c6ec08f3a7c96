"""What lists held in earlier versions, and which of them an event sees."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta

import pytest

from rules.core.errors import EvaluationFailed
from rules.core.lists import ListEntries, Lists, Span
from rules.core.past_lists import LISTS_VERSION, ListHistory, PastLists

T = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
HISTORY = ListHistory(False, {"ann": [Span(None, 2, 4), Span(T, 6)], "bob": [Span(None, 3)]})
NEWEST = Lists(
    {
        "watched": ListEntries({"ann": T, "bob": None}, is_case_sensitive=False),
        "same": ListEntries(["x"]),
    }
)
LISTS = PastLists(NEWEST, {"watched": [HISTORY]})


def holding(version: int | None, *, at: datetime = T - HOUR) -> list[str]:
    seen = LISTS.seen_by({} if version is None else {LISTS_VERSION: version})
    return [name for name in ("Ann", "bob") if seen.get("watched").contains(name, at)]


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
    assert LISTS.newest is NEWEST


def test_case_counts_as_it_did_in_the_list() -> None:
    seen = LISTS.seen_by({LISTS_VERSION: 2}).get("watched")
    assert seen.contains("ANN", T)
    assert seen.resembles("AN", 75, T)
    assert not seen.resembles("bob", 90, T)


def test_a_list_that_has_not_changed_is_the_newest_and_one_that_never_was_fails() -> None:
    seen = LISTS.seen_by({LISTS_VERSION: 2})
    assert seen.get("same") is LISTS.get("same")
    assert not LISTS.has_changed("same")
    with pytest.raises(EvaluationFailed):
        seen.get("none")


def test_of_lists_that_had_the_name_one_after_the_other_the_one_of_then_counts() -> None:
    before = ListHistory(True, {"cyd": [Span(None, 1, 3)]})
    after = ListHistory(False, {"bob": [Span(None, 5)]})
    lists = PastLists(Lists({"watched": ListEntries(["bob"])}), {"watched": [before, after]})

    def finds(version: int, text: str) -> bool:
        return lists.seen_by({LISTS_VERSION: version}).get("watched").contains(text, T)

    assert finds(2, "cyd")
    assert not finds(2, "Cyd")
    # Between the two there was none, which held nothing.
    assert not finds(4, "cyd")
    assert not finds(4, "bob")
    assert finds(5, "BOB")


def test_a_list_that_is_gone_holds_nothing_now_and_what_it_held_then() -> None:
    lists = PastLists(Lists(), {"gone": [ListHistory(True, {"cyd": [Span(None, 1, 3)]})]})
    assert "gone" in lists
    assert not lists.get("gone").contains("cyd", T)
    assert lists.seen_by({LISTS_VERSION: 2}).get("gone").contains("cyd", T)


@pytest.mark.parametrize("threshold", [None, 60.0])
@pytest.mark.parametrize("text", ["Ann", "bob", "bo", "x"])
def test_spans_say_of_every_moment_and_version_what_the_lists_say(text: str, threshold: float | None) -> None:
    def finds(lists: Lists, event: dict[str, int], at: datetime) -> bool:
        entries = lists.seen_by(event).get("watched")
        return entries.contains(text, at) if threshold is None else entries.resembles(text, threshold, at)

    for at in (T - HOUR, T):
        for version in range(1, 9):
            held = any(span.holds(version, at) for span in LISTS.spans("watched", text, threshold))
            assert held is finds(LISTS, {LISTS_VERSION: version}, at)
        held = any(span.holds(1, at) for span in NEWEST.spans("watched", text, threshold))
        assert held is finds(NEWEST, {}, at)


def test_they_know_whether_any_entry_ever_was_to_end() -> None:
    assert LISTS.expires("watched")
    assert not LISTS.expires("same")
    assert not PastLists(NEWEST, {"watched": [ListHistory(True, {"a": [Span(None, 1)]})]}).expires("watched")


def test_they_go_to_other_machines_as_they_are() -> None:
    seen = pickle.loads(pickle.dumps(LISTS)).seen_by({LISTS_VERSION: 3})
    assert seen.get("watched").contains("bob", T)
