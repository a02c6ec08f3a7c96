"""Small ways of showing things, for every page of the workspace."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django import template
from django.conf import settings
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html, json_script
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import capfirst

from fraudsite.exact_json import ExactEncoder, to_json
from fraudsite.large_tables import COUNT_LIMIT, LimitedPaginator
from fraudsite.navigation import menu_entry

register = template.Library()

# What other apps show on a rule's page, which cannot import them: each is given the context and the rule.
rule_panels: dict[str, Callable[[Any, Any], str]] = {}


@register.filter
def words(value: Any) -> str:
    """A state or label as read aloud: "pending_approval" is "waiting for approval"."""
    text = str(value or "")
    return {"pending_approval": "waiting for approval", "live": "in force", "shadow": "in shadow"}.get(
        text, text.replace("_", " ")
    )


@register.filter
def compact_json(value: Any) -> str:
    return value if isinstance(value, str) else to_json(value).decode()


@register.filter
def number(value: Any) -> str:
    """With thousands separators and without trailing zeros: 1,250,000.5. What is not known is a dash."""
    if value in (None, ""):
        return "–"
    exact = value if isinstance(value, Decimal) else Decimal(str(value))
    text = f"{exact:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@register.filter
def money(value: Any) -> str:
    """With thousands separators and two decimals, more only where there are more."""
    if value in (None, ""):
        return "–"
    exact = Decimal(str(value))
    text = number(exact)
    return text if "." in text and len(text.partition(".")[2]) > 2 else f"{exact:,.2f}"


@register.filter
def percent(value: Any) -> str:
    return "–" if value in (None, "") else f"{Decimal(str(value)) * 100:.1f} %"


@register.filter
def share_of(part: Any, whole: Any) -> int:
    """0–100, for the width of a bar."""
    return 0 if not whole else min(100, round(100 * float(part or 0) / float(whole)))


@register.filter
def get(mapping: Any, key: Any) -> Any:
    return mapping.get(key) if hasattr(mapping, "get") else None


@register.simple_tag(takes_context=True)
def rule_performance_panel(context: Any, rule: Any) -> SafeString:
    return _panel("performance", context, rule)


@register.simple_tag(takes_context=True)
def rule_backtest_panel(context: Any, rule: Any) -> SafeString:
    return _panel("backtest", context, rule)


def _panel(name: str, context: Any, rule: Any) -> SafeString:
    render = rule_panels.get(name)
    return mark_safe(render(context, rule)) if render else SafeString("")  # noqa: S308 - rendered by a template


@register.simple_tag(takes_context=True)
def query_with(context: Any, **changes: Any) -> str:
    """The address's query with some parameters changed; those given as "" go."""
    query = context["request"].GET.copy()
    for key, value in changes.items():
        if value in ("", None):
            query.pop(key, None)
        else:
            query[key] = value
    return f"?{query.urlencode()}"


@register.simple_tag
def base_currency() -> str:
    """What sums over several currencies are in."""
    return settings.BASE_CURRENCY


@register.simple_tag
def account_link(account_id: Any) -> SafeString | str:
    """The account's page, where there is one."""
    return _linked("admin:account", account_id, account_id)


@register.simple_tag
def customer_link(user_id: Any) -> SafeString | str:
    """The customer's page, where there is one."""
    return _linked("admin:customer", user_id, user_id)


@register.simple_tag
def case_link(case: Any) -> SafeString | str:
    return _linked("admin:case", case.case_id, f"case {case.pk}")


def _linked(name: str, argument: Any, text: Any) -> SafeString | str:
    try:
        return format_html(' <a href="{}">{}</a>', reverse(name, args=[argument]), text)
    except NoReverseMatch:
        return str(text)


@register.simple_tag
def case_link_by_id(case_id: Any) -> SafeString | str:
    return _linked("admin:case", case_id, "case")


@register.filter
def exact_script(value: Any, element_id: str) -> SafeString:
    """`json_script` that keeps numbers numbers: Django's writes a Decimal as text."""
    return json_script(value, element_id, encoder=ExactEncoder)


@register.simple_tag
def menu_title(opts: Any) -> dict[str, str]:
    """What the menu calls the list of a model, with the list's address."""
    url_name = f"{opts.app_label}_{opts.model_name}_changelist"
    return {"title": _title_of(opts), "link": reverse(f"admin:{url_name}")}


def _title_of(opts: Any) -> str:
    entry = menu_entry(f"{opts.app_label}_{opts.model_name}_changelist")
    return entry.title if entry else str(capfirst(opts.verbose_name_plural))


@register.simple_tag
def count_words(cl: Any) -> str:
    """ "Alerts: 534". Of a large table only so many are counted: "Transactions: the first 10,000; …"."""
    title = _title_of(cl.opts)
    if isinstance(cl.paginator, LimitedPaginator) and cl.result_count >= COUNT_LIMIT:
        return f"{title}: the first {COUNT_LIMIT:,}; search or filter for others"
    return f"{title}: {cl.result_count:,}"
