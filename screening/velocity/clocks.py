"""Whether the clock of Redis, by which events are counted, goes as PostgreSQL's does.

A count's place is the time on Redis's clock, and so is the event time of a payment that brings none; keys end by that
clock, too. One that jumps ahead drops counters that no payment may miss, and goes on behind the latest count when it
is set right. So counters are used only while both clocks agree, and the epoch of a clock that was wrong is over.
"""

from __future__ import annotations

from fraudsite.postgresql.clock import database_now_us
from screening.storing import MAX_COUNT_AGE_US
from screening.velocity.errors import StoreUnavailable
from screening.velocity.store import VelocityStore


def refuse_wrong_clock(store: VelocityStore, *, with_counts: bool = True) -> None:
    """Raises StoreUnavailable where a server's clock is as far from PostgreSQL's as no count may be that is stored;
    `with_counts`: or where what was counted last, or seen here before, lies that far ahead, since the clock was set
    back."""
    before_us = database_now_us()
    times_us = store.times_us()
    last_us = store.latest_us() if with_counts else 0
    after_us = database_now_us()
    for time_us in times_us:
        if time_us < before_us - MAX_COUNT_AGE_US:
            raise StoreUnavailable(f"Redis's clock is {_s(before_us - time_us)} behind PostgreSQL's")
        if time_us > after_us + MAX_COUNT_AGE_US:
            raise StoreUnavailable(f"Redis's clock is {_s(time_us - after_us)} ahead of PostgreSQL's")
    if last_us > after_us + MAX_COUNT_AGE_US:
        raise StoreUnavailable(
            f"Redis's clock was set back: it has counted what is {_s(last_us - after_us)} ahead of it"
        )
    if with_counts:
        # Should nobody be counted before the clock is set back.
        store.clock_note(max(times_us))


def _s(us: int) -> str:
    return f"{us / 1_000_000:.0f} s"
