"""Which topic carries what."""

from __future__ import annotations

# Topic: what one of its messages is, a JSON object as the API's endpoint of that kind takes it.
KINDS = {
    "transactions": "transaction",
    "login_events": "login",
    "card_events": "card",
    "alert_events": "alert",
    "kyc_profile_events": "kyc",
}
TOPICS = tuple(KINDS)
DEAD_LETTERS = "fraud_dlq"
