"""The patterns that run from the first minute: bursts, impossible trips, takeovers, rings. Each raises a signal."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from rules.pack.entry import PackEntry, alerted, logged_in, paid, story

LAGOS: dict[str, Any] = {"latitude": Decimal("6.5244"), "longitude": Decimal("3.3792")}
LONDON: dict[str, Any] = {"latitude": Decimal("51.5074"), "longitude": Decimal("-0.1278")}
ABUJA: dict[str, Any] = {"latitude": Decimal("9.0579"), "longitude": Decimal("7.4951")}

PSD2_MONITORING = (
    "Regulation (EU) 2018/389 (PSD2 RTS), Article 2: transaction monitoring, known fraud scenarios"
)
PSD2_LOCATION = "Regulation (EU) 2018/389 (PSD2 RTS), Article 18(2)(c)(v): abnormal location of the payer"
PSD2_DEVICE = "Regulation (EU) 2018/389 (PSD2 RTS), Article 18(2)(c)(ii): unusual device or software access"


def _velocity(key: str, group: str, noun: str) -> PackEntry:
    fields: dict[str, Any] = {"card_id": "C1"}
    return PackEntry(
        key=key,
        typology="velocity",
        references=(PSD2_MONITORING, "OWASP Automated Threats, OAT-001 Carding"),
        is_enabled=True,
        document={
            "name": f"Velocity: 5 transactions in a minute on one {noun}",
            "description": f"At least five transactions on the same {noun} within 60 seconds.",
            "rule_type": "velocity",
            "priority": 80,
            "conditions": [
                {
                    "field": "transaction_id",
                    "operator": "gte",
                    "value": 5,
                    "aggregate_function": "count",
                    "time_window": "60s",
                    "group_by": [group],
                }
            ],
            "actions": [
                {
                    "action_type": "alert",
                    "parameters": {
                        "risk_score": 40,
                        "severity": "medium",
                        "reason": f"Burst of transactions on one {noun}",
                        "signal": "velocity",
                        "weight": Decimal("0.25"),
                        "horizon": "10m",
                    },
                }
            ],
        },
        hits=story(*[paid(f"{seconds}s", **fields) for seconds in (59, 40, 20, 5, 0)]),
        misses=story(*[paid(f"{seconds}s", **fields) for seconds in (60, 40, 20, 5, 0)]),
    )


def _cnp_spike(key: str, group: str, noun: str) -> PackEntry:
    fields: dict[str, Any] = {"card_id": "C1", "channel": "card_not_present"}
    return PackEntry(
        key=key,
        typology="card_fraud",
        references=(
            "OWASP Automated Threats, OAT-001 Carding",
            "Visa: account enumeration and account testing",
        ),
        is_enabled=True,
        document={
            "name": f"Card-not-present spike on one {noun}",
            "description": f"At least eight card-not-present transactions on the same {noun} within 5 minutes.",
            "rule_type": "velocity",
            "priority": 70,
            "conditions": [
                {"field": "is_cnp", "operator": "eq", "value": True},
                {
                    "field": "transaction_id",
                    "operator": "gte",
                    "value": 8,
                    "aggregate_function": "count",
                    "time_window": "5m",
                    "group_by": [group],
                    "filters": [{"field": "is_cnp", "operator": "eq", "value": True}],
                },
            ],
            "actions": [
                {
                    "action_type": "alert",
                    "parameters": {
                        "risk_score": 35,
                        "severity": "medium",
                        "reason": f"Spike of card-not-present transactions on one {noun}",
                        "signal": "cnp_spike",
                        "weight": Decimal("0.15"),
                        "horizon": "5m",
                    },
                }
            ],
        },
        hits=story(*[paid(f"{30 * step}s", **fields) for step in range(7, -1, -1)]),
        misses=story(
            *[paid(f"{30 * step}s", **{**fields, "channel": "pos"}) for step in range(7, 5, -1)],
            *[paid(f"{30 * step}s", **fields) for step in range(5, -1, -1)],
        ),
    )


def _structuring(threshold: Decimal) -> PackEntry:
    low, high = threshold * Decimal("0.9"), threshold * Decimal("0.9999")
    band = {"field": "base_amount", "operator": "between", "value": [low, high]}
    just_below, below = str(threshold * Decimal("0.95")), str(threshold * Decimal("0.5"))
    return PackEntry(
        key="structuring",
        typology="structuring",
        references=(
            "31 U.S.C. 5324 and 31 CFR 1010.314: structuring to evade reporting",
            "AUSTRAC, AML/CTF Act 2006, section 142: conducting transactions to avoid threshold reporting",
            "Nigeria, Money Laundering (Prevention and Prohibition) Act 2022; NFIU currency transaction reports",
        ),
        is_enabled=True,
        document={
            "name": "Structuring: repeated amounts just below the reporting threshold",
            "description": (
                "At least two transactions of 90–99.99 % of the reporting threshold, in base currency, "
                "on one account within 60 minutes."
            ),
            "rule_type": "structuring",
            "priority": 90,
            "conditions": [
                band,
                {
                    "field": "transaction_id",
                    "operator": "gte",
                    "value": 2,
                    "aggregate_function": "count",
                    "time_window": "60m",
                    "group_by": ["account_id"],
                    "filters": [band],
                },
            ],
            "actions": [
                {
                    "action_type": "alert",
                    "parameters": {
                        "risk_score": 60,
                        "severity": "high",
                        "reason": "Amounts kept just below the reporting threshold",
                        "signal": "structuring",
                        "weight": Decimal("0.40"),
                        "horizon": "60m",
                    },
                }
            ],
        },
        hits=story(paid("59m", just_below), paid("10m", below), paid("0s", just_below)),
        misses=story(paid("60m", just_below), paid("10m", str(threshold)), paid("0s", just_below)),
    )


GEO_IMPOSSIBLE = PackEntry(
    key="geo_impossible",
    typology="account_takeover",
    references=(PSD2_LOCATION,),
    is_enabled=True,
    document={
        "name": "Impossible trip",
        "description": "More than 1,000 km from the user's previous transaction, less than two hours after it.",
        "rule_type": "geo",
        "priority": 85,
        "conditions": [
            {
                "operator": "gt",
                "value": 1000,
                "aggregate_function": "distance_km_from_previous",
                "time_window": "2h",
                "group_by": ["user_id"],
            }
        ],
        "actions": [
            {
                "action_type": "alert",
                "parameters": {
                    "risk_score": 50,
                    "severity": "high",
                    "reason": "Too far from the previous transaction to be the same person",
                    "signal": "geo_impossible",
                    "weight": Decimal("0.30"),
                    "horizon": "30m",
                },
            }
        ],
    },
    hits=story(paid("119m", **LAGOS), paid("20m"), paid("0s", **LONDON)),
    misses=story(paid("2h", **LONDON), paid("1h", **LAGOS), paid("0s", **ABUJA)),
)

_DEVICE = {"device_id": "D-new", "channel": "card_not_present"}
DEVICE_ANOMALY = PackEntry(
    key="device_anomaly",
    typology="account_takeover",
    references=(PSD2_DEVICE,),
    is_enabled=True,
    document={
        "name": "Account takeover: payment from a device never seen before",
        "description": (
            "More than 500, card not present, from a device this user did not use in the 30 days before the last "
            "24 hours, although the user was active then."
        ),
        "rule_type": "account_takeover",
        "priority": 75,
        "conditions": [
            {"field": "amount", "operator": "gt", "value": 500},
            {"field": "is_cnp", "operator": "eq", "value": True},
            {
                "field": "transaction_id",
                "operator": "eq",
                "value": 0,
                "aggregate_function": "count",
                "time_window": "30d",
                "delay": "24h",
                "group_by": ["user_id", "device_id"],
            },
            {
                "field": "transaction_id",
                "operator": "gte",
                "value": 1,
                "aggregate_function": "count",
                "time_window": "30d",
                "delay": "24h",
                "group_by": ["user_id"],
            },
        ],
        "actions": [
            {
                "action_type": "alert",
                "parameters": {
                    "risk_score": 35,
                    "severity": "medium",
                    "reason": "Card-not-present payment from an unseen device",
                    "signal": "device_anomaly",
                    "weight": Decimal("0.20"),
                    "horizon": "10m",
                },
            }
        ],
    },
    hits=story(
        paid("40d", **_DEVICE),
        paid("5d", device_id="D1"),
        paid("1h", **_DEVICE),
        paid("0s", "500.01", **_DEVICE),
    ),
    misses=story(paid("40d", device_id="D1"), paid("5d", **_DEVICE), paid("0s", "900", **_DEVICE)),
)

BRUTE_FORCE = PackEntry(
    key="brute_force",
    typology="account_takeover",
    references=(
        "PCI DSS v4.0, requirement 8.3.4: limiting invalid authentication attempts",
        "OWASP Automated Threats, OAT-007 Credential Cracking and OAT-008 Credential Stuffing",
    ),
    is_enabled=True,
    document={
        "name": "Brute force: failed logins in quick succession",
        "description": "At least three failed logins of one user within 60 seconds.",
        "rule_type": "account_takeover",
        "trigger": ["login"],
        "priority": 85,
        "conditions": [
            {"field": "success", "operator": "eq", "value": False},
            {
                "field": "event_id",
                "operator": "gte",
                "value": 3,
                "aggregate_function": "count",
                "event": "login",
                "time_window": "60s",
                "group_by": ["user_id"],
                "filters": [{"field": "success", "operator": "eq", "value": False}],
            },
        ],
        "actions": [
            {
                "action_type": "alert",
                "parameters": {
                    "risk_score": 40,
                    "severity": "high",
                    "reason": "Repeated failed logins",
                    "signal": "brute_force",
                    "weight": Decimal("0.35"),
                    "horizon": "5m",
                },
            }
        ],
    },
    hits=story(
        logged_in("50s", success=False),
        logged_in("30s", success=True),
        logged_in("20s", success=False),
        logged_in("0s", success=False),
    ),
    misses=story(
        logged_in("60s", success=False), logged_in("20s", success=False), logged_in("0s", success=False)
    ),
)

COMPOUND_FRAUD = PackEntry(
    key="compound_fraud",
    typology="account_takeover",
    references=(PSD2_MONITORING,),
    is_enabled=True,
    document={
        "name": "Compound fraud: several kinds of alert at once",
        "description": "Alerts of at least two different types about one user within 5 minutes.",
        "rule_type": "pattern",
        "trigger": ["transaction", "alert"],
        "priority": 95,
        "conditions": [
            {
                "field": "alert_type",
                "operator": "gte",
                "value": 2,
                "aggregate_function": "distinct_count",
                "event": "alert",
                "time_window": "5m",
                "group_by": ["user_id"],
                "filters": [{"field": "alert_type", "operator": "ne", "value": "compound_fraud"}],
            }
        ],
        "actions": [
            {
                "action_type": "alert",
                "parameters": {
                    "risk_score": 60,
                    "severity": "critical",
                    "reason": "Different fraud patterns on one user within minutes",
                    "signal": "compound_fraud",
                    "weight": Decimal("0.20"),
                    "horizon": "10m",
                },
            }
        ],
    },
    hits=story(alerted("4m", "velocity"), alerted("1m", "geo_impossible"), paid("0s")),
    misses=story(
        alerted("5m", "structuring"), alerted("3m", "velocity"), alerted("1m", "velocity"), paid("0s")
    ),
)


def _ring(key: str, group: str, noun: str, *, is_enabled: bool) -> PackEntry:
    return PackEntry(
        key=key,
        typology="mule_accounts",
        references=(
            "FATF, Egmont Group and INTERPOL, Illicit Financial Flows from Cyber-Enabled Fraud (2023)",
            "Tazama rules 083 and 084: accounts associated with one party",
        ),
        is_enabled=is_enabled,
        document={
            "name": f"Ring: three customers on one {noun}",
            "description": f"At least three different customers on the same {noun} within 60 minutes.",
            "rule_type": "pattern",
            "priority": 60,
            "conditions": [
                {
                    "field": "user_id",
                    "operator": "gte",
                    "value": 3,
                    "aggregate_function": "distinct_count",
                    "time_window": "60m",
                    "group_by": [group],
                }
            ],
            "actions": [
                {
                    "action_type": "alert",
                    "parameters": {
                        "risk_score": 45,
                        "severity": "high",
                        "reason": f"Several customers share one {noun}",
                        "signal": key,
                    },
                }
            ],
        },
        hits=story(
            paid("50m", user_id="U2", **{group: "shared"}),
            paid("30m", user_id="U3", **{group: "shared"}),
            paid("0s", **{group: "shared"}),
        ),
        misses=story(
            paid("60m", user_id="U2", **{group: "shared"}),
            paid("30m", user_id="U3", **{group: "shared"}),
            paid("0s", **{group: "shared"}),
        ),
    )


def entries(structuring_threshold: Decimal) -> tuple[PackEntry, ...]:
    return (
        _velocity("velocity", "account_id", "account"),
        _velocity("velocity_card", "card_id", "card"),
        GEO_IMPOSSIBLE,
        DEVICE_ANOMALY,
        _cnp_spike("cnp_spike", "card_id", "card"),
        _cnp_spike("cnp_spike_account", "account_id", "account"),
        BRUTE_FORCE,
        _structuring(structuring_threshold),
        COMPOUND_FRAUD,
        _ring("shared_device_ring", "device_id", "device", is_enabled=True),
        _ring("shared_address_ring", "ip_address", "address", is_enabled=False),
    )
