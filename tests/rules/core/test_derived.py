from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from rules.core.derived import DerivationSettings, derive, to_base_amount
from tests.rules.core.build import T, transaction


@pytest.mark.parametrize(
    ("moment", "hour", "weekday", "is_weekend", "is_odd_hours"),
    [
        (datetime(2026, 11, 22, 14, 3, tzinfo=UTC), 14, 6, True, False),
        (datetime(2026, 11, 23, 4, 59, 59, tzinfo=UTC), 4, 0, False, True),
        (datetime(2026, 11, 23, 5, 0, tzinfo=UTC), 5, 0, False, False),
        (datetime(2026, 11, 21, 0, 0, tzinfo=UTC), 0, 5, True, True),
    ],
)
def test_it_derives_the_clock(moment, hour, weekday, is_weekend, is_odd_hours):
    derived = derive(transaction(occurred_at=moment))

    assert (derived["hour"], derived["weekday"]) == (hour, weekday)
    assert (derived["is_weekend"], derived["is_odd_hours"]) == (is_weekend, is_odd_hours)
    assert isinstance(derived["hour"], Decimal)


def test_the_clock_is_that_of_the_business():
    lagos = DerivationSettings(business_time_zone=ZoneInfo("Africa/Lagos"))

    assert (
        derive(transaction(occurred_at=datetime(2026, 11, 22, 23, 30, tzinfo=UTC)), settings=lagos)["weekday"]
        == 0
    )


@pytest.mark.parametrize(("channel", "expected"), [("web", True), ("pos", False), (None, None)])
def test_card_not_present_goes_by_the_channel(channel, expected):
    assert derive(transaction(channel=channel))["is_cnp"] is expected


@pytest.mark.parametrize(("category", "expected"), [("6011", True), ("5411", False), (None, None)])
def test_high_risk_goes_by_the_merchant_category(category, expected):
    assert derive(transaction(merchant_category=category))["is_high_risk_mcc"] is expected


def test_it_leaves_the_event_alone():
    event = transaction()

    derive(event)

    assert "hour" not in event


def test_a_login_has_a_clock_but_no_channel():
    derived = derive({"event_id": "L1", "occurred_at": T, "arrival": 1})

    assert derived["hour"] == 14
    assert "is_cnp" not in derived


def test_the_base_amount_is_rounded_half_even_to_4_decimals():
    assert to_base_amount(Decimal("1.5"), Decimal("0.00003")) == Decimal("0.0000")
    assert to_base_amount(Decimal(1), Decimal("0.00015")) == Decimal("0.0002")
    assert to_base_amount(Decimal(1), Decimal("0.00025")) == Decimal("0.0002")
    assert to_base_amount(Decimal("100000000000"), Decimal("1600.123456")) == Decimal("160012345600000.0000")
    assert to_base_amount(Decimal(1), None) is None
