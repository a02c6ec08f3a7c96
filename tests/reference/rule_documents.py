"""Valid rule documents over the whole language, weighted so that rules really hit on `histories`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from tests.reference import histories as pools
from tests.reference.chooser import Chooser, chance, one_of, some_of
from tests.reference.rule_pools import (
    BOOLEANS,
    BUCKET_FUNCTIONS,
    BUCKETED,
    CLOCK,
    CROSSINGS,
    DELAYS,
    FROM_PREVIOUS,
    NETWORKS,
    NUMBER_OPERATORS,
    NUMBER_POOLS,
    NUMERIC_FUNCTIONS,
    PATTERNS,
    PLACED,
    SHARED_GROUPS,
    SINCE,
    TEXT_OPERATORS,
    TEXT_POOLS,
    WINDOWS,
)


def ruleset(choose: Chooser) -> list[dict[str, Any]]:
    """One rule, or two."""
    return [rule(choose, f"rule {number}") for number in range(1 if chance(choose, 70) else 2)]


def rule(choose: Chooser, name: str) -> dict[str, Any]:
    trigger = one_of(
        choose, (("transaction",),) * 8 + (("login",), ("card",), ("alert",), ("transaction", "login"))
    )
    maker = RuleMaker(choose, trigger)
    document: dict[str, Any] = {
        "name": name,
        "rule_type": "generated",
        "conditions": [maker.condition() for _ in range(one_of(choose, (1, 1, 2, 3)))],
        "actions": [action(choose) for _ in range(one_of(choose, (1, 1, 1, 2)))],
    }
    if trigger != ("transaction",):
        document["trigger"] = list(trigger)
    return document


def action(choose: Chooser) -> dict[str, Any]:
    kind = one_of(choose, ("flag", "flag", "block", "alert", "score", "allow"))
    parameters: dict[str, Any] = {}
    if chance(choose, 80):
        parameters["risk_score"] = one_of(choose, (0, 10, 55, 80, 100, Decimal("12.5")))
    return {"action_type": kind, "parameters": parameters}


class RuleMaker:
    """Conditions for events of the kinds in `trigger`; plain fields are those all of them have."""

    def __init__(self, choose: Chooser, trigger: Sequence[str]) -> None:
        self.choose = choose
        self.trigger = trigger

    def shared(self, by_event: Mapping[str, Sequence[str] | Mapping[str, Any]], *events: str) -> list[str]:
        first, *others = events or self.trigger
        return [name for name in by_event[first] if all(name in by_event[each] for each in others)]

    # -- trees

    def condition(self, depth: int = 0) -> dict[str, Any]:
        shape = self.choose.integer(1, 100)
        if depth < 2 and shape > 78:
            kind = one_of(self.choose, ("all", "any", "any", "not"))
            if kind == "not":
                return {"not": self.condition(depth + 1)}
            return {kind: [self.condition(depth + 1) for _ in range(self.choose.integer(1, 3))]}
        if shape > 62:
            return self.plain_comparison()
        return self.aggregate_comparison()

    def filter(self, event: str, depth: int = 0) -> dict[str, Any]:
        if depth < 1 and chance(self.choose, 18):
            kind = one_of(self.choose, ("all", "any", "not"))
            if kind == "not":
                return {"not": self.filter(event, depth + 1)}
            return {kind: [self.filter(event, depth + 1) for _ in range(2)]}
        if event in ("transaction", "login") and self.shared({**PLACED}) and chance(self.choose, 8):
            return {
                "field": "distance_km_to_current",
                "operator": one_of(self.choose, ("lt", "lte", "gt")),
                "value": one_of(self.choose, (0, Decimal("0.2"), 5, 600, 5000)),
            }
        return self.field_comparison((event,), in_filter=True)

    # -- comparisons of fields

    def plain_comparison(self) -> dict[str, Any]:
        if self.choose.integer(1, 100) > 75:
            field = one_of(self.choose, list(self.shared(NUMBER_POOLS)))
            return {
                "field": field,
                "operator": one_of(self.choose, ("gt", "gte", "lt", "lte", "eq", "ne")),
                "value": self.baseline(),
            }
        return self.field_comparison(self.trigger, in_filter=False)

    def field_comparison(self, events: Sequence[str], *, in_filter: bool) -> dict[str, Any]:
        kinds = ["text", "text", "number", "number", "number"]
        if self.shared(BOOLEANS, *events):
            kinds.append("boolean")
        kind = one_of(self.choose, kinds)
        if chance(self.choose, 3):
            return self.time_comparison()
        if kind == "text":
            return self.text_comparison(events, in_filter)
        if kind == "number":
            return self.number_comparison(events, in_filter)
        field = one_of(self.choose, self.shared(BOOLEANS, *events))
        return {
            "field": field,
            "operator": one_of(self.choose, ("eq", "eq", "ne")),
            "value": chance(self.choose, 60),
        }

    def time_comparison(self) -> dict[str, Any]:
        moment = pools.START + self.choose.integer(0, 6) * one_of(self.choose, pools.TIME_UNITS)
        operator = one_of(self.choose, ("gt", "gte", "lt", "lte"))
        return {
            "field": "occurred_at",
            "operator": operator,
            "value": moment.isoformat().replace("+00:00", "Z"),
        }

    def text_comparison(self, events: Sequence[str], in_filter: bool) -> dict[str, Any]:
        field = one_of(self.choose, self.shared(TEXT_POOLS, *events))
        pool = TEXT_POOLS[events[0]][field]
        operator = one_of(self.choose, TEXT_OPERATORS)
        if field == "ip_address" and chance(self.choose, 60):
            return {"field": field, "operator": "in_cidr", "value": one_of(self.choose, NETWORKS)}
        return with_value(field, operator, self.text_value(field, operator, pool, in_filter))

    def text_value(self, field: str, operator: str, pool: Sequence[str], in_filter: bool) -> Any:
        match operator:
            case "is_null" | "is_not_null":
                return None
            case "in" | "not_in":
                return some_of(self.choose, sorted(set(pool)), 1, 3)
            case "in_list" | "not_in_list":
                return one_of(self.choose, sorted(pools.LISTS))
            case "fuzzy_in_list":
                return {
                    "list": one_of(self.choose, sorted(pools.LISTS)),
                    "threshold": one_of(self.choose, (50, 80, 100)),
                }
            case "similar_to":
                operand = self.text_operand(field, pool, in_filter)
                given = operand if isinstance(operand, dict) else {"text": operand or "rent"}
                return {**given, "threshold": one_of(self.choose, (40, 70, 80))}
            case "matches":
                return one_of(self.choose, PATTERNS)
            case "contains" | "not_contains" | "starts_with" | "ends_with":
                text = one_of(self.choose, pool) or "rent"
                return text[: self.choose.integer(1, 4)] if operator != "ends_with" else text[-2:]
        return self.text_operand(field, pool, in_filter)

    def text_operand(self, field: str, pool: Sequence[str], in_filter: bool) -> Any:
        if in_filter and field in self.shared(TEXT_POOLS) and chance(self.choose, 40):
            return {"current": field}
        if not in_filter and self.trigger == ("transaction",) and chance(self.choose, 12):
            return {"field": one_of(self.choose, ("account_id", "counterparty_account_id", "device_id"))}
        return one_of(self.choose, pool)

    def number_comparison(self, events: Sequence[str], in_filter: bool) -> dict[str, Any]:
        field = one_of(self.choose, self.shared(NUMBER_POOLS, *events))
        pool = NUMBER_POOLS[events[0]][field]
        operator = one_of(self.choose, NUMBER_OPERATORS)
        match operator:
            case "is_null" | "is_not_null":
                return {"field": field, "operator": operator}
            case "in" | "not_in":
                return {"field": field, "operator": operator, "value": some_of(self.choose, pool, 1, 4)}
            case "between":
                low, high = sorted((one_of(self.choose, pool), one_of(self.choose, pool)))
                if chance(self.choose, 30):
                    return {
                        "field": field,
                        "operator": operator,
                        "value": self.bounds(field, pool, in_filter, events),
                    }
                return {"field": field, "operator": operator, "value": [low, high]}
            case "multiple_of":
                value: Any = one_of(self.choose, (Decimal("0.5"), 10, 100, 1000, 3))
                return {"field": field, "operator": operator, "value": value}
        return {
            "field": field,
            "operator": operator,
            "value": self.number_operand(field, pool, in_filter, events),
        }

    def bounds(
        self, field: str, pool: Sequence[Decimal], in_filter: bool, events: Sequence[str]
    ) -> list[Any]:
        return [self.number_operand(field, pool, in_filter, events) for _ in range(2)]

    def number_operand(
        self, field: str, pool: Sequence[Decimal], in_filter: bool, events: Sequence[str]
    ) -> Any:
        if in_filter and field in self.shared(NUMBER_POOLS) and chance(self.choose, 35):
            return self.scaled({"current": field})
        if chance(self.choose, 10):
            return self.scaled({"field": one_of(self.choose, self.shared(NUMBER_POOLS, *events))})
        return one_of(self.choose, pool)

    def scaled(self, operand: dict[str, Any]) -> dict[str, Any]:
        if chance(self.choose, 55):
            operand["times"] = one_of(
                self.choose, (Decimal("0.9"), Decimal("1.1"), 2, Decimal("1.5"), 3, 0, -1)
            )
        if chance(self.choose, 20):
            operand["plus"] = one_of(self.choose, (1, Decimal("-0.5"), 100))
        return operand

    # -- aggregates

    def baseline(self) -> dict[str, Any]:
        return self.scaled({"aggregate": self.aggregate()})

    def aggregate_comparison(self) -> dict[str, Any]:
        spec = self.aggregate()
        function = spec["aggregate_function"]
        if chance(self.choose, 15):
            return {**spec, "operator": one_of(self.choose, ("gt", "gte", "lt")), "value": self.baseline()}
        operator = one_of(
            self.choose, ("gt", "gte", "gte", "lt", "lte", "eq", "ne", "between", "in", "not_in")
        )
        pool = threshold_pool(function, spec)
        if operator in ("in", "not_in"):
            return {**spec, "operator": operator, "value": [one_of(self.choose, pool) for _ in range(3)]}
        if operator == "between" and chance(self.choose, 25):
            return {**spec, "operator": operator, "value": [one_of(self.choose, pool), self.baseline()]}
        if operator == "between":
            return {
                **spec,
                "operator": operator,
                "value": sorted(one_of(self.choose, pool) for _ in range(2)),
            }
        return {**spec, "operator": operator, "value": one_of(self.choose, pool)}

    def aggregate(self) -> dict[str, Any]:
        event = "transaction" if "transaction" in self.trigger or chance(self.choose, 40) else self.trigger[0]
        if chance(self.choose, 15):
            event = one_of(self.choose, ("transaction", "login", "card", "alert"))
        spec: dict[str, Any] = self.function_and_field(event)
        if event != "transaction" or chance(self.choose, 5):
            spec["event"] = event
        group = self.group(event)
        if group != ["user_id"] or chance(self.choose, 20):
            spec["group_by"] = group
        if chance(self.choose, 55):
            spec["filters"] = [self.filter(event) for _ in range(one_of(self.choose, (1, 1, 1, 2)))]
        if "bucket" not in spec:
            spec |= self.extent()
        if chance(self.choose, 30):
            spec["exclude_current"] = True
        if "last" not in spec and chance(self.choose, 12):
            spec["delay"] = one_of(self.choose, DELAYS)
        return spec

    def extent(self) -> dict[str, Any]:
        shape = self.choose.integer(1, 100)
        if shape > 86:
            return {"last": one_of(self.choose, (1, 2, 3, 5, 10))}
        return {"time_window": "lifetime" if shape > 76 else one_of(self.choose, WINDOWS)}

    def function_and_field(self, event: str) -> dict[str, Any]:
        kind = self.choose.integer(1, 100)
        numbers = self.measurable(event)
        if not numbers or kind <= 22:
            return {"aggregate_function": "count", "field": self.counted_field(event)}
        if kind <= 33:
            names = [*TEXT_POOLS[event], *numbers, *BOOLEANS[event]]
            return {"aggregate_function": "distinct_count", "field": one_of(self.choose, names)}
        if kind <= 39:
            return {"aggregate_function": one_of(self.choose, SINCE), "field": self.counted_field(event)}
        if kind <= 45 and self.shared(PLACED, event, *self.trigger):
            return {"aggregate_function": one_of(self.choose, FROM_PREVIOUS)}
        if kind <= 48 and event == "transaction":
            return {"aggregate_function": "benford_chi2", "field": one_of(self.choose, numbers[:2])}
        if kind <= 57:
            return self.over_buckets(numbers)
        if kind <= 61 and event == "transaction":
            flags = ("label.is_fraud", "label.is_fraud", "is_cnp", "is_odd_hours")
            return {
                "aggregate_function": one_of(self.choose, ("avg", "sum")),
                "field": one_of(self.choose, flags),
            }
        field = numbers[0] if chance(self.choose, 55) else one_of(self.choose, numbers)
        function = one_of(self.choose, NUMERIC_FUNCTIONS)
        if function == "zscore" and field not in self.shared(NUMBER_POOLS):
            function = "stddev"
        return {"aggregate_function": function, "field": field}

    def measurable(self, event: str) -> list[str]:
        """Numbers of that event to aggregate; amounts only where every screened event has a currency."""
        names = [name for name in NUMBER_POOLS[event] if name not in CLOCK]
        return names if self.trigger == ("transaction",) else [name for name in names if name != "amount"]

    def over_buckets(self, numbers: Sequence[str]) -> dict[str, Any]:
        window, bucket = one_of(self.choose, BUCKETED)
        function, of = one_of(self.choose, BUCKET_FUNCTIONS), one_of(self.choose, ("count", "sum"))
        spec = {"aggregate_function": function, "time_window": window, "bucket": bucket}
        return {**spec, "of": of, "field": one_of(self.choose, numbers)}

    def counted_field(self, event: str) -> str:
        if event == "transaction":
            options = ("transaction_id", "transaction_id", "merchant_id", "amount")
            return one_of(self.choose, options if self.trigger == ("transaction",) else options[:3])
        return "user_id"

    def group(self, event: str) -> list[Any]:
        shape = self.choose.integer(1, 100)
        if shape <= 50:
            return ["user_id"]
        if shape > 88 and event == "transaction" and "transaction" in self.trigger:
            return [one_of(self.choose, CROSSINGS)] if len(self.trigger) == 1 else ["user_id"]
        shared = self.shared(dict.fromkeys(self.trigger, ()) | SHARED_GROUPS, event, *self.trigger)
        if not shared:
            return ["user_id"]
        chosen: list[Any] = some_of(self.choose, shared, 1, 1 if chance(self.choose, 80) else 2)
        return ["user_id", *chosen] if chance(self.choose, 15) else chosen


def with_value(field: str, operator: str, value: Any) -> dict[str, Any]:
    comparison = {"field": field, "operator": operator}
    return comparison if value is None else {**comparison, "value": value}


def threshold_pool(function: str, spec: Mapping[str, Any]) -> Sequence[Decimal]:
    texts = {
        "count": "0 1 1 2 2 3 3 4 5 8",
        "distinct_count": "0 1 1 2 2 3 4",
        "seconds_since_first": "0 1 30 60 300 3600 86400",
        "seconds_since_last": "0 0 1 30 60 300 3600 86400",
        "distance_km_from_previous": "0 0.2 5 500 1000 5000",
        "speed_kmh_from_previous": "0 1 100 900 10000",
        "benford_chi2": "5 15.507 40",
        "zscore": "-1 0 0 0.5 1 1.5 3",
    }.get(function)
    if texts is None and spec.get("of") == "count":
        texts = "0 0.5 1 2 3"
    if texts is None and spec["field"] in ("metadata.score", "label.is_fraud", "confidence_score"):
        texts = "0 0.5 1 5"
    if texts is None:
        texts = "0 1 100 1000 1500 10000 100000 250000 100000000000"
    return [Decimal(text) for text in texts.split()]
