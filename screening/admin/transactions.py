"""Transactions and decisions: lists that stay fast, and a page that explains a decision rule by rule."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.decorators import display

from fraudsite.admin_site import WorkspaceModelAdmin, number_of, page, principal_of, render, require
from fraudsite.errors import Missing
from fraudsite.large_tables import LargeTableAdmin, newest_with_value
from fraudsite.models import RecordView
from fraudsite.record_views import view_note
from fraudsite.roles import Action, may
from ingestion.events.models import Label
from ingestion.events.selectors import profiles_latest
from ingestion.events.services import label_say
from ingestion.models import Transaction, TransactionRevision
from ingestion.selectors import money_words, transaction_get
from screening.compiled import versions
from screening.decisions import STATUS_LETTERS, DecisionFacts, decision_body, result_body
from screening.models import Decision
from screening.selectors import decision_facts_of, event_decided_on, payments_of

OUTCOME_COLOURS = {"approve": "success", "review": "warning", "block": "danger", "pending": "info"}
SEARCHED = (
    "transaction_id",
    "user_id",
    "account_id",
    "counterparty_account_id",
    "merchant_id",
    "device_id",
    "card_id",
)
NEIGHBOURS = 15


@admin.register(Transaction)
class TransactionAdmin(LargeTableAdmin, WorkspaceModelAdmin):
    list_display = (
        "transaction_id",
        "outcome",
        "score",
        "amount_shown",
        "user_id",
        "account_id",
        "channel",
        "occurred_at",
    )
    list_select_related = ("decision",)
    exact_search = SEARCHED
    search_order = "occurred_at"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Transaction]:
        return super().get_queryset(request).defer("decision__results", "decision__facts")

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        row = Transaction.objects.filter(pk=number_of(object_id)).first()
        if row is None:
            raise Missing("There is no such transaction.")
        return transaction_page(request, transaction_id=row.transaction_id)

    @display(description="decision", label=OUTCOME_COLOURS)
    def outcome(self, row: Transaction) -> str:
        decision = getattr(row, "decision", None)
        return decision.outcome if decision else "pending"

    @display(description="score")
    def score(self, row: Transaction) -> str:
        decision = getattr(row, "decision", None)
        return f"{decision.total_risk_score.normalize():f}" if decision else ""

    @display(description="amount", ordering=None)
    def amount_shown(self, row: Transaction) -> str:
        return money_words(row)


@admin.register(Decision)
class DecisionAdmin(LargeTableAdmin, WorkspaceModelAdmin):
    """Decisions newest first; those that were not approved have an index of their own."""

    list_display = (
        "transaction_id_shown",
        "outcome_shown",
        "score",
        "amount_shown",
        "user",
        "hit_count",
        "counted_over",
        "created_at",
    )
    list_filter = ("outcome",)
    list_select_related = ("transaction",)
    exact_search = SEARCHED

    def get_queryset(self, request: HttpRequest) -> QuerySet[Decision]:
        return super().get_queryset(request).defer("facts")

    def found(self, queryset: QuerySet[Decision], term: str) -> QuerySet[Decision]:
        ids = newest_with_value(Transaction._meta.db_table, SEARCHED, term, order="occurred_at")
        return queryset.filter(transaction_id__in=ids)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        require(request, Action.READ)
        decision = Decision.objects.select_related("transaction").filter(pk=number_of(object_id)).first()
        if decision is None:
            raise Missing("There is no such decision.")
        return HttpResponseRedirect(reverse("admin:transaction", args=[decision.transaction.transaction_id]))

    @display(description="transaction")
    def transaction_id_shown(self, decision: Decision) -> str:
        return decision.transaction.transaction_id

    @display(description="decision", label=OUTCOME_COLOURS)
    def outcome_shown(self, decision: Decision) -> str:
        return decision.outcome

    @display(description="score")
    def score(self, decision: Decision) -> str:
        return f"{decision.total_risk_score.normalize():f}"

    @display(description="amount")
    def amount_shown(self, decision: Decision) -> str:
        return money_words(decision.transaction)

    @display(description="user")
    def user(self, decision: Decision) -> str:
        return decision.transaction.user_id

    @display(description="rules hit")
    def hit_count(self, decision: Decision) -> int:
        return decision.verdicts.count(STATUS_LETTERS["flagged"])

    @display(description="windows")
    def counted_over(self, decision: Decision) -> str:
        return "SQL (degraded)" if decision.degraded else "Redis"


@page("payments/<path:transaction_id>/", name="transaction", post=Action.CASES_DISPOSE)
def transaction_page(request: HttpRequest, transaction_id: str) -> HttpResponse:
    """One payment: what came in, what was decided, and why, rule by rule. A POST says what it proved to be."""
    row = transaction_get(transaction_id)
    if request.method == "POST":
        return _label(request, row)
    view_note(request, RecordView.Kind.PAYMENT, row.transaction_id, user_id=row.user_id)
    decision = Decision.objects.filter(transaction=row).first()
    event = event_decided_on(row, decision) if decision else {}
    facts = decision_facts_of(decision) if decision else None
    results = decision_body(facts, event, replayed=False)["results"] if facts else []
    return render(
        request,
        "workspace/screening/transaction.html",
        title=f"Payment {row.transaction_id}",
        row=row,
        amount=money_words(row),
        decision=decision,
        groups=_grouped(results),
        shadow=_shadow_results(facts, event) if facts else [],
        fields=_fields(row),
        facts=sorted((decision.facts or {}).items()) if decision else [],
        metadata=sorted(row.metadata.items()) if isinstance(row.metadata, dict) else [],
        labels=Label.objects.filter(transaction_id=row.transaction_id)[:20],
        may_label=may(request.user, Action.CASES_DISPOSE),
        revisions=TransactionRevision.objects.filter(transaction=row).order_by("-arrival")[:20],
        alerts=row.alerts.select_related("case", "rule")[:20],
        profile=profiles_latest([row.user_id]).first(),
        neighbours=_neighbours(row),
    )


def _label(request: HttpRequest, row: Transaction) -> HttpResponse:
    proved = {"fraud": True, "no_fraud": False}.get(request.POST.get("proved", ""))
    if proved is None:
        messages.error(request, "Say whether it was fraud.")
    elif label_say(transaction_id=row.transaction_id, is_fraud=proved, principal=principal_of(request)):
        messages.success(request, f"Recorded: this was {'fraud' if proved else 'no fraud'}.")
    else:
        messages.info(request, "That was known already.")
    return HttpResponseRedirect(reverse("admin:transaction", args=[row.transaction_id]))


def _grouped(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Hits first, then errors, then what could not be told, then what did not hold."""
    words = {
        "flagged": "Rules that hit",
        "error": "Rules that failed",
        "not_applicable": "Rules that could not tell",
        "clean": "Rules that did not hit",
    }
    return [
        {"status": status, "title": title, "results": chosen, "open": status in ("flagged", "error")}
        for status, title in words.items()
        if (chosen := [each for each in results if each["status"] == status])
    ]


