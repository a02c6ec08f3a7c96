"""What is known of one customer."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fraudsite.errors import Missing
from ingestion.events.selectors import customer_devices, customer_is_known, profiles_of
from ingestion.models import CustomerProfile
from screening.cases.models import Case
from screening.cases.selectors import cases_about
from screening.risk.selectors import account_risks, accounts_of_user

PROFILES_SHOWN = 100
# A customer with more accounts is shown these; `risk/accounts/` answers for any.
ACCOUNTS_SHOWN = 50
FIELDS = (
    "user_id",
    "risk_tier",
    "kyc_status",
    "account_type",
    "country_of_residence",
    "customer_since",
    "updated_at",
)


def customer_body(user_id: str, *, at: datetime) -> dict[str, Any]:
    if not customer_is_known(user_id):
        raise Missing(f"There is no customer {user_id}.")
    profiles = [each for each in profiles_of([user_id]).get(user_id, []) if each.updated_at <= at]
    risks = account_risks(accounts_of_user(user_id, at)[:ACCOUNTS_SHOWN], at)
    return {
        "user_id": user_id,
        "at": at,
        "kyc": _profile_body(profiles[-1], at) if profiles else None,
        "kyc_history": [_fields(each) for each in reversed(profiles[-PROFILES_SHOWN:])],
        "known_devices": customer_devices(user_id, at=at),
        "accounts": [
            {"account_id": risk.account_id, "risk_score": float(risk.score), "tier": risk.tier}
            for risk in risks
        ],
        "open_cases": [
            str(case_id)
            for case_id in cases_about(user_id=user_id)
            .exclude(status=Case.Status.CLOSED)
            .values_list("case_id", flat=True)
        ],
    }


def _profile_body(profile: CustomerProfile, at: datetime) -> dict[str, Any]:
    since = profile.customer_since
    return _fields(profile) | {"age_days": None if since is None else max(0, (at - since).days)}


def _fields(profile: CustomerProfile) -> dict[str, Any]:
    return {name: getattr(profile, name) for name in FIELDS}
