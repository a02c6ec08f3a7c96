"""Named lists with their past, for what is screened again with what was known then.

Each change of a list makes a new version of all of them, and each decision was made with one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from rules.core.lists import ListEntries, Lists, Span, resembling
from rules.core.values import Event

# Beside an event that is screened again: the version of all lists that its decision was made with.
LISTS_VERSION = "lists.version"


@dataclass(frozen=True)
class ListHistory:
    """One list from its creation to its end. `spans` are of all that it ever held, by text, folded where case does
    not count; none reaches beyond the list's own. Of lists that had one name after the other each has its own."""

    is_case_sensitive: bool
    spans: Mapping[str, Sequence[Span]]

    def of(self, text: str, threshold: float | None = None) -> Iterable[Span]:
        """Of the entries that are `text`, or (with a threshold) resemble it."""
        folded = text if self.is_case_sensitive else text.casefold()
        texts = [folded] if threshold is None else resembling(folded, self.spans.keys(), threshold)
        return (span for each in texts for span in self.spans.get(each, ()))


@dataclass(frozen=True)
class PastEntries:
    """What the lists of one name held in one version."""

    histories: Sequence[ListHistory]
    version: int

    def contains(self, text: str, at: datetime | None) -> bool:
        return any(span.holds(self.version, at) for each in self.histories for span in each.of(text))

    def resembles(self, text: str, threshold: float, at: datetime | None) -> bool:
        return any(
            span.holds(self.version, at) for each in self.histories for span in each.of(text, threshold)
        )


class PastLists(Lists):
    """Lists that know what some of them held before: an event with a LISTS_VERSION sees what there was then, any
    other the newest. A list that is there at another time held nothing before and holds nothing after."""

    __slots__ = ("_histories", "_newest", "_then")

    def __init__(self, newest: Lists, histories: Mapping[str, Sequence[ListHistory]]) -> None:
        super().__init__({name: ListEntries(()) for name in histories} | {n: newest.get(n) for n in newest})
        self._newest = newest
        self._histories = histories
        self._then: dict[int, Lists] = {}

    @property
    def newest(self) -> Lists:
        return self._newest

    def seen_by(self, current: Event) -> Lists:
        version = current.get(LISTS_VERSION)
        if version is None:
            return self
        found = self._then.get(version)
        if found is None:
            then = {name: PastEntries(histories, int(version)) for name, histories in self._histories.items()}
            found = self._then[version] = Lists(self._by_name | then)
        return found

    def has_changed(self, name: str) -> bool:
        return name in self._histories

    def expires(self, name: str) -> bool:
        if name not in self._histories:
            return super().expires(name)
        spans = (span for each in self._histories[name] for found in each.spans.values() for span in found)
        return any(span.expires_at is not None for span in spans)

    def spans(self, name: str, text: str, threshold: float | None = None) -> list[Span]:
        if name not in self._histories:
            return super().spans(name, text, threshold)
        return [span for each in self._histories[name] for span in each.of(text, threshold)]
