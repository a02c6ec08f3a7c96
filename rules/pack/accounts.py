"""How old, how quiet and how connected an account or a customer is."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from rules.pack.entry import PackEntry, flag, paid, story

CYBER_FRAUD = (
    "FATF, Egmont Group and INTERPOL, Illicit Financial Flows from Cyber-Enabled Fraud (2023): mule accounts"
)
VIRTUAL_ASSETS = "FATF, Virtual Assets Red Flag Indicators of Money Laundering and Terrorist Financing (2020)"
FFIEC_RED_FLAGS = "FFIEC BSA/AML Examination Manual, Appendix F: red flags"

_PAYEE_OF_PAYEE = {"counterparty_account_id": "counterparty_account_id"}
_PAYER_IS_PAYEE = {"account_id": "counterparty_account_id"}
_PAYEE_IS_PAYER = {"counterparty_account_id": "account_id"}


def _count(group_by: list[Any], operator: str, value: int, **extent: Any) -> dict[str, Any]:
    return {
        "field": "transaction_id",
        "operator": operator,
        "value": value,
        "aggregate_function": "count",
        "group_by": group_by,
        **extent,
    }


def _dormancy(key: str, noun: str, own: Any, crossed: Any, tazama: str) -> PackEntry:
    fields = {"counterparty_account_id": "A2"}
    earlier = (
        {"account_id": "A1", "counterparty_account_id": "A7"}
        if noun == "payer"
        else {"account_id": "A7", "counterparty_account_id": "A2"}
    )
    return PackEntry(
        key=key,
        typology="dormant_accounts",
        references=(tazama, VIRTUAL_ASSETS, FFIEC_RED_FLAGS),
        document={
            "name": f"Dormant account awakes: {noun}",
            "description": f"The {noun}'s account has been used before, but neither paid nor was paid for 90 days.",
            "rule_type": "pattern",
            "conditions": [
                {
                    "any": [
                        _count([own], "gte", 1, time_window="lifetime", exclude_current=True),
                        _count([crossed], "gte", 1, time_window="lifetime", exclude_current=True),
                    ]
                },
                _count([own], "eq", 0, time_window="90d", exclude_current=True),
                _count([crossed], "eq", 0, time_window="90d", exclude_current=True),
            ],
            "actions": flag(25, f"First movement of the {noun}'s account in 90 days"),
        },
        hits=story(paid("91d", **earlier), paid("0s", **fields)),
        misses=story(paid("91d", **earlier), paid("89d", **earlier), paid("0s", **fields)),
    )


ENTRIES = (
    PackEntry(
        key="account_age",
        typology="new_accounts",
        references=("Tazama rule 001: derived account age", VIRTUAL_ASSETS),
        document={
            "name": "Young account moves a large amount",
            "description": "An account known for less than 30 days moves 1,000,000 or more (base currency).",
            "rule_type": "pattern",
            "conditions": [
                {"field": "account.age_days", "operator": "lt", "value": 30},
                {"field": "base_amount", "operator": "gte", "value": 1_000_000},
            ],
            "actions": flag(30, "Large amount on a young account"),
        },
        hits=story(paid("0s", "1000000", account__age_days=Decimal(29))),
        misses=story(paid("0s", "1000000", account__age_days=Decimal(30))),
    ),
    PackEntry(
        key="customer_age",
        typology="new_accounts",
        references=(
            "Tazama rule 028: age classification",
            "FATF Recommendation 10: customer due diligence",
            CYBER_FRAUD,
        ),
        document={
            "name": "New customer moves a large amount",
            "description": "A customer known for less than 7 days moves 500,000 or more (base currency).",
            "rule_type": "pattern",
            "conditions": [
                {"field": "customer.age_days", "operator": "lt", "value": 7},
                {"field": "base_amount", "operator": "gte", "value": 500_000},
            ],
            "actions": flag(30, "Large amount by a new customer"),
        },
        hits=story(paid("0s", "500000", customer__age_days=Decimal(0))),
        misses=story(paid("0s", "499999.9999", customer__age_days=Decimal(0))),
    ),
    _dormancy(
        "dormancy_payer", "payer", "account_id", _PAYEE_IS_PAYER, "Tazama rule 004: account dormancy, debtor"
    ),
    _dormancy(
        "dormancy_payee",
        "payee",
        _PAYEE_OF_PAYEE,
        _PAYER_IS_PAYEE,
        "Tazama rule 003: account dormancy, creditor",
    ),
    PackEntry(
        key="multiple_accounts",
        typology="mule_accounts",
        references=("Tazama rules 083 and 084: multiple accounts associated with one party", CYBER_FRAUD),
        document={
            "name": "One person, many accounts",
            "description": "A customer has used at least four different accounts within 90 days.",
            "rule_type": "pattern",
            "conditions": [
                {
                    "field": "account_id",
                    "operator": "gte",
                    "value": 4,
                    "aggregate_function": "distinct_count",
                    "time_window": "90d",
                    "group_by": ["user_id"],
                }
            ],
            "actions": flag(25, "Many accounts of one person"),
        },
        hits=story(*[paid(f"{10 * number}d", account_id=f"A{number}") for number in (3, 2, 1, 0)]),
        misses=story(
            paid("90d", account_id="A9"),
            *[paid(f"{10 * number}d", account_id=f"A{number}") for number in (2, 1, 0)],
        ),
    ),
    PackEntry(
        key="high_risk_customer",
        typology="customer_risk",
        references=("FATF Recommendations 10 and 12: higher-risk customers and politically exposed persons",),
        document={
            "name": "Large amount by a higher-risk customer",
            "description": "A customer rated high risk or politically exposed moves 1,000,000 or more (base currency).",
            "rule_type": "pattern",
            "conditions": [
                {"field": "customer.risk_tier", "operator": "in", "value": ["high", "pep"]},
                {"field": "base_amount", "operator": "gte", "value": 1_000_000},
            ],
            "actions": flag(35, "Large amount by a higher-risk customer"),
        },
        hits=story(paid("0s", "2000000", customer__risk_tier="pep")),
        misses=story(paid("0s", "2000000", customer__risk_tier="medium")),
    ),
    PackEntry(
        key="sanctioned_customer",
        typology="sanctions",
        references=("FATF Recommendations 6 and 7: targeted financial sanctions",),
        document={
            "name": "Customer under sanctions",
            "description": "The customer's profile says sanctioned: no payment may leave.",
            "rule_type": "blacklist",
            "priority": 100,
            "conditions": [{"field": "customer.risk_tier", "operator": "eq", "value": "sanctioned"}],
            "actions": [
                {
                    "action_type": "block",
                    "parameters": {
                        "risk_score": 100,
                        "reason": "Customer under sanctions",
                        "severity": "critical",
                    },
                }
            ],
        },
        hits=story(paid("0s", customer__risk_tier="sanctioned")),
        misses=story(paid("0s", customer__risk_tier="high")),
    ),
    PackEntry(
        key="kyc_incomplete",
        typology="customer_risk",
        references=("FATF Recommendation 10: identification before transacting",),
        document={
            "name": "Payment without a valid identity check",
            "description": "The customer's KYC is pending, failed or expired, and the amount is 100,000 or more.",
            "rule_type": "pattern",
            "conditions": [
                {"field": "customer.kyc_status", "operator": "ne", "value": "verified"},
                {"field": "base_amount", "operator": "gte", "value": 100_000},
            ],
            "actions": flag(30, "Identity check not valid"),
        },
        hits=story(paid("0s", "100000", customer__kyc_status="expired")),
        misses=story(paid("0s", "100000", customer__kyc_status="verified")),
    ),
)
