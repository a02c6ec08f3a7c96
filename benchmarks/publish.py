"""A publish is in force on the next request of every process.

    python -m fraudsite.dev with -- python -m benchmarks.publish [--processes 8] [--publishes 200] [--rules 0]

Processes submit transactions over the API without pause while rules are changed. A decision is stale when its request
began after a publish had returned and it was made with an older ruleset. Both clocks are this machine's monotonic one.
`--rules`: how many others are in force, each with a window of its own; what decisions took among publishes is told.
"""

from __future__ import annotations

import argparse
import os
import time
from bisect import bisect_right
from multiprocessing import Event, Process, Queue
from statistics import median, quantiles
from typing import Any

PROCESSES = 8
PUBLISHES = 200


def _setup() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fraudsite.settings")
    import django

    django.setup()


def _rule(limit: int) -> dict[str, Any]:
    condition = {
        "field": "amount",
        "operator": "gt",
        "value": limit,
        "aggregate_function": "count",
        "time_window": "1h",
    }
    return {
        "name": "Watched",
        "rule_type": "velocity",
        "conditions": [condition],
        "actions": [{"action_type": "flag", "parameters": {"risk_score": 1}}],
    }


def _others(n: int) -> list[dict[str, Any]]:
    groups, functions = (
        ("user_id", "account_id", "device_id", "merchant_id"),
        ("count", "sum", "avg", "max", "stddev"),
    )
    found = []
    for at in range(n):
        rule = _rule(1_000_000 + at) | {"name": f"Other {at}"}
        rule["conditions"][0] |= {
            "aggregate_function": functions[at % 5],
            "time_window": f"{1 + at // 20}h",
            "group_by": [groups[at // 5 % 4]],
        }
        found.append(rule)
    return found


def _submit(number: int, raw_key: str, started: Any, stop: Any, answers: Any) -> None:
    """Answers (when the request began, the ruleset its decision was made with, the threshold it was made with, and the
    seconds it took)."""
    _setup()
    from django.test import Client

    client = Client(headers={"authorization": f"Api-Key {raw_key}", "host": "localhost"})
    found = []
    made = 0
    started.set()
    while not stop.is_set():
        began = time.monotonic()
        body = {
            "transaction_id": f"publish-{number}-{made}",
            "user_id": f"U{number}-{made % 20}",
            "account_id": f"A{number}",
            "amount": "1",
            "transaction_type": "debit",
            "channel": "pos",
        }
        answer = client.post("/api/v1/transactions/", body, content_type="application/json")
        if answer.status_code != 201:
            raise SystemExit(f"{answer.status_code}: {answer.content[:300]!r}")
        took_s = time.monotonic() - began
        screening = answer.json()["screening"]
        watched = next(each for each in screening["results"] if each["rule_name"] == "Watched")
        threshold = int(watched["details"]["conditions"][0]["threshold"])
        found.append((began, screening["ruleset_version"], threshold, took_s))
        made += 1
    answers.put(found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=PROCESSES)
    parser.add_argument("--publishes", type=int, default=PUBLISHES)
    parser.add_argument("--rules", type=int, default=0)
    given = parser.parse_args()
    _setup()
    rule_id, raw_key = _prepare(given.rules)
    stop = Event()
    answers: Any = Queue()
    starts = [Event() for _ in range(given.processes)]
    processes = [
        Process(target=_submit, args=(number, raw_key, start, stop, answers))
        for number, start in enumerate(starts)
    ]
    for process in processes:
        process.start()
    for start in starts:
        start.wait(120)
    time.sleep(2)
    returned = _publish(rule_id, given.publishes)
    stop.set()
    decisions = [each for _ in processes for each in answers.get(timeout=120)]
    for process in processes:
        process.join(30)
    print(f"{given.processes} processes, {given.rules + 1} rules, {given.publishes} publishes", end=" ")
    return 1 if _tell(returned, decisions) else 0


def _prepare(others: int) -> tuple[int, str]:
    """(id of the rule that is changed, a key to pay with), in a new database."""
    from django.core.management import call_command
    from django.db import connections

    from fraudsite.services import api_key_create
    from rules.services import rule_create

    call_command("migrate", verbosity=0)
    _, raw_key = api_key_create(name="publish", scopes=["transactions:write"], created_by="user:benchmark")
    watched = rule_create(document=_rule(1000), principal="user:benchmark")
    for document in _others(others):
        rule_create(document=document, principal="user:benchmark")
    connections.close_all()
    return watched.version.rule_id, raw_key


# (when it returned, its ruleset, its threshold)
Published = tuple[float, int, int]
# As `_submit` answers them.
Decided = tuple[float, int, int, float]


def _publish(rule_id: int, publishes: int) -> list[Published]:
    from rules.selectors import ruleset_current_number
    from rules.services import rule_update

    returned = []
    for limit in range(1001, 1001 + publishes):
        changes = {"conditions": _rule(limit)["conditions"]}
        rule_update(rule_id=rule_id, changes=changes, principal="user:benchmark")
        returned.append((time.monotonic(), ruleset_current_number(), limit))
        time.sleep(0.05)
    return returned


def _tell(returned: list[Published], decisions: list[Decided]) -> int:
    """Print what was found; returns how many decisions are stale."""
    moments = [moment for moment, _, _ in returned]
    stale = 0
    for began, ruleset, threshold, _ in decisions:
        last = bisect_right(moments, began) - 1
        if last >= 0 and (ruleset < returned[last][1] or threshold < returned[last][2]):
            stale += 1
    among = [took_s * 1_000 for began, _, _, took_s in decisions if moments[0] < began < moments[-1]]
    print(f"in {moments[-1] - moments[0]:.1f} s, {len(decisions)} decisions: {stale} stale")
    print(
        f"{len(among)} decisions begun among publishes took {median(among):.0f} ms in the median, "
        f"{quantiles(among, n=100)[98]:.0f} ms p99, {max(among):.0f} ms at most"
    )
    return stale


if __name__ == "__main__":
    raise SystemExit(main())
