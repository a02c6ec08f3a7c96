"""Who pays whom: convergence and divergence, familiarity, repeated payees, narratives."""

from __future__ import annotations

from typing import Any

from rules.pack.entry import PackEntry, flag, paid, story

FUNNELS = "FFIEC BSA/AML Examination Manual, Appendix F: many senders to one beneficiary, funds transfers"
CYBER_FRAUD = "FATF, Egmont Group and INTERPOL, Illicit Financial Flows from Cyber-Enabled Fraud (2023)"
PSD2_SPENDING = (
    "Regulation (EU) 2018/389 (PSD2 RTS), Article 18(2)(c)(i): abnormal behavioural pattern of the payer"
)

_SAME_PAYEE = {"counterparty_account_id": "counterparty_account_id"}
_PAYER_OF_PAYEE = ["account_id", "counterparty_account_id"]


def _payments(count: int, step_minutes: int, **fields: Any) -> list[Any]:
    return [paid(f"{step_minutes * number}m", **fields) for number in range(count - 1, -1, -1)]


def _completed(key: str, noun: str, group: Any, tazama: str) -> PackEntry:
    return PackEntry(
        key=key,
        typology="new_accounts",
        references=(tazama, PSD2_SPENDING),
        document={
            "name": f"Nothing ever completed: {noun}",
            "description": f"100,000 or more (base currency) although no transaction of the {noun} has ever completed.",
            "rule_type": "pattern",
            "conditions": [
                {"field": "base_amount", "operator": "gte", "value": 100_000},
                {
                    "field": "transaction_id",
                    "operator": "eq",
                    "value": 0,
                    "aggregate_function": "count",
                    "time_window": "lifetime",
                    "group_by": [group],
                    "exclude_current": True,
                    "filters": [{"field": "status", "operator": "eq", "value": "completed"}],
                },
            ],
            "actions": flag(20, f"No completed transaction of the {noun} so far"),
        },
        hits=story(
            paid("2d", status="failed", counterparty_account_id="A2"),
            paid("0s", "100000", counterparty_account_id="A2"),
        ),
        misses=story(
            paid("300d", status="completed", counterparty_account_id="A2"),
            paid("0s", "100000", counterparty_account_id="A2"),
        ),
    )


