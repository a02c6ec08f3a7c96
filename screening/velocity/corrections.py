"""A transaction that was corrected, in the counters that saw it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rules.core.durations import to_us
from rules.core.values import Event, read
from screening.velocity.errors import StoreUnavailable
from screening.velocity.fence import Fence
from screening.velocity.filling import Need, fill_needs, groups_locked
from screening.velocity.plan import VelocityPlan, Wire
from screening.velocity.store import VelocityStore


def correct_counters(
    plan: VelocityPlan, fence: Fence, store: VelocityStore, *, before: Event, after: Event, arrival: int
) -> None:
    """Make every counter hold `after` where it held `before`. Call inside the transaction that changes the row.

    Whoever fills one of these counters meanwhile waits for that transaction. When Redis does not answer, its
    counters are given up, to be filled from the database again.
    """
    tags, wires = correction_wires(plan, before=before, after=after)
    if not wires:
        return
    with groups_locked(tags):
        # As the database has it, under the lock: counters of an epoch that this process has not heard of may have
        # been filled with the row as it was; those of one that begins later are filled with what it is now.
        state = fence.refresh()
        while state.is_redis:
            try:
                _fill_unready(plan, store, state.epoch, after, wires)
                store.correct(
                    epoch=state.epoch,
                    wires=wires,
                    occurred_us=to_us(after["occurred_at"]),
                    arrival=arrival,
                )
            except StoreUnavailable as error:
                state = fence.lost(state.epoch, reason=str(error))
            else:
                return


def _fill_unready(
    plan: VelocityPlan, store: VelocityStore, epoch: int, after: Event, wires: Sequence[Wire]
) -> None:
    """Whoever fills a counter ahead of time may have passed over the group `after` comes into, as one that has nothing
    to count; once the counter is ready, its absence would go on saying so."""
    ready = store.ready_counters(epoch)
    now_us = to_us(datetime.now(UTC))
    tags = {
        wire.shape.id: wire.tag for wire in wires if wire.what is not False and wire.shape.id not in ready
    }
    needs = []
    for counter in plan.stored():
        if counter.id in tags:
            group = tuple(read(after, key.event_field) for key in counter.counter.feature.group_by)
            needs.append(Need(counter, group, tags[counter.id], now_us))
    fill_needs(store, epoch, needs)


def correction_wires(plan: VelocityPlan, *, before: Event, after: Event) -> tuple[list[str], list[Wire]]:
    """(groups, wires) of the counters in which `after` is not what `before` was."""
    wires: list[Wire] = []
    tags: list[str] = []
    for counter in plan.stored():
        if counter.counter.feature.event != "transaction":
            continue
        old = counter.counted_tag(before) if counter.matches(before) else None
        new = counter.counted_tag(after) if counter.matches(after) else None
        is_same = old == new and counter.delta(before) == counter.delta(after)
        if is_same and counter.payload(before) == counter.payload(after):
            continue
        for tag in dict.fromkeys((old, new)):
            if tag is not None:
                tags.append(tag)
                wires.append(counter.wire(tag, event=after if tag == new else None))
    return tags, wires
