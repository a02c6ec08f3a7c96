"""Results kept for a few seconds."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from fraudsite import short_cache
from fraudsite.short_cache import forget_kept, kept


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    forget_kept()
    yield
    forget_kept()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(short_cache.time, "monotonic", lambda: now[0])
    return now


def asked_while_made_anew(clock: list[float], *, age_s: float) -> str:
    """What a second thread is given while a first one makes it, when what is kept is this old."""
    kept("a", 5, lambda: "old")
    clock[0] += age_s
    answers: list[str] = []

    def make() -> str:
        other = threading.Thread(target=lambda: answers.append(kept("a", 5, lambda: "the other's")))
        other.start()
        other.join(10)
        return "new"

    assert kept("a", 5, make) == "new"
    assert kept("a", 5, lambda: "never made") == "new"
    return answers[0]


def test_it_keeps_for_as_long_as_asked(clock: list[float]) -> None:
    assert kept("a", 5, lambda: 1) == 1
    clock[0] += 4.9
    assert kept("a", 5, lambda: 2) == 1
    clock[0] += 0.2
    assert kept("a", 5, lambda: 3) == 3


def test_one_thread_makes_it_anew_and_the_others_take_what_was_kept(clock: list[float]) -> None:
    assert asked_while_made_anew(clock, age_s=6) == "old"


def test_nobody_is_given_what_is_twice_as_old(clock: list[float]) -> None:
    assert asked_while_made_anew(clock, age_s=11) == "the other's"


def test_what_fails_is_not_kept(clock: list[float]) -> None:
    kept("a", 5, lambda: "old")
    clock[0] += 6

    def fail() -> str:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        kept("a", 5, fail)
    assert kept("a", 5, lambda: "new") == "new"
