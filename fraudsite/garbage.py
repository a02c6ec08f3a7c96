"""How often a long-running process looks for garbage in cycles."""

import gc

# What a request or task makes is gone with it, by reference counts: collecting cycles after 50,000 allocations instead
# of 700 finds as much.
COLLECT_AFTER = (50_000, 20, 50)


def collect_seldom() -> None:
    """Call once everything is imported, best before forking: what is there now is looked at no more (a full collection
    took 0.2 s, in the middle of payments) and stays shared with the parent."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
