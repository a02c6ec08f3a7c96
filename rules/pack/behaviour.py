"""When and where a customer acts: pace, distance, habitual places, odd hours, what happened just before."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from rules.pack.entry import PackEntry, card_event, flag, logged_in, paid, story
from rules.pack.streaming import ABUJA, LAGOS, LONDON, PSD2_DEVICE, PSD2_LOCATION, PSD2_MONITORING

PSD2_SPENDING = (
    "Regulation (EU) 2018/389 (PSD2 RTS), Article 18(2)(c)(i): abnormal behavioural pattern of the payer"
)
CARD_TESTING = "OWASP Automated Threats, OAT-001 Carding; Visa: account enumeration and account testing"
NACHA = "Nacha Operating Rules: fraud monitoring by originators and receiving institutions (2026)"

_NEAR_LAGOS: dict[str, Any] = {"latitude": Decimal("6.5300"), "longitude": Decimal("3.3800")}

ENTRIES = (
    PackEntry(
        key="time_since_last",
        typology="velocity",
        references=("Tazama rule 076: time since last transaction, debtor", PSD2_MONITORING),
        document={
            "name": "Faster than a person: two payments within 5 seconds",
            "description": "Less than five seconds since the account's previous transaction.",
            "rule_type": "velocity",
            "conditions": [
                {
                    "operator": "lt",
                    "value": 5,
                    "aggregate_function": "seconds_since_last",
                    "time_window": "lifetime",
                    "group_by": ["account_id"],
                    "exclude_current": True,
                }
            ],
            "actions": flag(15, "Immediately after the previous transaction"),
        },
        hits=story(paid("2h"), paid("4s"), paid("0s")),
        misses=story(paid("2h"), paid("5s"), paid("0s")),
    ),
    PackEntry(
        key="distance_over_time",
        typology="account_takeover",
        references=("Tazama rule 074: distance over time, debtor", PSD2_LOCATION),
        document={
            "name": "Faster than a plane",
            "description": "Further than 100 km from the user's previous transaction, at more than 900 km/h.",
            "rule_type": "geo",
            "conditions": [
                {
                    "operator": "gt",
                    "value": 100,
                    "aggregate_function": "distance_km_from_previous",
                    "time_window": "24h",
                    "group_by": ["user_id"],
                },
                {
                    "operator": "gt",
                    "value": 900,
                    "aggregate_function": "speed_kmh_from_previous",
                    "time_window": "24h",
                    "group_by": ["user_id"],
                },
            ],
            "actions": flag(35, "Faster than a plane could fly"),
        },
        hits=story(paid("5h", **LAGOS), paid("0s", **LONDON)),
        misses=story(paid("6h", **LAGOS), paid("0s", **LONDON)),
    ),
    PackEntry(
        key="habitual_location",
        typology="account_takeover",
        references=("Tazama rule 075: distance from habitual locations, debtor", PSD2_LOCATION),
        document={
            "name": "Away from habitual places",
            "description": "None of the user's transactions of 90 days, five or more located, was within 5 km.",
            "rule_type": "geo",
            "conditions": [
                {
                    "field": "transaction_id",
                    "operator": "eq",
                    "value": 0,
                    "aggregate_function": "count",
                    "time_window": "90d",
                    "group_by": ["user_id"],
                    "exclude_current": True,
                    "filters": [{"field": "distance_km_to_current", "operator": "lte", "value": 5}],
                },
                {
                    "field": "transaction_id",
                    "operator": "gte",
                    "value": 5,
                    "aggregate_function": "count",
                    "time_window": "90d",
                    "group_by": ["user_id"],
                    "exclude_current": True,
                    "filters": [{"field": "latitude", "operator": "is_not_null"}],
                },
            ],
            "actions": flag(20, "Far from where this user usually is"),
        },
        hits=story(*[paid(f"{n}d", **LAGOS) for n in (9, 7, 5, 3, 1)], paid("0s", **ABUJA)),
        misses=story(*[paid(f"{n}d", **LAGOS) for n in (9, 7, 5, 3, 1)], paid("0s", **_NEAR_LAGOS)),
    ),
    PackEntry(
        key="new_country",
        typology="account_takeover",
        references=(PSD2_LOCATION,),
        document={
            "name": "Country never seen before",
            "description": "A user with at least five transactions in 90 days pays from a country not among theirs.",
            "rule_type": "geo",
            "conditions": [
                {
                    "field": "transaction_id",
                    "operator": "eq",
                    "value": 0,
                    "aggregate_function": "count",
                    "time_window": "90d",
                    "group_by": ["user_id", "country_code"],
                    "exclude_current": True,
                },
                {
                    "field": "transaction_id",
                    "operator": "gte",
                    "value": 5,
                    "aggregate_function": "count",
                    "time_window": "90d",
                    "group_by": ["user_id"],
                    "exclude_current": True,
                    "filters": [{"field": "country_code", "operator": "is_not_null"}],
                },
            ],
            "actions": flag(20, "First transaction from this country"),
        },
        hits=story(
            *[paid(f"{n}d", country_code="NG") for n in (9, 7, 5, 3, 1)], paid("0s", country_code="GB")
        ),
        misses=story(
            *[paid(f"{n}d", country_code="NG") for n in (9, 7, 5, 3)],
            paid("1d", country_code="GB"),
            paid("0s", country_code="GB"),
        ),
    ),
    PackEntry(
        key="odd_hours",
        typology="unusual_activity",
        references=(PSD2_SPENDING,),
        document={
            "name": "Large amount at night by someone who is not up at night",
            "description": "200,000 or more (base currency) between 00:00 and 04:59, a first for this user in 30 days.",
            "rule_type": "pattern",
            "conditions": [
                {"field": "is_odd_hours", "operator": "eq", "value": True},
                {"field": "base_amount", "operator": "gte", "value": 200_000},
                {
                    "field": "transaction_id",
                    "operator": "eq",
                    "value": 0,
                    "aggregate_function": "count",
                    "time_window": "30d",
                    "group_by": ["user_id"],
                    "exclude_current": True,
                    "filters": [{"field": "is_odd_hours", "operator": "eq", "value": True}],
                },
            ],
            "actions": flag(20, "Large amount at an unusual hour"),
        },
        # The screened event of a story is at 10:00, so the night is shown by its own time.
        hits=story(paid("20h"), paid("7h", "200000")),
        misses=story(paid("31h"), paid("7h", "200000")),
    ),
    PackEntry(
        key="card_testing",
        typology="card_fraud",
        references=(CARD_TESTING,),
        document={
            "name": "Card testing: many small payments with one card",
            "description": "At least five payments of 200 or less with one card within 10 minutes.",
            "rule_type": "velocity",
            "conditions": [
                {"field": "amount", "operator": "lte", "value": 200},
                {
                    "field": "amount",
                    "operator": "gte",
                    "value": 5,
                    "aggregate_function": "count",
                    "time_window": "10m",
                    "group_by": ["card_id"],
                    "filters": [{"field": "amount", "operator": "lte", "value": 200}],
                },
            ],
            "actions": flag(30, "Small payments test whether the card works"),
        },
        hits=story(*[paid(f"{2 * n}m", "50", card_id="C1") for n in (4, 3, 2, 1, 0)]),
        misses=story(
            paid("8m", "200.01", card_id="C1"), *[paid(f"{n}m", "50", card_id="C1") for n in (3, 2, 1, 0)]
        ),
    ),
    PackEntry(
        key="many_cards_one_device",
        typology="card_fraud",
        references=(CARD_TESTING,),
        document={
            "name": "Many cards on one device",
            "description": "At least four different cards on one device within 60 minutes.",
            "rule_type": "velocity",
            "conditions": [
                {
                    "field": "card_id",
                    "operator": "gte",
                    "value": 4,
                    "aggregate_function": "distinct_count",
                    "time_window": "60m",
                    "group_by": ["device_id"],
                }
            ],
            "actions": flag(40, "Many cards on one device"),
        },
        hits=story(*[paid(f"{10 * n}m", card_id=f"C{n}", device_id="D1") for n in (3, 2, 1, 0)]),
        misses=story(*[paid(f"{20 * n}m", card_id=f"C{n}", device_id="D1") for n in (3, 2, 1, 0)]),
    ),
    PackEntry(
        key="failed_then_success",
        typology="card_fraud",
        references=(CARD_TESTING, NACHA),
        document={
            "name": "A payment after a row of failures",
            "description": "At least three failed transactions on the account in the 15 minutes before this one.",
            "rule_type": "pattern",
            "conditions": [
                {"field": "status", "operator": "ne", "value": "failed"},
                {
                    "field": "transaction_id",
                    "operator": "gte",
                    "value": 3,
                    "aggregate_function": "count",
                    "time_window": "15m",
                    "group_by": ["account_id"],
                    "exclude_current": True,
                    "filters": [{"field": "status", "operator": "eq", "value": "failed"}],
                },
            ],
            "actions": flag(25, "Failures just before"),
        },
        hits=story(*[paid(f"{n}m", status="failed") for n in (14, 6, 1)], paid("0s")),
        misses=story(*[paid(f"{n}m", status="failed") for n in (15, 6, 1)], paid("0s")),
    ),
    PackEntry(
        key="new_device_login",
        typology="account_takeover",
        references=(PSD2_DEVICE, "PCI DSS v4.0, requirement 8: identify users and authenticate access"),
        document={
            "name": "Payment right after a login from a new device",
            "description": (
                "50,000 or more (base currency) from a device this user first logged in with within the hour."
            ),
            "rule_type": "account_takeover",
            "conditions": [
                {"field": "base_amount", "operator": "gte", "value": 50_000},
                {
                    "field": "event_id",
                    "operator": "gte",
                    "value": 1,
                    "aggregate_function": "count",
                    "event": "login",
                    "time_window": "1h",
                    "group_by": ["user_id", "device_id"],
                    "filters": [{"field": "success", "operator": "eq", "value": True}],
                },
                {
                    "operator": "lte",
                    "value": 3_600,
                    "aggregate_function": "seconds_since_first",
                    "event": "login",
                    "time_window": "lifetime",
                    "group_by": ["user_id", "device_id"],
                },
            ],
            "actions": flag(35, "Large payment from a device first seen within the hour"),
        },
        hits=story(
            logged_in("9d", success=True, device_id="D1"),
            logged_in("10m", success=True, device_id="D2"),
            paid("0s", "50000", device_id="D2"),
        ),
        misses=story(
            logged_in("9d", success=False, device_id="D2"),
            logged_in("10m", success=True, device_id="D2"),
            paid("0s", "50000", device_id="D2"),
        ),
    ),
    PackEntry(
        key="card_changed_then_spent",
        typology="account_takeover",
        references=(PSD2_MONITORING,),
        document={
            "name": "Large payment after a card was unblocked or its limit or PIN changed",
            "description": "200,000 or more (base currency) within 2 hours of such a change on the account.",
            "rule_type": "account_takeover",
            "conditions": [
                {"field": "base_amount", "operator": "gte", "value": 200_000},
                {
                    "field": "event_id",
                    "operator": "gte",
                    "value": 1,
                    "aggregate_function": "count",
                    "event": "card",
                    "time_window": "2h",
                    "group_by": ["account_id"],
                    "filters": [
                        {
                            "field": "event_type",
                            "operator": "in",
                            "value": ["unblock", "pin_change", "limit_change"],
                        }
                    ],
                },
            ],
            "actions": flag(30, "Large payment shortly after a change on the card"),
        },
        hits=story(card_event("90m", "limit_change"), paid("0s", "200000")),
        misses=story(card_event("90m", "block"), card_event("2h", "unblock"), paid("0s", "200000")),
    ),
    PackEntry(
        key="fraud_share_of_merchant",
        typology="merchant_risk",
        references=(
            "Fraud Detection Handbook (Le Borgne et al., 2022), chapter 3: terminal risk with a delay",
            "Visa and Mastercard fraud monitoring programmes: share of fraud at a merchant",
        ),
        document={
            "name": "Merchant with proven fraud",
            "description": (
                "At least 5 % of the merchant's labelled transactions of the week before last were fraud."
            ),
            "rule_type": "pattern",
            "conditions": [
                {
                    "field": "label.is_fraud",
                    "operator": "gte",
                    "value": Decimal("0.05"),
                    "aggregate_function": "avg",
                    "time_window": "7d",
                    "delay": "7d",
                    "group_by": ["merchant_id"],
                },
                {
                    "field": "transaction_id",
                    "operator": "gte",
                    "value": 5,
                    "aggregate_function": "count",
                    "time_window": "7d",
                    "delay": "7d",
                    "group_by": ["merchant_id"],
                    "filters": [{"field": "label.is_fraud", "operator": "is_not_null"}],
                },
            ],
            "actions": flag(25, "Fraud was proven at this merchant"),
        },
        hits=story(
            *[paid(f"{n}d", merchant_id="M1", label__is_fraud=n == 9) for n in (13, 12, 10, 9, 8)],
            paid("0s", merchant_id="M1"),
        ),
        misses=story(
            *[paid(f"{n}d", merchant_id="M1", label__is_fraud=n == 6) for n in (13, 12, 10, 9, 8, 6)],
            paid("0s", merchant_id="M1"),
        ),
    ),
    PackEntry(
        key="proven_fraud_account",
        typology="known_fraud",
        references=("Regulation (EU) 2018/389 (PSD2 RTS), Article 2(2)(a): compromised elements", NACHA),
        document={
            "name": "Payment to an account with proven fraud",
            "description": "A payment to this account within a year proved to be fraud.",
            "rule_type": "blacklist",
            "priority": 60,
            "conditions": [
                {
                    "field": "transaction_id",
                    "operator": "gte",
                    "value": 1,
                    "aggregate_function": "count",
                    "time_window": "365d",
                    "group_by": [{"counterparty_account_id": "counterparty_account_id"}],
                    "exclude_current": True,
                    "filters": [{"field": "label.is_fraud", "operator": "eq", "value": True}],
                }
            ],
            "actions": flag(50, "This payee was paid by fraud before"),
        },
        hits=story(
            paid("200d", account_id="A7", user_id="U7", counterparty_account_id="A2", label__is_fraud=True),
            paid("0s", counterparty_account_id="A2"),
        ),
        misses=story(
            paid("200d", account_id="A7", user_id="U7", counterparty_account_id="A2", label__is_fraud=False),
            paid("0s", counterparty_account_id="A2"),
        ),
    ),
)
