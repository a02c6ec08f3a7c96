"""What operators may do with the counters: prepare them, begin them anew, compare them with the database."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from fraudsite.locks import VELOCITY_FILL_LOCK, only_one
from rules.selectors import ruleset_current_number
from screening.counting import fence, store
from screening.engine import engines
from screening.velocity.clocks import refuse_wrong_clock
from screening.velocity.errors import StoreLost, StoreUnavailable
from screening.velocity.fence import FenceState, switch_to_redis, switch_to_sql
from screening.velocity.rebuild import counters_fill_unready
from screening.velocity.verify import Difference, Progress, counters_compare

# While somebody else fills.
LOOK_AGAIN_S = 0.5


def velocity_prepare(*, for_s: float | None = None) -> int:
    """Fill what is not filled yet for the ruleset in force, for about `for_s` seconds if given; one process at a time.
    Returns how many counters became ready."""
    state = fence.refresh()
    if not state.is_redis:
        state = fence.state()
    if not state.is_redis:
        return 0
    try:
        # Told here, every few seconds: a policy that changes takes nothing away at first, and a clock that is wrong
        # while nobody pays does not come to the fence.
        store.refuse_eviction()
        refuse_wrong_clock(store)
        with only_one(VELOCITY_FILL_LOCK) as is_mine:
            if not is_mine:
                return 0
            engine = engines.at_least(ruleset_current_number())
            return counters_fill_unready(store, state.epoch, engine.plan, for_s=for_s)
    except StoreUnavailable as error:
        fence.lost(state.epoch, reason=str(error))
        return 0


def velocity_rebuild() -> FenceState:
    """Begin a new epoch: every counter is dropped and filled from the database again, be it in part by a worker that
    fills them meanwhile. Raises StoreLost when the epoch ended before all were: somebody began another, or Redis went
    away."""
    state = fence.refresh()
    if state.is_redis:
        store.epoch_end()
        switch_to_sql(state.epoch, reason="rebuild asked for")
    state = switch_to_redis(store)
    velocity_prepare()
    while _are_unready(state):
        time.sleep(LOOK_AGAIN_S)
        velocity_prepare()
    return state


def _are_unready(state: FenceState) -> bool:
    if fence.refresh() != state:
        raise StoreLost("the counters were begun anew, or given up, before all were filled")
    plan = engines.at_least(ruleset_current_number()).plan
    return bool({counter.id for counter in plan.stored()} - store.ready_counters(state.epoch))


@dataclass(slots=True)
class Verification:
    """`is_of_counters` false: windows are counted over SQL, and there was nothing to compare."""

    epoch: int
    is_of_counters: bool
    counters: int = 0
    groups: int = 0
    differences: list[Difference] = field(default_factory=list)
    in_flight: int = 0


def velocity_verify(
    *, groups_at_most: int | None = None, on_progress: Progress | None = None
) -> Verification:
    """Compare what the counters hold with what the database says they should, while payments go on. Raises StoreLost
    when their epoch ended meanwhile: what was found says nothing."""
    state = fence.refresh()
    engine = engines.at_least(ruleset_current_number())
    result = Verification(state.epoch, state.is_redis)
    if state.is_redis:
        counters_compare(
            store, state.epoch, engine.plan, result, at_most=groups_at_most, on_progress=on_progress
        )
        if fence.refresh() != state:
            raise StoreLost("the counters were begun anew, or given up, while they were compared")
    return result