def _shadow_results(facts: DecisionFacts, event: dict[str, Any]) -> list[dict[str, Any]]:
    wordings = versions.get((packed[0], packed[1]) for packed in facts.shadow)
    return [
        result_body(
            packed,
            wordings[packed[0], packed[1]],
            event,
            result_id=0,
            created_at="",
            screening_type="shadow",
        )
        for packed in facts.shadow
    ]


_SHOWN = (
    ("User", "user_id"),
    ("Account", "account_id"),
    ("Counterparty", "counterparty_account_id"),
    ("Type", "transaction_type"),
    ("Channel", "channel"),
    ("Merchant", "merchant_id"),
    ("Merchant name", "merchant_name"),
    ("Merchant category", "merchant_category"),
    ("Location", "location"),
    ("Country", "country_code"),
    ("Coordinates", "coordinates"),
    ("IP address", "ip_address"),
    ("Device", "device_id"),
    ("Card", "card_id"),
    ("Card ending", "card_last4"),
    ("Status", "status"),
)


def _fields(row: Transaction) -> list[tuple[str, Any]]:
    coordinates = None
    if row.latitude is not None and row.longitude is not None:
        coordinates = f"{row.latitude.normalize():f}, {row.longitude.normalize():f}"
    values = {name: getattr(row, name, None) for _, name in _SHOWN} | {"coordinates": coordinates}
    return [(label, values[name]) for label, name in _SHOWN if values[name] not in (None, "")]


def _neighbours(row: Transaction) -> list[Transaction]:
    """The user's payments up to this one and a few after, newest first: two look-ups by index."""
    if row.occurred_at is None:
        return []
    same = payments_of(user_id=row.user_id)
    after = same.filter(occurred_at__gt=row.occurred_at).reverse()[:5]
    return [*reversed(after), *same.filter(occurred_at__lte=row.occurred_at)[:NEIGHBOURS]]
