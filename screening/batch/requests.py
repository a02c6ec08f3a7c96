"""What a batch, a backtest or an aggregate query asks for, checked: ranges, filters, rules. Shared by all three."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any

from django.db.models import Max
from django.utils.dateparse import parse_date, parse_datetime

from fraudsite.errors import FieldError, Invalid, Unprocessable
from ingestion.models import Transaction
from rules.core.compile import CompiledRule
from rules.core.documents import condition_to_document
from rules.core.durations import to_us
from rules.core.errors import RuleErrors, RuleProblem
from rules.core.model import Condition
from rules.core.parse import parse_filters
from rules.list_selectors import list_names
from rules.list_snapshots import lists_snapshot
from rules.models import RuleVersion
from rules.ruleset import LoadedRuleset
from rules.selectors import versions_shown
from screening.batch.columns.conditions import compares_label, leaves
from screening.batch.columns.scope import AsOf, Scope
from screening.batch.counting import transactions_count
from screening.compiled import versions as compiled_versions

AS_OF: tuple[AsOf, ...] = ("event", "arrival")
MAX_RULES = 1_000
_NOT_VALID = "The input is not valid."


def moment_read(value: Any, path: str, *, is_end: bool) -> datetime | None:
    """An instant, or a day: its beginning, or (`is_end`) its last microsecond. Times without offset are UTC."""
    if value is None:
        return None
    try:
        day = parse_date(value) if isinstance(value, str) else None
        if day is not None:
            start = datetime.combine(day, time(), UTC)
            return start + timedelta(days=1, microseconds=-1) if is_end else start
        moment = parse_datetime(value) if isinstance(value, str) else None
        if moment is not None:
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    message = 'expected a time such as "2026-11-22T14:03:00Z" or a day such as "2026-11-22"'
    raise Invalid(_NOT_VALID, [FieldError(path, message)])


def range_read(body: Mapping[str, Any]) -> tuple[datetime | None, datetime | None]:
    """(date_from, date_to), both included."""
    start = moment_read(body.get("date_from"), "date_from", is_end=False)
    end = moment_read(body.get("date_to"), "date_to", is_end=True)
    if start is not None and end is not None and start > end:
        raise Invalid(_NOT_VALID, [FieldError("date_to", "must not lie before date_from")])
    return start, end


def as_of_read(value: Any) -> AsOf:
    if value is None:
        return "event"
    if value not in AS_OF:
        raise Invalid(_NOT_VALID, [FieldError("as_of", f"expected one of {', '.join(AS_OF)}")])
    found: AsOf = value
    return found


def filters_read(value: Any, path: str) -> tuple[Condition, ...]:
    """Filters as rules write them, or `{field: value}`: each field equal to its value, or to one of a list."""
    if value is None:
        return ()
    documents: list[Any]
    paths: list[str] | None = None
    if isinstance(value, Mapping):
        documents = [_equality(field, wanted) for field, wanted in value.items()]
        paths = [f"{path}.{field}" for field in value]
    elif isinstance(value, list | tuple):
        documents = list(value)
    else:
        raise Invalid(
            _NOT_VALID, [FieldError(path, "expected a list of filters, or an object {field: value}")]
        )
    try:
        found = parse_filters(documents, current_events=(), lists=list_names(), path=path)
    except RuleErrors as errors:
        raise Invalid(_NOT_VALID, [_error(each, path, paths) for each in errors.problems]) from None
    refused = [each.path for each in leaves(found) if compares_label(each)]
    if refused:
        message = "label.is_fraud is compared with true or false here, not with a field"
        raise Invalid(_NOT_VALID, [FieldError(_where(each, path, paths), message) for each in refused])
    return found


def _equality(field: str, wanted: Any) -> dict[str, Any]:
    if wanted is None:
        return {"field": field, "operator": "is_null"}
    if isinstance(wanted, list):
        return {"field": field, "operator": "in", "value": wanted}
    return {"field": field, "operator": "eq", "value": wanted}


def _error(problem: RuleProblem, path: str, paths: list[str] | None) -> FieldError:
    return FieldError(_where(problem.path, path, paths), problem.told)


def _where(where: str, path: str, paths: list[str] | None) -> str:
    """Of {field: value} the author knows no index."""
    if paths is None or not where.startswith(f"{path}["):
        return where
    return paths[int(where[len(path) + 1 :].partition("]")[0])]


def selection_read(
    body: Mapping[str, Any], loaded: LoadedRuleset, arrival_limit: int | None
) -> dict[str, Any]:
    """Which transactions are asked for, and how many they are now, as batches and backtests store it. `arrival_limit`
    (`arrival_now`) is from before `loaded` was read: then all up to it were decided with those rules and lists, or
    earlier ones. Raises Invalid, and Unprocessable where nothing is selected."""
    date_from, date_to = range_read(body)
    as_of = as_of_read(body.get("as_of"))
    filters = filters_read(body.get("transaction_filters"), "transaction_filters")
    scope = Scope(
        from_us=us_of(date_from),
        to_us=us_of(date_to),
        filters=filters,
        arrival_limit=arrival_limit,
        as_of=as_of,
    )
    total = transactions_count(scope, lists_snapshot(loaded.lists_version))
    if total == 0:
        where = "transaction_filters" if filters else "date_from" if date_from or date_to else "$"
        raise Unprocessable(
            "No transaction is selected.", [FieldError(where, "selects no transaction that was screened")]
        )
    return {
        "ruleset": loaded.number,
        "date_from": date_from,
        "date_to": date_to,
        "as_of": as_of,
        "transaction_filters": [condition_to_document(each) for each in filters],
        "arrival_limit": scope.arrival_limit,
        "total_transactions": total,
    }


def versions_chosen(rule_ids: Any, loaded: LoadedRuleset, *, opens_alerts: bool = False) -> list[RuleVersion]:
    """The live versions, or those that stand for the rules chosen (the live one, else the newest), in order. Where
    alerts are opened, only what is in force will do: nobody has approved the rest."""
    if rule_ids is None:
        versions = [each for each in loaded.live if "transaction" in compiled_versions.of(each).rule.trigger]
        if not versions:
            raise Unprocessable("No rule is in force: name rules in rule_ids, or put one in force.")
        return versions
    ids = _ids(rule_ids)
    shown = {version.rule_id: version for version in versions_shown().filter(rule_id__in=ids)}
    errors = []
    for index, rule_id in enumerate(ids):
        version = shown.get(rule_id)
        path = f"rule_ids[{index}]"
        if version is None:
            errors.append(FieldError(path, f"there is no rule {rule_id}"))
        elif not version.is_active:
            errors.append(FieldError(path, f"rule {rule_id} is not active"))
        elif opens_alerts and version.state != RuleVersion.State.LIVE:
            errors.append(
                FieldError(
                    path, f"rule {rule_id} is not in force, and a batch opens alerts only for rules that are"
                )
            )
        elif "transaction" not in compiled_versions.of(version).rule.trigger:
            events = ", ".join(compiled_versions.of(version).rule.trigger)
            errors.append(
                FieldError(
                    path, f"rule {rule_id} is evaluated on {events} events only; a batch screens transactions"
                )
            )
    if errors:
        raise Invalid(_NOT_VALID, errors)
    in_order = {version.pk: place for place, version in enumerate(loaded.live)}
    return sorted(
        (shown[rule_id] for rule_id in dict.fromkeys(ids)),
        key=lambda version: (in_order.get(version.pk, len(in_order)), -version.priority, version.rule_id),
    )


def _ids(rule_ids: Any) -> list[int]:
    if not isinstance(rule_ids, list) or not rule_ids:
        raise Invalid(
            _NOT_VALID, [FieldError("rule_ids", "expected a list of at least one rule id, or nothing")]
        )
    if len(rule_ids) > MAX_RULES:
        raise Invalid(_NOT_VALID, [FieldError("rule_ids", f"expected at most {MAX_RULES} rules")])
    errors = [
        FieldError(f"rule_ids[{index}]", "expected the whole number that is a rule's id")
        for index, each in enumerate(rule_ids)
        if isinstance(each, bool) or each != each or not _is_whole(each)
    ]
    if errors:
        raise Invalid(_NOT_VALID, errors)
    return [int(each) for each in rule_ids]


def _is_whole(value: Any) -> bool:
    try:
        return not isinstance(value, str) and int(value) == value and 0 < value < 2**63
    except (TypeError, ValueError, OverflowError):
        return False


def text_read(body: Mapping[str, Any], name: str, longest: int) -> str:
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > longest or "\0" in value:
        raise Invalid(_NOT_VALID, [FieldError(name, f"expected text of at most {longest} characters")])
    return value


def flag_read(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise Invalid(_NOT_VALID, [FieldError(name, "expected true or false")])
    return value


def keys_check(body: Any, known: Sequence[str]) -> None:
    if not isinstance(body, Mapping):
        raise Invalid(_NOT_VALID, [FieldError("$", "expected an object")])
    unknown = [FieldError(str(key), "is not a known field") for key in body if key not in known]
    if unknown:
        raise Invalid(_NOT_VALID, unknown)


def arrival_now() -> int | None:
    """The newest arrival: what comes later is not seen by a run that starts now."""
    found = Transaction.objects.aggregate(newest=Max("arrival"))["newest"]
    return None if found is None else int(found)


def us_of(moment: datetime | None) -> int | None:
    return None if moment is None else to_us(moment)


def compiled(versions: Sequence[RuleVersion]) -> list[CompiledRule]:
    return [compiled_versions.of(version) for version in versions]