ENTRIES = (
    PackEntry(
        key="convergence",
        typology="fan_in",
        references=("Tazama rules 002 and 016: transaction convergence", FUNNELS, CYBER_FRAUD),
        document={
            "name": "Convergence: five payers to one account in a day",
            "description": "The payee has been paid from at least five different accounts within 24 hours.",
            "rule_type": "pattern",
            "conditions": [
                {
                    "field": "account_id",
                    "operator": "gte",
                    "value": 5,
                    "aggregate_function": "distinct_count",
                    "time_window": "24h",
                    "group_by": [_SAME_PAYEE],
                }
            ],
            "actions": flag(35, "Many payers converge on one account"),
        },
        hits=story(
            *[
                paid(f"{5 * n}h", account_id=f"P{n}", user_id=f"U{n}", counterparty_account_id="A2")
                for n in (4, 3, 2, 1, 0)
            ]
        ),
        misses=story(
            *[
                paid(f"{6 * n}h", account_id=f"P{n}", user_id=f"U{n}", counterparty_account_id="A2")
                for n in (4, 3, 2, 1, 0)
            ]
        ),
    ),
    PackEntry(
        key="divergence",
        typology="fan_out",
        references=("Tazama rule 017: transaction divergence, debtor", CYBER_FRAUD),
        document={
            "name": "Divergence: five payees from one account in eight hours",
            "description": "The payer has paid at least five different accounts within 8 hours.",
            "rule_type": "pattern",
            "conditions": [
                {
                    "field": "counterparty_account_id",
                    "operator": "gte",
                    "value": 5,
                    "aggregate_function": "distinct_count",
                    "time_window": "8h",
                    "group_by": ["account_id"],
                }
            ],
            "actions": flag(35, "One account pays many others"),
        },
        hits=story(*[paid(f"{n}h", counterparty_account_id=f"Q{n}") for n in (6, 5, 4, 1, 0)]),
        misses=story(*[paid(f"{2 * n}h", counterparty_account_id=f"Q{n}") for n in (4, 3, 2, 1, 0)]),
    ),
    PackEntry(
        key="upstream_divergence",
        typology="fan_out",
        references=("Tazama rule 090: upstream transaction divergence", CYBER_FRAUD),
        document={
            "name": "Paid, then spread: the payer's incoming money leaves to many",
            "description": "An account paid within 24 hours pays at least four different accounts in that time.",
            "rule_type": "pattern",
            "conditions": [
                {
                    "field": "transaction_id",
                    "operator": "gte",
                    "value": 1,
                    "aggregate_function": "count",
                    "time_window": "24h",
                    "group_by": [{"counterparty_account_id": "account_id"}],
                },
                {
                    "field": "counterparty_account_id",
                    "operator": "gte",
                    "value": 4,
                    "aggregate_function": "distinct_count",
                    "time_window": "24h",
                    "group_by": ["account_id"],
                },
            ],
            "actions": flag(40, "Incoming money is spread over many accounts"),
        },
        hits=story(
            paid("20h", account_id="A9", user_id="U9", counterparty_account_id="A1"),
            *[paid(f"{n}h", counterparty_account_id=f"Q{n}") for n in (3, 2, 1, 0)],
        ),
        misses=story(
            paid("24h", account_id="A9", user_id="U9", counterparty_account_id="A1"),
            *[paid(f"{n}h", counterparty_account_id=f"Q{n}") for n in (3, 2, 1, 0)],
        ),
    ),
    PackEntry(
        key="outgoing_count",
        typology="velocity",
        references=("Tazama rule 010: increased account activity, debtor", PSD2_SPENDING),
        document={
            "name": "Many outgoing transactions in a day",
            "description": "At least 20 transactions from one account within 24 hours.",
            "rule_type": "velocity",
            "conditions": [
                {
                    "field": "transaction_id",
                    "operator": "gte",
                    "value": 20,
                    "aggregate_function": "count",
                    "time_window": "24h",
                    "group_by": ["account_id"],
                }
            ],
            "actions": flag(25, "Many outgoing transactions"),
        },
        hits=story(*_payments(20, 75)),
        misses=story(*_payments(20, 76)),
    ),
    PackEntry(
        key="incoming_count",
        typology="velocity",
        references=("Tazama rule 011: increased account activity, creditor", FUNNELS),
        document={
            "name": "Many incoming transactions in a day",
            "description": "At least 20 transactions to one account within 24 hours.",
            "rule_type": "velocity",
            "conditions": [
                {
                    "field": "transaction_id",
                    "operator": "gte",
                    "value": 20,
                    "aggregate_function": "count",
                    "time_window": "24h",
                    "group_by": [_SAME_PAYEE],
                }
            ],
            "actions": flag(25, "Many incoming transactions"),
        },
        hits=story(*_payments(20, 75, counterparty_account_id="A2")),
        misses=story(*_payments(20, 76, counterparty_account_id="A2")),
    ),
    _completed(
        "successful_ever", "payer's account", "account_id", "Tazama rule 044: successful transactions, debtor"
    ),
    _completed(
        "successful_ever_payee",
        "payee's account",
        _SAME_PAYEE,
        "Tazama rule 045: successful transactions, creditor",
    ),
    PackEntry(
        key="unfamiliar_counterparty",
        typology="scams",
        references=("Tazama rule 030: transfer to an unfamiliar account", PSD2_SPENDING, CYBER_FRAUD),
        document={
            "name": "Large payment to an unfamiliar account",
            "description": (
                "200,000 or more (base currency) to an account that this account, active before, has never paid."
            ),
            "rule_type": "pattern",
            "conditions": [
                {"field": "base_amount", "operator": "gte", "value": 200_000},
                {
                    "field": "transaction_id",
                    "operator": "eq",
                    "value": 0,
                    "aggregate_function": "count",
                    "time_window": "lifetime",
                    "group_by": _PAYER_OF_PAYEE,
                    "exclude_current": True,
                },
                {
                    "field": "transaction_id",
                    "operator": "gte",
                    "value": 3,
                    "aggregate_function": "count",
                    "time_window": "lifetime",
                    "group_by": ["account_id"],
                    "exclude_current": True,
                },
            ],
            "actions": flag(30, "First payment to this account"),
        },
        hits=story(
            *[paid(f"{n}d", counterparty_account_id="A2") for n in (3, 2, 1)],
            paid("0s", "200000", counterparty_account_id="A3"),
        ),
        misses=story(
            *[paid(f"{n}d", counterparty_account_id=f"A{n}") for n in (3, 2, 1)],
            paid("0s", "200000", counterparty_account_id="A3"),
        ),
    ),
    PackEntry(
        key="same_counterparty",
        typology="scams",
        references=("Tazama rule 008: outgoing transfer similarity, creditor", CYBER_FRAUD),
        document={
            "name": "Last three payments to the same account",
            "description": "The account's three newest payments, this one included, all went to one other account.",
            "rule_type": "pattern",
            "conditions": [
                {"field": "counterparty_account_id", "operator": "is_not_null"},
                {
                    "field": "counterparty_account_id",
                    "operator": "eq",
                    "value": 1,
                    "aggregate_function": "distinct_count",
                    "last": 3,
                    "group_by": ["account_id"],
                },
                {
                    "field": "transaction_id",
                    "operator": "eq",
                    "value": 3,
                    "aggregate_function": "count",
                    "last": 3,
                    "group_by": ["account_id"],
                },
            ],
            "actions": flag(10, "Repeated payments to the same account"),
        },
        hits=story(
            paid("9d", counterparty_account_id="A3"),
            *[paid(f"{n}d", counterparty_account_id="A2") for n in (2, 1, 0)],
        ),
        misses=story(
            paid("9d", counterparty_account_id="A2"),
            paid("2d", counterparty_account_id="A2"),
            paid("1d", counterparty_account_id="A3"),
            paid("0s", counterparty_account_id="A2"),
        ),
    ),
    PackEntry(
        key="narrative_similarity",
        typology="scams",
        references=("Tazama rule 007: outgoing transfer similarity, descriptions", CYBER_FRAUD),
        document={
            "name": "The same story told again and again",
            "description": "At least three payments of one account in 24 hours with nearly the same narrative (80 %).",
            "rule_type": "pattern",
            "conditions": [
                {
                    "field": "transaction_id",
                    "operator": "gte",
                    "value": 3,
                    "aggregate_function": "count",
                    "time_window": "24h",
                    "group_by": ["account_id"],
                    "filters": [
                        {
                            "field": "metadata.narrative",
                            "operator": "similar_to",
                            "value": {"current": "metadata.narrative", "threshold": 80},
                        }
                    ],
                }
            ],
            "actions": flag(15, "Payments with nearly the same narrative"),
        },
        hits=story(
            paid("5h", metadata={"narrative": "Invoice 1041 consulting"}),
            paid("3h", metadata={"narrative": "invoice 1042 consulting"}),
            paid("0s", metadata={"narrative": "Invoice 1043 consulting"}),
        ),
        misses=story(
            paid("5h", metadata={"narrative": "Invoice 1041 consulting"}),
            paid("3h", metadata={"narrative": "birthday gift for Ada"}),
            paid("0s", metadata={"narrative": "Invoice 1043 consulting"}),
        ),
    ),
)
