"""Backtests: asking for one and cancelling it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from fraudsite.errors import Conflict, FieldError, Invalid, Missing, Overloaded
from fraudsite.locks import BACKTESTS_OF_PRINCIPAL_LOCK
from rules.core.documents import rule_to_document
from rules.core.errors import RuleErrors
from rules.core.model import Rule as RuleWording
from rules.core.parse import parse_rule
from rules.list_selectors import list_names
from rules.models import Rule, RuleVersion
from rules.selectors import ruleset_load
from screening.batch import requests
from screening.batch.models import Backtest
from screening.batch.states import CANCELLED, OPEN, move
from screening.batch.sweeping import sweep_read
from screening.enqueueing import backtest_enqueue

KEYS = ("rule", "rule_id", "version", "date_from", "date_to", "transaction_filters", "sweep", "as_of")
_NOT_VALID = "The input is not valid."


def backtest_create(*, body: Any, principal: str) -> Backtest:
    """A backtest of an unsaved rule or of a version over what is stored now. Raises Invalid, Unprocessable, Missing
    or Overloaded, and then nothing is stored."""
    requests.keys_check(body, KEYS)
    asked: Mapping[str, Any] = body
    wording, version = _candidate(asked)
    definition = rule_to_document(wording)
    sweep = sweep_read(asked.get("sweep"), definition)
    arrival_limit = requests.arrival_now()
    selected = requests.selection_read(asked, ruleset_load(), arrival_limit)
    with transaction.atomic():
        _limit(principal)
        backtest = Backtest.objects.create(
            definition=definition,
            rule=None if version is None else version.rule,
            rule_version=None if version is None else version.number,
            compared_version=_in_force(version),
            sweep=sweep,
            created_by=principal,
            **selected,
        )
        transaction.on_commit(lambda: backtest_enqueue(backtest.pk))
    return backtest


def _limit(principal: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [BACKTESTS_OF_PRINCIPAL_LOCK, principal]
        )
    if (
        Backtest.objects.filter(created_by=principal, status__in=OPEN).count()
        >= settings.BACKTESTS_PER_PRINCIPAL
    ):
        raise Overloaded(f"At most {settings.BACKTESTS_PER_PRINCIPAL} backtests may be open at a time.")


def _candidate(asked: Mapping[str, Any]) -> tuple[RuleWording, RuleVersion | None]:
    document, rule_id = asked.get("rule"), asked.get("rule_id")
    if (document is None) == (rule_id is None):
        raise Invalid(_NOT_VALID, [FieldError("rule", "give either rule, or rule_id and version")])
    if document is not None:
        if asked.get("version") is not None:
            raise Invalid(_NOT_VALID, [FieldError("version", "goes with rule_id, not with rule")])
        return _triggered(_parsed(document), "rule.trigger"), None
    version = _version(rule_id, asked.get("version"))
    return _triggered(parse_rule(version.definition).rule, "rule_id"), version


def _parsed(document: Any) -> RuleWording:
    try:
        return parse_rule(document, lists=list_names()).rule
    except RuleErrors as errors:
        raise Invalid(
            _NOT_VALID,
            [FieldError(f"rule.{each.path}" if each.path else "rule", each.told) for each in errors.problems],
        ) from None


def _triggered(wording: RuleWording, path: str) -> RuleWording:
    if "transaction" not in wording.trigger:
        events = ", ".join(wording.trigger)
        message = f"is evaluated on {events} events only; a backtest screens transactions"
        raise Invalid(_NOT_VALID, [FieldError(path, message)])
    return wording


def _version(rule_id: Any, number: Any) -> RuleVersion:
    """The version asked for; without a number the newest, be it a draft."""
    pk = _whole(rule_id, "rule_id")
    versions = RuleVersion.objects.filter(rule_id=pk).select_related("rule").order_by("-number")
    if not Rule.objects.filter(pk=pk).exists():
        raise Invalid(_NOT_VALID, [FieldError("rule_id", f"there is no rule {pk}")])
    if number is not None:
        versions = versions.filter(number=_whole(number, "version"))
    version = versions.first()
    if version is None:
        raise Invalid(_NOT_VALID, [FieldError("version", f"rule {pk} has no version {number}")])
    return version


def _whole(value: Any, path: str) -> int:
    try:
        if not isinstance(value, bool | str) and int(value) == value and 0 < value < 2**31:
            return int(value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise Invalid(_NOT_VALID, [FieldError(path, "expected a whole number")])


def _in_force(version: RuleVersion | None) -> RuleVersion | None:
    """The live version of the same rule, where the candidate is another."""
    if version is None:
        return None
    live = RuleVersion.objects.filter(rule=version.rule, state=RuleVersion.State.LIVE, is_active=True).first()
    return None if live is None or live.pk == version.pk else live


def backtest_cancel(*, backtest_id: str) -> Backtest:
    backtest = backtest_get(backtest_id)
    if not move(backtest, CANCELLED):
        backtest.refresh_from_db()
        raise Conflict(f"A {backtest.status} backtest cannot be cancelled.")
    backtest.refresh_from_db()
    return backtest


def backtest_get(backtest_id: str) -> Backtest:
    backtest = Backtest.objects.filter(backtest_id=backtest_id).first()
    if backtest is None:
        raise Missing(f"There is no backtest {backtest_id}.")
    return backtest
