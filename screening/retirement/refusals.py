"""Why nothing older than a moment may leave as long as rules and work in progress are what they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db.models import Q

from fraudsite.errors import Conflict, FieldError, Invalid
from rules.core.model import Aggregate
from rules.selectors import ruleset_current_number
from screening.engine import engines
from screening.models import Backtest, ScreeningBatch

UNFINISHED = ("pending", "running")


def before_check(before: datetime) -> None:
    """Raises Invalid for a moment that is younger than what has to be kept, and what `work_check` raises."""
    keep = timedelta(days=settings.RETENTION_MIN_DAYS)
    if before > datetime.now(UTC) - keep:
        raise Invalid(
            f"Transactions are kept for at least {keep.days} days (RETENTION_MIN_DAYS).",
            [FieldError("before", f"must be {(datetime.now(UTC) - keep).date()} or earlier")],
        )
    work_check(before)


def work_check(before: datetime) -> None:
    """Raises Conflict when a rule in force reads back beyond `before`, live or as a shadow, or a batch or backtest
    that reads it has not ended. Asked again for every chunk: rules are published meanwhile."""
    reaching = rules_reaching_back(before)
    if reaching:
        raise Conflict(
            "Rules in force read transactions that would leave: their counters are filled from them.",
            [FieldError(f"rule {name}", text) for name, text in reaching],
        )
    reads = Q(date_from__isnull=True) | Q(date_from__lt=before)
    for kind, key in ((ScreeningBatch, "batch_id"), (Backtest, "backtest_id")):
        busy = kind.objects.filter(reads, status__in=UNFINISHED).values_list(key, flat=True).first()
        if busy is not None:
            name = kind._meta.verbose_name
            raise Conflict(
                f"A {name} that reads transactions from before {before:%Y-%m-%d} has not ended.",
                [FieldError(f"{name} {busy}", "wait for it, or cancel it")],
            )


def rules_reaching_back(before: datetime) -> list[tuple[str, str]]:
    """(rule, which of its windows) of each that reads transactions from before `before` now."""
    engine = engines.at_least(ruleset_current_number())
    now = datetime.now(UTC)
    found: dict[str, str] = {}
    for kind in engine.kinds.values():
        for rule in kind.ruleset.rules:
            for aggregate in rule.aggregates:
                text = _reach(aggregate, before, now)
                if text is not None:
                    found.setdefault(rule.rule.name, text)
    return sorted(found.items())


def _reach(aggregate: Aggregate, before: datetime, now: datetime) -> str | None:
    if aggregate.event != "transaction":
        return None
    if aggregate.last is not None and aggregate.window_us is None:
        return f"reads the newest {aggregate.last} transactions, however old they are"
    if aggregate.width is None:
        return "reads back for a lifetime"
    longest = aggregate.width + aggregate.delay
    return f"reads back {longest.total_seconds() / 86_400:g} days" if now - longest < before else None
