"""Where the generators take their choices from: a fast seeded source, or hypothesis, which can shrink."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Protocol, TypeVar

T = TypeVar("T")


class Chooser(Protocol):
    def integer(self, low: int, high: int) -> int:
        """A whole number between `low` and `high`, both included."""
        ...


class RandomChooser:
    """Choices of a seeded generator: the same seed gives the same rules and histories."""

    def __init__(self, seed: int | str) -> None:
        self._random = Random(seed)

    def integer(self, low: int, high: int) -> int:
        return low + int(self._random.random() * (high - low + 1))


class DrawnChooser:
    """Choices hypothesis makes; `draw_integer(low, high)` draws one."""

    def __init__(self, draw_integer: Callable[[int, int], int]) -> None:
        self._draw_integer = draw_integer

    def integer(self, low: int, high: int) -> int:
        return self._draw_integer(low, high)


def one_of(choose: Chooser, options: Sequence[T]) -> T:
    return options[choose.integer(0, len(options) - 1)]


def chance(choose: Chooser, percent: int) -> bool:
    """True in `percent` of 100; shrinks to False."""
    return choose.integer(1, 100) > 100 - percent


def some_of(choose: Chooser, options: Sequence[T], least: int, most: int) -> list[T]:
    """Between `least` and `most` different options, in the order of `options`."""
    wanted = choose.integer(least, most)
    remaining = list(range(len(options)))
    chosen = [remaining.pop(choose.integer(0, len(remaining) - 1)) for _ in range(min(wanted, len(options)))]
    return [options[index] for index in sorted(chosen)]
