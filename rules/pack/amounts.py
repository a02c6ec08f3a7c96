"""What is paid: thresholds, round and similar amounts, outliers against the account's own history, Benford's law."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from rules.pack.entry import Example, PackEntry, flag, paid, story

STRUCTURING = "31 U.S.C. 5324 and FFIEC BSA/AML Examination Manual, Appendix G: structuring"
PSD2_SPENDING = (
    "Regulation (EU) 2018/389 (PSD2 RTS), Article 18(2)(c)(i): abnormal spending pattern of the payer"
)
BENFORD = "M. Nigrini, Benford's Law (2012); χ² of 8 degrees of freedom at 5 % is 15.507"

_SAME_PAYEE = {"counterparty_account_id": "counterparty_account_id"}


def _similar_in_a_day(key: str, noun: str, group: Any, tazama: str) -> PackEntry:
    fields = {"counterparty_account_id": "A2"}
    return PackEntry(
        key=key,
        typology="structuring",
        references=(tazama, STRUCTURING),
        document={
            "name": f"Five similar amounts in a day: {noun}",
            "description": f"At least five transactions of the {noun} in 24 hours within 10 % of this one's amount.",
            "rule_type": "structuring",
            "conditions": [
                {
                    "field": "amount",
                    "operator": "gte",
                    "value": 5,
                    "aggregate_function": "count",
                    "time_window": "24h",
                    "group_by": [group],
                    "filters": [
                        {
                            "field": "amount",
                            "operator": "gte",
                            "value": {"current": "amount", "times": Decimal("0.9")},
                        },
                        {
                            "field": "amount",
                            "operator": "lte",
                            "value": {"current": "amount", "times": Decimal("1.1")},
                        },
                    ],
                }
            ],
            "actions": flag(25, "Many similar amounts"),
        },
        hits=story(
            *[
                paid(f"{n}h", amount, **fields)
                for n, amount in ((9, "90"), (7, "110"), (5, "95"), (2, "101"), (0, "100"))
            ]
        ),
        misses=story(
            *[
                paid(f"{n}h", amount, **fields)
                for n, amount in ((9, "89.9999"), (7, "110"), (5, "95"), (2, "110.0001"), (0, "100"))
            ]
        ),
    )


def _against_history(key: str, of: str, subject: str, tazama: str) -> PackEntry:
    """The last 24 hours against the mean + 3 standard deviations of the 29 days before, in sliding days."""
    quiet = [
        paid(f"{24 * day + 1}h", str(100 + day % 3)) for day in range(29, 0, -1) if of == "sum" or day % 4
    ]
    many = [paid(f"{n}m", "100") for n in (50, 40, 30, 20, 10, 5)]
    own: dict[str, Any] = {"field": "amount", "group_by": ["account_id"]}
    days = {**own, "of": of, "bucket": "1d", "time_window": "30d", "exclude_current": True}
    mean = {**days, "aggregate_function": "avg"}
    return PackEntry(
        key=key,
        typology="unusual_activity",
        references=(tazama, PSD2_SPENDING),
        document={
            "name": f"Daily {subject} far above the account's own",
            "description": (
                f"The account's {subject} of the last 24 hours exceeds the mean of the 29 days before by more than "
                "3 standard deviations, or exceeds the mean at all where those days never varied."
            ),
            "rule_type": "pattern",
            "conditions": [
                {
                    "any": [
                        {**days, "aggregate_function": "zscore", "operator": "gt", "value": 3},
                        {
                            "all": [
                                {**days, "aggregate_function": "stddev", "operator": "eq", "value": 0},
                                {**mean, "operator": "gt", "value": 0},
                                {
                                    **own,
                                    "aggregate_function": of,
                                    "time_window": "1d",
                                    "operator": "gt",
                                    "value": {"aggregate": mean},
                                },
                            ]
                        },
                    ]
                }
            ],
            "actions": flag(25, f"Daily {subject} far above the account's own history"),
        },
        hits=story(*quiet, *many, paid("0s", "100")),
        misses=story(*quiet, paid("0s", "100")),
    )


def _leading_digits(share_of_ones: int, count: int) -> Example:
    """`count` amounts an hour apart, `share_of_ones` of 100 beginning with 1 and the rest with 5 to 9."""
    amounts = [
        f"1{position % 10}0" if (position * 37) % 100 < share_of_ones else f"{5 + position % 5}00"
        for position in range(count)
    ]
    return story(
        *[
            paid(f"{count - 1 - position}h", amount, counterparty_account_id="A2")
            for position, amount in enumerate(amounts)
        ]
    )


def _benford(key: str, noun: str, group: Any, tazama: str) -> PackEntry:
    natural = [int(10 ** (position / 60 * 3)) for position in range(60)]
    return PackEntry(
        key=key,
        typology="synthetic_activity",
        references=(tazama, BENFORD),
        document={
            "name": f"Amounts that no business produces (Benford): {noun}",
            "description": (
                f"The first digits of the {noun}'s amounts of 90 days (50 or more) contradict Benford's law."
            ),
            "rule_type": "pattern",
            "conditions": [
                {
                    "field": "amount",
                    "operator": "gt",
                    "value": Decimal("15.507"),
                    "aggregate_function": "benford_chi2",
                    "time_window": "90d",
                    "group_by": [group],
                }
            ],
            "actions": flag(15, "Leading digits contradict Benford's law"),
        },
        hits=_leading_digits(10, 50),
        misses=story(
            *[
                paid(f"{59 - position}h", str(amount), counterparty_account_id="A2")
                for position, amount in enumerate(natural)
            ]
        ),
    )


ENTRIES = (
    PackEntry(
        key="regulatory_threshold",
        typology="reporting",
        references=(
            "Tazama rule 091: transaction amount vs regulatory threshold",
            "Nigeria, Money Laundering (Prevention and Prohibition) Act 2022: 5 million naira, companies 10 million",
            "31 CFR 1010.311 and AUSTRAC threshold transaction reports: the same rule with the local amount",
        ),
        document={
            "name": "Amount at the regulatory threshold",
            "description": "5,000,000 or more, or 10,000,000 or more on a business account (base currency).",
            "rule_type": "amount_limit",
            "conditions": [
                {
                    "any": [
                        {"field": "base_amount", "operator": "gte", "value": 10_000_000},
                        {
                            "all": [
                                {"field": "base_amount", "operator": "gte", "value": 5_000_000},
                                {"field": "customer.account_type", "operator": "ne", "value": "business"},
                            ]
                        },
                    ]
                }
            ],
            "actions": flag(20, "Amount at the reporting threshold"),
        },
        hits=story(paid("0s", "5000000", customer__account_type="personal")),
        misses=story(paid("0s", "9999999.9999", customer__account_type="business")),
    ),
    PackEntry(
        key="round_amounts",
        typology="structuring",
        references=("FFIEC BSA/AML Examination Manual, Appendix F: round-dollar transactions",),
        document={
            "name": "Repeated round amounts",
            "description": "A multiple of 10,000, the third from this account within 24 hours.",
            "rule_type": "structuring",
            "conditions": [
                {"field": "amount", "operator": "gte", "value": 10_000},
                {"field": "amount", "operator": "multiple_of", "value": 10_000},
                {
                    "field": "amount",
                    "operator": "gte",
                    "value": 3,
                    "aggregate_function": "count",
                    "time_window": "24h",
                    "group_by": ["account_id"],
                    "filters": [
                        {"field": "amount", "operator": "gte", "value": 10_000},
                        {"field": "amount", "operator": "multiple_of", "value": 10_000},
                    ],
                },
            ],
            "actions": flag(15, "Repeated round amounts"),
        },
        hits=story(paid("23h", "30000"), paid("4h", "10000"), paid("0s", "50000")),
        misses=story(paid("23h", "30000"), paid("4h", "10000.01"), paid("0s", "50000")),
    ),
    PackEntry(
        key="similar_amounts_last_3",
        typology="structuring",
        references=("Tazama rule 006: outgoing transfer similarity, amounts", STRUCTURING),
        document={
            "name": "Last three amounts alike",
            "description": "The account's three payments before this one were all within 10 % of its amount.",
            "rule_type": "structuring",
            "conditions": [
                {
                    "field": "amount",
                    "operator": "gte",
                    "value": {"field": "amount", "times": Decimal("0.9")},
                    "aggregate_function": "min",
                    "last": 3,
                    "exclude_current": True,
                    "group_by": ["account_id"],
                },
                {
                    "field": "amount",
                    "operator": "lte",
                    "value": {"field": "amount", "times": Decimal("1.1")},
                    "aggregate_function": "max",
                    "last": 3,
                    "exclude_current": True,
                    "group_by": ["account_id"],
                },
                {
                    "field": "amount",
                    "operator": "eq",
                    "value": 3,
                    "aggregate_function": "count",
                    "last": 3,
                    "exclude_current": True,
                    "group_by": ["account_id"],
                },
            ],
            "actions": flag(15, "Payments of nearly the same amount"),
        },
        hits=story(
            paid("9d", "500"), paid("3d", "91"), paid("2d", "109"), paid("1d", "100"), paid("0s", "100")
        ),
        misses=story(
            paid("9d", "100"), paid("3d", "111"), paid("2d", "100"), paid("1d", "100"), paid("0s", "100")
        ),
    ),
    _similar_in_a_day(
        "similar_amounts", "payer", "account_id", "Tazama rule 006: outgoing transfer similarity, amounts"
    ),
    _similar_in_a_day(
        "similar_amounts_incoming",
        "payee",
        _SAME_PAYEE,
        "Tazama rule 021: large number of similar amounts, creditor",
    ),
    PackEntry(
        key="exceptionally_large",
        typology="unusual_activity",
        references=("Tazama rule 018: exceptionally large outgoing transfer, debtor", PSD2_SPENDING),
        document={
            "name": "Exceptionally large amount",
            "description": "More than 1.5 times the account's largest amount of the last three months.",
            "rule_type": "amount_limit",
            "conditions": [
                {
                    "field": "amount",
                    "operator": "gt",
                    "value": {
                        "aggregate": {
                            "field": "amount",
                            "aggregate_function": "max",
                            "time_window": "90d",
                            "group_by": ["account_id"],
                            "exclude_current": True,
                        },
                        "times": Decimal("1.5"),
                    },
                }
            ],
            "actions": flag(25, "Far larger than anything in three months"),
        },
        hits=story(paid("91d", "900"), paid("60d", "100"), paid("0s", "150.0001")),
        misses=story(paid("91d", "50"), paid("60d", "100"), paid("0s", "150")),
    ),
    PackEntry(
        key="large_against_average",
        typology="unusual_activity",
        references=("Tazama rules 020 and 048: large amount vs history", PSD2_SPENDING),
        document={
            "name": "Three times the usual amount",
            "description": "More than three times the account's 30-day average, of at least five payments.",
            "rule_type": "amount_limit",
            "conditions": [
                {
                    "field": "amount",
                    "operator": "gt",
                    "value": {
                        "aggregate": {
                            "field": "amount",
                            "aggregate_function": "avg",
                            "time_window": "30d",
                            "group_by": ["account_id"],
                            "exclude_current": True,
                        },
                        "times": 3,
                    },
                },
                {
                    "field": "amount",
                    "operator": "gte",
                    "value": 5,
                    "aggregate_function": "count",
                    "time_window": "30d",
                    "group_by": ["account_id"],
                    "exclude_current": True,
                },
            ],
            "actions": flag(20, "Far above the account's average"),
        },
        hits=story(*[paid(f"{n}d", "100") for n in (29, 20, 10, 5, 1)], paid("0s", "300.01")),
        misses=story(*[paid(f"{n}d", "100") for n in (30, 20, 10, 5, 1)], paid("0s", "900")),
    ),
    _against_history(
        "daily_volume", "count", "number of transactions", "Tazama rule 010: increased activity, volume"
    ),
    _against_history("daily_amount", "sum", "amount", "Tazama rule 048: large amount vs history, debtor"),
    _benford(
        "benford", "payer", "account_id", "Tazama rule 054: synthetic data check, Benford's law, debtor"
    ),
    _benford(
        "benford_payee",
        "payee",
        _SAME_PAYEE,
        "Tazama rule 063: synthetic data check, Benford's law, creditor",
    ),
    PackEntry(
        key="transaction_type",
        typology="product_risk",
        references=(
            "Tazama rule 078: transaction type",
            "FATF Recommendation 15: new technologies, virtual assets",
        ),
        document={
            "name": "Higher-risk kind of transaction",
            "description": "Cash withdrawal, purchase of virtual assets or bet of 100,000 or more (base currency).",
            "rule_type": "pattern",
            "conditions": [
                {
                    "field": "transaction_type",
                    "operator": "in",
                    "value": ["cash_out", "cash_withdrawal", "crypto_purchase", "gambling"],
                },
                {"field": "base_amount", "operator": "gte", "value": 100_000},
            ],
            "actions": flag(20, "Higher-risk kind of transaction"),
        },
        hits=story(paid("0s", "100000", transaction_type="cash_out")),
        misses=story(paid("0s", "100000", transaction_type="debit")),
    ),
    PackEntry(
        key="high_risk_merchant",
        typology="product_risk",
        references=("Visa and Mastercard rules: high-risk merchant category codes 6011, 6051, 7995",),
        document={
            "name": "Large amount in a high-risk merchant category",
            "description": "Cash, quasi-cash or betting merchant, 100,000 or more (base currency).",
            "rule_type": "pattern",
            "conditions": [
                {"field": "is_high_risk_mcc", "operator": "eq", "value": True},
                {"field": "base_amount", "operator": "gte", "value": 100_000},
            ],
            "actions": flag(20, "High-risk merchant category"),
        },
        hits=story(paid("0s", "100000", merchant_id="M1", merchant_category="7995")),
        misses=story(paid("0s", "100000", merchant_id="M1", merchant_category="5411")),
    ),
)
