"""Fifty rules on one transaction, facts at hand: our compiled ruleset beside other engines, in one process and run.

    pip install -r benchmarks/requirements-evaluation.txt && python -m benchmarks.evaluation

in any environment that has the requirements of the product; engines that are absent are left out by name.
Every engine is given the same truth to find; the result of each is compared with ours before anything is timed.
"""

from __future__ import annotations

import importlib
import json
import timeit
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from benchmarks.table import Row, table
from rules.core.aggregates import AggregateResult
from rules.core.compile import CompiledRuleset, compile_rule
from rules.core.parse import parse_rule

RULES = 50
ROUNDS = 300
QUICK_ROUNDS = 30
# What is timed, and how its result reads as one truth a rule.
Run = tuple[Callable[[], Any], Callable[[Any], list[bool]]]

FACTS: dict[str, Any] = {
    "amount": 120.5,
    "channel": "web",
    "country_code": "NG",
    "is_cnp": True,
    "metadata": {"risk": {"score": 0.7}},
    **{f"count{hours}": 5.0 for hours in range(1, 8)},
}


def _document(number: int) -> dict[str, Any]:
    count = {"field": "amount", "operator": "gt", "value": number % 10, "aggregate_function": "count"}
    conditions: list[dict[str, Any]] = [
        {"field": "amount", "operator": "gt", "value": 100 + number},
        {"field": "channel", "operator": "in", "value": ["web", "mobile", f"c{number}"]},
        {**count, "time_window": f"{number % 7 + 1}h"},
    ]
    if number % 5 == 0:
        abroad = {"field": "country_code", "operator": "ne", "value": "NG"}
        conditions.append({"any": [abroad, {"field": "is_cnp", "operator": "eq", "value": True}]})
    if number % 7 == 0:
        conditions.append({"field": "metadata.risk.score", "operator": "gt", "value": 0.5})
    actions = [{"action_type": "flag", "parameters": {"risk_score": 5}}]
    return {"name": f"rule {number}", "rule_type": "benchmark", "conditions": conditions, "actions": actions}


def _expression(number: int, *, conjunction: str, disjunction: str, quote: str) -> str:
    """The same rule for engines that take text."""
    channels = ", ".join(f"{quote}{each}{quote}" for each in ("web", "mobile", f"c{number}"))
    parts = [
        f"amount > {100 + number}.0",
        f"channel in [{channels}]",
        f"count{number % 7 + 1} > {number % 10}.0",
    ]
    if number % 5 == 0:
        parts.append(f"(country_code != {quote}NG{quote} {disjunction} is_cnp == true)")
    if number % 7 == 0:
        parts.append("metadata.risk.score > 0.5")
    return f" {conjunction} ".join(parts)


def _logic(number: int) -> dict[str, Any]:
    """The same rule as JSONLogic."""
    parts: list[Any] = [
        {">": [{"var": "amount"}, 100 + number]},
        {"in": [{"var": "channel"}, ["web", "mobile", f"c{number}"]]},
        {">": [{"var": f"count{number % 7 + 1}"}, number % 10]},
    ]
    if number % 5 == 0:
        parts.append({"or": [{"!=": [{"var": "country_code"}, "NG"]}, {"==": [{"var": "is_cnp"}, True]}]})
    if number % 7 == 0:
        parts.append({">": [{"var": "metadata.risk.score"}, 0.5]})
    return {"and": parts}


def ours() -> Run:
    rules = [
        compile_rule(parse_rule(_document(number)).rule, rule_id=number, version=1) for number in range(RULES)
    ]
    ruleset = CompiledRuleset(rules)
    at = datetime(2026, 11, 22, 14, 3, tzinfo=UTC)
    event = {
        "user_id": "U1",
        "currency": "NGN",
        "amount": Decimal("120.50"),
        "channel": "web",
        "country_code": "NG",
        "is_cnp": True,
        "metadata": {"risk": {"score": Decimal("0.7")}},
        "occurred_at": at,
        "arrival": 1,
    }
    results = [AggregateResult(Decimal(5), 5, at, at) for _ in ruleset.aggregates]
    return (lambda: ruleset.evaluate(event, results)), (
        lambda found: [each.status == "flagged" for each in found]
    )


def cel(module: Any) -> Run:
    programs = [
        module.compile(_expression(number, conjunction="&&", disjunction="||", quote="'"))
        for number in range(RULES)
    ]
    context = module.Context(FACTS)
    return (lambda: [program.execute(context) for program in programs]), list


