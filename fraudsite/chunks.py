"""Long work in short steps, so that a task ends soon and its worker can stop."""

from __future__ import annotations

import time
from collections.abc import Callable


def worked_off(step: Callable[[], int], *, for_s: float) -> int:
    """`step` again and again until it finds nothing more to do, or for about `for_s` seconds: the next task goes on.
    The sum of what it returned."""
    ends_at = time.monotonic() + for_s
    done = 0
    while found := step():
        done += found
        if time.monotonic() > ends_at:
            break
    return done
