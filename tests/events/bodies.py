"""Valid events of each kind, as clients send them."""

from __future__ import annotations

from typing import Any


def login(**given: Any) -> dict[str, Any]:
    return {
        "event_id": "L1",
        "user_id": "U1",
        "device_id": "D1",
        "ip_address": "197.210.1.1",
        "country_code": "NG",
        "latitude": 6.5244,
        "longitude": 3.3792,
        "user_agent": "Mozilla/5.0",
        "success": False,
        "failure_reason": "wrong_password",
        "occurred_at": "2026-03-04T10:00:00Z",
    } | given


def card(**given: Any) -> dict[str, Any]:
    return {
        "event_id": "C1",
        "account_id": "A1",
        "user_id": "U1",
        "card_id": "card-1",
        "card_last4": "4242",
        "event_type": "pin_change",
        "initiated_by": "customer",
        "occurred_at": "2026-03-04T10:00:00Z",
    } | given


def alert(**given: Any) -> dict[str, Any]:
    return {
        "alert_id": "X1",
        "user_id": "U1",
        "transaction_id": "T1",
        "alert_type": "device_risk",
        "severity": "high",
        "confidence_score": 0.93,
        "rule_id": "vendor-7",
        "occurred_at": "2026-03-04T10:00:00Z",
    } | given


def kyc(**given: Any) -> dict[str, Any]:
    return {
        "user_id": "U1",
        "risk_tier": "medium",
        "kyc_status": "verified",
        "account_type": "personal",
        "country_of_residence": "NG",
        "updated_at": "2026-03-01T00:00:00Z",
    } | given


def label(**given: Any) -> dict[str, Any]:
    return {"transaction_id": "T1", "is_fraud": True} | given


OF_KIND = {"login": login, "card": card, "alert": alert, "kyc": kyc, "label": label}
ID_FIELD = {
    "login": "event_id",
    "card": "event_id",
    "alert": "alert_id",
    "kyc": "user_id",
    "label": "transaction_id",
}
