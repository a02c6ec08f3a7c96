"""Money that passes through: what comes in leaves again within a day, with or without a commission kept."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from rules.pack.entry import Example, PackEntry, flag, paid, story

MULES = (
    "FATF, Egmont Group and INTERPOL, Illicit Financial Flows from Cyber-Enabled Fraud (2023): money mules"
)
LAUNDERING = "FATF, Professional Money Laundering (2018): rapid movement of funds"


def _mirror(
    key: str, title: str, group: dict[str, str], band: tuple[str, str], tazama: str, story_of: Any
) -> PackEntry:
    """Hits when this amount lies within `band` of the total, or of a single transfer, of the other direction."""
    low, high = (Decimal(text) for text in band)
    other: dict[str, Any] = {"field": "amount", "time_window": "24h", "group_by": [group]}
    total = {**other, "aggregate_function": "sum"}
    return PackEntry(
        key=key,
        typology="pass_through",
        references=(tazama, MULES, LAUNDERING),
        document={
            "name": title,
            "description": (
                f"This amount is {low * 100:f}–{high * 100:f} % of what moved the other way within 24 hours, "
                "in all or in a single transfer."
            ),
            "rule_type": "pattern",
            "conditions": [
                {**other, "aggregate_function": "count", "operator": "gte", "value": 1},
                {
                    "any": [
                        {
                            "all": [
                                {
                                    "field": "amount",
                                    "operator": "gte",
                                    "value": {"aggregate": total, "times": low},
                                },
                                {
                                    "field": "amount",
                                    "operator": "lte",
                                    "value": {"aggregate": total, "times": high},
                                },
                            ]
                        },
                        {
                            **other,
                            "aggregate_function": "count",
                            "operator": "gte",
                            "value": 1,
                            # amount of the one transfer x with low·x ≤ this amount ≤ high·x
                            "filters": [
                                {
                                    "field": "amount",
                                    "operator": "gte",
                                    "value": {"current": "amount", "times": _inverse(high)},
                                },
                                {
                                    "field": "amount",
                                    "operator": "lte",
                                    "value": {"current": "amount", "times": _inverse(low)},
                                },
                            ],
                        },
                    ]
                },
            ],
            "actions": flag(30, "Money passes through the account"),
        },
        hits=story_of("95" if high < 1 else "100"),
        misses=story_of("70"),
    )


def _inverse(factor: Decimal) -> Decimal:
    return (1 / factor).quantize(Decimal("0.0001"))


def _out_after_in(amount: str) -> Example:
    """60 and 40 came in, `amount` goes out. Earlier money does not count."""
    return story(
        paid("25h", "500", account_id="P0", user_id="U8", counterparty_account_id="A1"),
        paid("20h", "60", account_id="P1", user_id="U2", counterparty_account_id="A1"),
        paid("3h", "40", account_id="P2", user_id="U3", counterparty_account_id="A1"),
        paid("0s", amount, counterparty_account_id="A2"),
    )


def _in_after_out(amount: str) -> Example:
    """A2 paid out 60 and 40; now `amount` arrives there."""
    return story(
        paid("20h", "60", account_id="A2", user_id="U2", counterparty_account_id="P1"),
        paid("3h", "40", account_id="A2", user_id="U2", counterparty_account_id="P2"),
        paid("0s", amount, counterparty_account_id="A2"),
    )


_IN = {"counterparty_account_id": "account_id"}
_OUT = {"account_id": "counterparty_account_id"}

ENTRIES = (
    _mirror(
        "mirrored_out",
        "Incoming money leaves within a day",
        _IN,
        ("0.9", "1.1"),
        "Tazama rule 025: non-commissioned transaction mirroring, debtor",
        _out_after_in,
    ),
    _mirror(
        "mirrored_out_commission",
        "Incoming money leaves within a day, less a commission",
        _IN,
        ("0.81", "0.99"),
        "Tazama rule 027: commissioned transaction mirroring, debtor",
        _out_after_in,
    ),
    _mirror(
        "mirrored_in",
        "Outgoing money is made good within a day",
        _OUT,
        ("0.9", "1.1"),
        "Tazama rule 024: non-commissioned transaction mirroring, creditor",
        _in_after_out,
    ),
    _mirror(
        "mirrored_in_commission",
        "Outgoing money is made good within a day, less a commission",
        _OUT,
        ("0.81", "0.99"),
        "Tazama rule 026: commissioned transaction mirroring, creditor",
        _in_after_out,
    ),
)
