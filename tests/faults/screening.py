"""What the fault tests send and what they look at in the answers."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.stack import Reply, Stack


def _of_user(function: str, limit: int) -> dict[str, Any]:
    return {
        "field": "amount",
        "operator": "gt",
        "value": limit,
        "aggregate_function": function,
        "time_window": "24h",
        "group_by": ["user_id"],
    }


COUNT_RULE: dict[str, Any] = {
    "name": "Count by user",
    "rule_type": "velocity",
    "conditions": [{"any": [_of_user("count", 10), _of_user("sum", 1_000_000_000)]}],
    "actions": [{"action_type": "flag", "parameters": {"risk_score": 80}}],
}


class Client:
    """One user's payments."""

    def __init__(self, stack: Stack, user_id: str) -> None:
        self.stack = stack
        self.user_id = user_id
        self._numbers = itertools.count(1)

    def payload(self, **given: Any) -> dict[str, Any]:
        return {
            "transaction_id": f"{self.user_id}-{next(self._numbers)}",
            "user_id": self.user_id,
            "account_id": f"A-{self.user_id}",
            "amount": "10",
            "transaction_type": "debit",
            "channel": "web",
            **given,
        }

    def submit(self, **given: Any) -> Reply:
        return self.stack.post("transactions/", self.payload(**given))

    def submit_many(self, n: int, *, at_once: int) -> list[Reply]:
        with ThreadPoolExecutor(at_once) as pool:
            return list(pool.map(lambda _: self.submit(), range(n)))

    def wait_for_counters(self) -> None:
        """Until decisions are made with counters again, not from SQL."""
        probe = Client(self.stack, "probe-" + self.user_id)
        self.stack.wait(lambda: _is_whole(probe.submit()), "decisions are made with counters again")


def _is_whole(reply: Reply) -> bool:
    return reply.status == 201 and reply.body["screening"]["degraded"] is False


def count_in(reply: Reply) -> int:
    """The number of the user's transactions that the decision saw."""
    assert reply.status in (200, 201), (reply.status, reply.body)
    return int(reply.body["screening"]["results"][0]["details"]["conditions"][0]["actual"])


def counts_in(replies: list[Reply]) -> list[int]:
    return sorted(count_in(reply) for reply in replies)


def is_degraded(reply: Reply) -> bool:
    return bool(reply.body["screening"]["degraded"])


def assert_away(reply: Reply) -> None:
    """503, a problem document, and when to try again."""
    assert reply.status == 503, reply.body
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert int(reply.headers["Retry-After"]) >= 1
    assert reply.body["status"] == 503


def assert_counters_agree(stack: Stack) -> None:
    """`velocity verify` finds the counters to hold what the database holds."""
    printed = stack.manage("velocity", "verify")
    assert " 0 differences" in printed, printed


def wait_until_counters_agree(stack: Stack) -> None:
    """Until reconciliation has taken back what was counted and never stored."""

    def agree() -> bool:
        try:
            assert_counters_agree(stack)
        except AssertionError:
            # Each look is a process of its own, which costs what it looks at its time.
            time.sleep(2)
            return False
        return True

    stack.wait(agree, "what was counted is what is stored", patience_s=60)
