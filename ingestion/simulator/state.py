"""What the simulation remembers of each customer, so that ordinary traffic stays clear of the patterns.

Ordinary customers do not make five payments a minute or cross a continent in an hour. At twenty transactions
a second over five hundred people chance alone would have them do so, hence the limits kept here; each stays a
little inside the pattern's own bound, because windows slide.
"""

from __future__ import annotations

from collections import deque
from random import Random

from ingestion.simulator.events import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from ingestion.simulator.places import NEAR_KM, city_distance_km
from ingestion.simulator.profiles import AccountProfile, CustomerProfile

# Patterns: 5 in 60 s · 8 card-not-present in 5 min · 3 failed logins in 60 s · 2 near the threshold in 60
# min.
MOST_A_MINUTE = 4
MOST_CNP_IN_5_MINUTES = 6
MOST_FAILED_LOGINS = 2
_VELOCITY_GAP_US = 61 * SECOND_US
_CNP_GAP_US = 5 * MINUTE_US + SECOND_US
NEAR_THRESHOLD_GAP_US = 65 * MINUTE_US
_TRIP_GAP_US = 2 * HOUR_US + MINUTE_US
_ALERT_GAP_US = 11 * MINUTE_US

# A device counts as known once it was used longer ago than this, and for as long as that use is this young.
DEVICE_KNOWN_AFTER_US = 25 * HOUR_US
DEVICE_FORGOTTEN_AFTER_US = 30 * DAY_US
_DEVICE_NOTE_EVERY_US = 6 * HOUR_US


class AccountState:
    __slots__ = ("cnp_times", "customer", "free_at", "near_threshold_at", "profile", "times")

    def __init__(self, profile: AccountProfile, customer: CustomerState) -> None:
        self.profile = profile
        self.customer = customer
        self.times: deque[int] = deque(maxlen=MOST_A_MINUTE)
        self.cnp_times: deque[int] = deque(maxlen=MOST_CNP_IN_5_MINUTES)
        self.near_threshold_at = 0
        self.free_at = 0

    def takes_payment(self, at_us: int) -> bool:
        """Whether an ordinary payment now leaves the account clear of the velocity pattern."""
        if at_us < self.free_at or at_us < self.customer.free_at:
            return False
        return len(self.times) < MOST_A_MINUTE or at_us - self.times[0] >= _VELOCITY_GAP_US

    def takes_cnp(self, at_us: int) -> bool:
        return len(self.cnp_times) < MOST_CNP_IN_5_MINUTES or at_us - self.cnp_times[0] >= _CNP_GAP_US

    def hold(self, until_us: int) -> None:
        """No ordinary payment from this account before then."""
        self.free_at = max(self.free_at, until_us)


class DeviceUse:
    """When one customer used one device, a note every six hours."""

    __slots__ = ("device_id", "noted_us")

    def __init__(self, device_id: str, *used_us: int) -> None:
        self.device_id = device_id
        self.noted_us: deque[int] = deque(used_us)

    def note(self, at_us: int) -> None:
        if not self.noted_us or at_us - self.noted_us[-1] >= _DEVICE_NOTE_EVERY_US:
            self.noted_us.append(at_us)

    def is_known(self, at_us: int) -> bool:
        noted = self.noted_us
        while noted and noted[0] < at_us - DEVICE_FORGOTTEN_AFTER_US:
            noted.popleft()
        return bool(noted) and noted[0] <= at_us - DEVICE_KNOWN_AFTER_US


class CustomerState:
    """`city` is where the customer is; `seen_city` and `seen_at` the last position a payment showed."""

    __slots__ = (
        "accounts",
        "alerted_at",
        "city",
        "devices",
        "failed_logins",
        "free_at",
        "idle_at",
        "profile",
        "seen_at",
        "seen_city",
        "settled_at",
    )

    def __init__(self, profile: CustomerProfile) -> None:
        self.profile = profile
        self.accounts = [AccountState(account, self) for account in profile.accounts]
        self.devices = [DeviceUse(device_id) for device_id in profile.device_ids]
        self.city = profile.home
        self.seen_city = profile.home
        self.seen_at = 0
        self.failed_logins: deque[int] = deque(maxlen=MOST_FAILED_LOGINS)
        self.alerted_at = 0
        self.free_at = 0
        self.idle_at = 0
        self.settled_at = 0

    @property
    def primary(self) -> AccountState:
        return self.accounts[0]

    def is_idle(self, at_us: int) -> bool:
        """Whether a new story (a fraud, a journey, a spree) may begin with this customer."""
        return at_us >= self.idle_at and at_us >= self.free_at

    def engage(self, until_us: int) -> None:
        """No other story before then; ordinary payments go on."""
        self.idle_at = max(self.idle_at, until_us)

    def hold(self, until_us: int) -> None:
        """No other story and no ordinary payment before then."""
        self.free_at = max(self.free_at, until_us)
        self.engage(until_us)

    def may_be_seen(self, at_us: int, city: int) -> bool:
        """Whether showing a position there is no impossible trip from the last one."""
        if city == self.seen_city or at_us - self.seen_at >= _TRIP_GAP_US:
            return True
        return city_distance_km(city, self.seen_city) <= NEAR_KM

    def known_device(self, at_us: int, rng: Random) -> DeviceUse | None:
        """A device a card-not-present payment from which surprises nobody."""
        known = [use for use in self.devices if use.is_known(at_us)]
        return rng.choice(known) if known else None

    def may_fail_login(self, at_us: int) -> bool:
        failed = self.failed_logins
        return len(failed) < MOST_FAILED_LOGINS or at_us - failed[0] >= _VELOCITY_GAP_US

    def may_be_alerted(self, at_us: int) -> bool:
        return at_us - self.alerted_at >= _ALERT_GAP_US