def zen_expressions(module: Any) -> Run:
    programs = [
        module.compile_expression(_expression(number, conjunction="and", disjunction="or", quote='"'))
        for number in range(RULES)
    ]
    return (lambda: [program.evaluate(FACTS) for program in programs]), list


def _zen_decision(module: Any, numbers: Sequence[int]) -> Any:
    expressions = [
        {
            "id": f"e{number}",
            "key": f"r{number}",
            "value": _expression(number, conjunction="and", disjunction="or", quote='"'),
        }
        for number in numbers
    ]
    nodes = [
        {"id": "in", "type": "inputNode", "name": "in", "content": {}},
        {"id": "rules", "type": "expressionNode", "name": "rules", "content": {"expressions": expressions}},
        {"id": "out", "type": "outputNode", "name": "out", "content": {}},
    ]
    edges = [
        {"id": "a", "type": "edge", "sourceId": "in", "targetId": "rules"},
        {"id": "b", "type": "edge", "sourceId": "rules", "targetId": "out"},
    ]
    return module.ZenEngine().create_decision(json.dumps({"nodes": nodes, "edges": edges}))


def zen_decisions(module: Any) -> Run:
    """A decision a rule: rules that are written, versioned and switched one by one, as ours are."""
    decisions = [_zen_decision(module, [number]) for number in range(RULES)]

    def truths(found: list[Any]) -> list[bool]:
        return [each["result"][f"r{number}"] for number, each in enumerate(found)]

    return (lambda: [decision.evaluate(FACTS) for decision in decisions]), truths


def zen_one_decision(module: Any) -> Run:
    """All rules written into one decision."""
    decision = _zen_decision(module, range(RULES))
    return (lambda: decision.evaluate(FACTS)), (
        lambda found: [found["result"][f"r{number}"] for number in range(RULES)]
    )


def datalogic(module: Any) -> Run:
    engine = module.Engine()
    programs = [engine.compile(json.dumps(_logic(number))) for number in range(RULES)]
    facts = json.dumps(FACTS)
    return (lambda: [program.evaluate(facts) for program in programs]), list


def rule_engine(module: Any) -> Run:
    flat = {**FACTS, "score": 0.7}
    programs = [
        module.Rule(
            _expression(number, conjunction="and", disjunction="or", quote="'").replace(
                "metadata.risk.score", "score"
            )
        )
        for number in range(RULES)
    ]
    return (lambda: [program.matches(flat) for program in programs]), list


# name, module, how to run, the most that ours may take of its time (None: only shown).
OTHERS: tuple[tuple[str, str, Callable[[Any], Run], float | None], ...] = (
    ("CEL (Rust, shared context)", "cel", cel, 1.5),
    ("zen-engine, a decision a rule", "zen", zen_decisions, 0.1),
    ("zen-engine, all in one decision", "zen", zen_one_decision, None),
    ("zen-engine, bare expressions", "zen", zen_expressions, None),
    ("datalogic-py", "datalogic_py", datalogic, None),
    ("rule-engine", "rule_engine", rule_engine, None),
)


def evaluation(*, quick: bool) -> list[Row]:
    """Best of many interleaved rounds, in µs for all fifty rules."""
    our_run, our_truth = ours()
    expected = our_truth(our_run())
    runs: list[tuple[str, Callable[[], Any], float | None]] = []
    rows: list[Row] = []
    for name, module_name, make, bar in OTHERS:
        try:
            run, truth = make(importlib.import_module(module_name))
            found = truth(run())
        except ImportError:
            rows.append(Row(f"50 rules beside {name}", "not measured", "not installed"))
            continue
        if found != expected:
            raise AssertionError(f"{name} finds another truth than ours")
        runs.append((name, run, bar))
    best = [float("inf")] * (len(runs) + 1)
    for _ in range(QUICK_ROUNDS if quick else ROUNDS):
        for place, run in enumerate([our_run, *(each for _, each, _ in runs)]):
            best[place] = min(best[place], timeit.timeit(run, number=5) / 5 * 1e6)
    for (name, _, bar), theirs in zip(runs, best[1:], strict=True):
        rows.append(
            Row(
                f"50 rules beside {name}",
                f"{best[0]:.1f} µs",
                f"{theirs:.1f} µs",
                best[0] / theirs,
                bar,
                "<=",
            )
        )
    return rows


if __name__ == "__main__":
    print(table(evaluation(quick=False)))
