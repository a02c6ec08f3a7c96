"""Deciding again what rules or counters changed under: in rounds, and among publishes without a pause for so long."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from math import inf
from typing import Any

from fraudsite.errors import Busy
from rules.ruleset import publishes_held_back

# How often a decision is made again because rules or counters changed under it; each publish costs one round.
MAX_ROUNDS = 20
ROUNDS_AMONG_PUBLISHES = 3
# How long who changes rules or lists is kept waiting for a decision; less than its statement may wait.
HOLD_BACK_S = 5.0

# Returns the candidates that must be tried again.
Attempt = Callable[[list[Any]], list[Any]]


class ScreeningBusy(Busy):
    """Rules or counters kept changing, or another attempt at the same id does not end."""

    def __init__(self) -> None:
        super().__init__("The decision cannot be made right now; nothing was stored. Try again.")


class Hopeless(Exception):
    """Further rounds would not help `waiting`: counters were unknown again each time they had been filled, or counts
    are too old to be stored by the time they are judged."""

    def __init__(self, waiting: Sequence[Any]) -> None:
        self.waiting = list(waiting)


def in_rounds(
    attempt: Attempt,
    candidates: Sequence[Any],
    *,
    give_up: Callable[[list[Any]], None] = lambda waiting: None,
) -> None:
    """`attempt` until no candidate is left waiting; raises ScreeningBusy where one is, after `give_up`."""
    waiting = list(candidates)
    try:
        waiting = _attempts(attempt, waiting, ROUNDS_AMONG_PUBLISHES)
        if waiting:
            # Somebody publishes one ruleset after another: each would have a round refused.
            with publishes_held_back():
                waiting = _attempts(attempt, waiting, MAX_ROUNDS - ROUNDS_AMONG_PUBLISHES, for_s=HOLD_BACK_S)
    except Hopeless as error:
        waiting = error.waiting
    if waiting:
        give_up(waiting)
        raise ScreeningBusy


def _attempts(attempt: Attempt, waiting: list[Any], at_most: int, *, for_s: float = inf) -> list[Any]:
    began = time.monotonic()
    for _ in range(at_most):
        waiting = attempt(waiting)
        if not waiting or time.monotonic() - began > for_s:
            break
    return waiting
