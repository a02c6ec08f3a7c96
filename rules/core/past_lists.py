"""Named lists with their past, for what is screened again with what was known then.

Each change of a list makes a new version of all of them, and each decision was made with one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from rules.core.lists import ListEntries, Lists
from rules.core.values import Event

# Beside an event that is screened again: the version of all lists that its decision was made with.
LISTS_VERSION = "lists.version"


class Span(NamedTuple):
    """An entry held in the versions from `added_in` until before `removed_in` (None: it still does)."""

    added_in: int
    removed_in: int | None
    expires_at: datetime | None

    def holds_in(self, version: int) -> bool:
        return self.added_in <= version and (self.removed_in is None or version < self.removed_in)


class PastEntries(ListEntries):
    """What one list held in one version: a view, since a list may be long and have changed often. `spans` are by
    folded text, all that the list ever had."""

    __slots__ = ("_spans", "_version")

    def __init__(
        self, spans: Mapping[str, Sequence[Span]], version: int, *, is_case_sensitive: bool = True
    ) -> None:
        self.is_case_sensitive = is_case_sensitive
        self._spans = spans
        self._version = version

    def _entries(self) -> Mapping[str, datetime | None]:
        return {
            text: span.expires_at
            for text, spans in self._spans.items()
            for span in spans
            if span.holds_in(self._version)
        }

    def __len__(self) -> int:
        return len(self._entries())

    @property
    def expires(self) -> bool:
        return any(end is not None for end in self._entries().values())

    def contains(self, text: str, at: datetime | None) -> bool:
        return self._holds(self._fold(text), at)

    def _texts(self) -> Iterable[str]:
        return self._spans.keys()

    def _holds(self, folded: str, at: datetime | None) -> bool:
        return any(
            span.holds_in(self._version) and (span.expires_at is None or at is None or at < span.expires_at)
            for span in self._spans.get(folded, ())
        )


class ListHistory(NamedTuple):
    """One list from its creation in `added_in` until before `removed_in`; another may have had its name before."""

    added_in: int
    removed_in: int | None
    is_case_sensitive: bool
    spans: Mapping[str, Sequence[Span]]


class PastLists(Lists):
    """Lists that know what some of them held before: an event with a LISTS_VERSION sees what there was then, any
    other the newest. A list that is there now and was not then held nothing."""

    __slots__ = ("_histories", "_then")

    def __init__(
        self, newest: Mapping[str, ListEntries], histories: Mapping[str, Sequence[ListHistory]]
    ) -> None:
        super().__init__(newest)
        self._histories = histories
        self._then: dict[int, Lists] = {}

    @property
    def newest(self) -> Lists:
        return Lists(self._by_name)

    def seen_by(self, current: Event) -> Lists:
        version = current.get(LISTS_VERSION)
        if version is None:
            return self
        found = self._then.get(version)
        if found is None:
            found = self._then[version] = Lists(self._by_name | self._in_version(int(version)))
        return found

    def _in_version(self, version: int) -> dict[str, ListEntries]:
        found: dict[str, ListEntries] = {}
        for name, histories in self._histories.items():
            found[name] = ListEntries(())
            for each in histories:
                if Span(each.added_in, each.removed_in, None).holds_in(version):
                    found[name] = PastEntries(each.spans, version, is_case_sensitive=each.is_case_sensitive)
        return found

    def has_changed(self, name: str) -> bool:
        return name in self._histories
