"""The same done by several threads at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connections


def in_threads(n: int, work: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """What `work` returned for each of `items`, in their order; raises what one of them raised."""

    def run(item: Any) -> Any:
        try:
            return work(item)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(n) as pool:
        return list(pool.map(run, items))
