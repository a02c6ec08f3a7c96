"""Named lists as the rules see them: immutable snapshots of entries, handed in by the caller."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple, Protocol

from rapidfuzz import fuzz, process

from rules.core.errors import EvaluationFailed
from rules.core.values import Event


class Span(NamedTuple):
    """When an entry holds: until `expires_at` (None: for good), in the versions of the lists from `added_in` until
    before `removed_in` (None: to the newest)."""

    expires_at: datetime | None
    added_in: int = 0
    removed_in: int | None = None

    def holds(self, version: int, at: datetime | None) -> bool:
        if version < self.added_in or (self.removed_in is not None and version >= self.removed_in):
            return False
        return self.expires_at is None or at is None or at < self.expires_at


class Entries(Protocol):
    """What comparisons ask of a list."""

    def contains(self, text: str, at: datetime | None) -> bool:
        """Whether `text` is an entry that holds `at` that instant (an entry has expired from its end on)."""

    def resembles(self, text: str, threshold: float, at: datetime | None) -> bool:
        """Whether an entry that holds has a rapidfuzz ratio (0–100) to `text` of at least `threshold`."""


def resembling(text: str, choices: Iterable[str], threshold: float) -> Iterator[str]:
    """The choices with a rapidfuzz ratio (0–100) to `text` of at least `threshold`."""
    matches = process.extract_iter(text, choices, scorer=fuzz.ratio, score_cutoff=threshold)
    return (choice for choice, _score, _index in matches)


class ListEntries:
    """The entries of one named list: text → until when it holds (None: for good).

    `is_case_sensitive` false folds case on both sides, of exact and of fuzzy matches.
    """

    __slots__ = ("_choices", "_expires_at", "is_case_sensitive")

    def __init__(
        self,
        entries: Mapping[str, datetime | None] | Iterable[str],
        *,
        is_case_sensitive: bool = True,
    ) -> None:
        given = entries if isinstance(entries, Mapping) else dict.fromkeys(entries)
        self.is_case_sensitive = is_case_sensitive
        self._expires_at: dict[str, datetime | None] = {}
        for text, expires_at in given.items():
            folded = self._fold(text)
            known = self._expires_at.get(folded, expires_at)
            longest = None if known is None or expires_at is None else max(known, expires_at)
            self._expires_at[folded] = longest
        self._choices = tuple(self._expires_at)

    def _fold(self, text: str) -> str:
        return text if self.is_case_sensitive else text.casefold()

    def __len__(self) -> int:
        return len(self._choices)

    @property
    def expires(self) -> bool:
        """Whether any entry ends: else membership is the same at all times."""
        return any(end is not None for end in self._expires_at.values())

    def contains(self, text: str, at: datetime | None) -> bool:
        folded = self._fold(text)
        if folded not in self._expires_at:
            return False
        return self._holds(folded, at)

    def _holds(self, folded: str, at: datetime | None) -> bool:
        expires_at = self._expires_at[folded]
        return expires_at is None or at is None or at < expires_at

    def resembles(self, text: str, threshold: float, at: datetime | None) -> bool:
        return any(self._holds(each, at) for each in resembling(self._fold(text), self._choices, threshold))

    def spans(self, text: str, threshold: float | None = None) -> list[Span]:
        """Of the entries that are `text`, or (with a threshold) resemble it."""
        folded = self._fold(text)
        if threshold is None:
            return [Span(self._expires_at[folded])] if folded in self._expires_at else []
        return [Span(self._expires_at[each]) for each in resembling(folded, self._choices, threshold)]


class Lists:
    """Every named list at one moment. A list a rule names but that is not here makes that rule fail, not pass."""

    __slots__ = ("_by_name",)

    def __init__(self, by_name: Mapping[str, Entries] | None = None) -> None:
        self._by_name = dict(by_name or {})

    def get(self, name: str) -> Entries:
        try:
            return self._by_name[name]
        except KeyError:
            raise EvaluationFailed(f"there is no list named {name!r}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    @property
    def newest(self) -> Lists:
        return self

    def seen_by(self, current: Event) -> Lists:
        """What the evaluation of `current` looks up: these, whatever it is, since they know of one moment only."""
        return self

    def has_changed(self, name: str) -> bool:
        """Whether what is found under this name depends on what `seen_by` is told."""
        return False

    def expires(self, name: str) -> bool:
        """Whether what is found under this name depends on the moment."""
        found = self._by_name.get(name)
        return isinstance(found, ListEntries) and found.expires

    def spans(self, name: str, text: str, threshold: float | None = None) -> list[Span]:
        """Everything that ever made `text` (or, with a threshold, what resembles it) a member of the list."""
        found = self.get(name)
        if not isinstance(found, ListEntries):
            raise TypeError(f"list {name!r} is one moment's view")
        return found.spans(text, threshold)


NO_LISTS = Lists()
