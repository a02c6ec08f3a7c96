"""The simulated world: one clock, one generator, one agenda of what happens next, and the ways to make it
happen."""

from __future__ import annotations

import random
from bisect import bisect
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import accumulate
from typing import Any, NamedTuple

from ingestion.simulator.config import SimulatorConfig
from ingestion.simulator.events import HOUR_US, MINUTE_US, EventLabel, Payload, SimulatedEvent, iso_time
from ingestion.simulator.merchants import Merchant
from ingestion.simulator.places import CITIES
from ingestion.simulator.profiles import CustomerProfile, letters, seed_tag
from ingestion.simulator.state import NEAR_THRESHOLD_GAP_US, AccountState, CustomerState

Happening = Callable[[int], None]
# The origins of payments that arrive by themselves; every other payment takes the place of one of them.
_ARRIVING = frozenset({"normal", "travel"})
_NEAR_THRESHOLD_TURN_US = 15 * MINUTE_US
_NEAR_THRESHOLD_TURNS = 16
_FOREIGN_LEAST_MINOR = 2_000
_INSTANCES_KEPT = 100_000


class Instance(NamedTuple):
    """One staged fraud: who, when, and how many transactions it labels."""

    instance_id: str
    scenario: str
    user_ids: tuple[str, ...]
    account_ids: tuple[str, ...]
    started_us: int
    ended_us: int
    transactions: int


class World:
    """Times are µs since the epoch; amounts are minor units (1/100) of the customer's currency."""

    def __init__(self, config: SimulatorConfig, pool: tuple[CustomerProfile, ...], start_us: int) -> None:
        self.config = config
        self.start_us = start_us
        self.rng = random.Random(f"{config.seed}:stream")
        self.customers = [CustomerState(profile) for profile in pool]
        locals_only = [c for c in self.customers if c.profile.currency == config.base_currency]
        self.cash_heavy = [c for c in locals_only if c.profile.is_cash_heavy] or locals_only
        self.run_tag = f"{seed_tag(config.seed)}-{letters(max(0, start_us // 1000))}"
        self.instances: deque[Instance] = deque(maxlen=_INSTANCES_KEPT)
        self.transaction_debt = 0
        self._agenda: list[tuple[int, int, SimulatedEvent | Happening]] = []
        self._entries = 0
        self._serial = 0
        self._accounts = [account for customer in self.customers for account in customer.accounts]
        self._activity: dict[int, list[float]] = {}
        threshold_minor = config.structuring_threshold * 100
        self.band_low = int(threshold_minor * 9 / 10)
        self.band_high = int(threshold_minor * 9999 / 10_000)

    # The agenda

    def schedule(self, at_us: int, happening: Happening) -> None:
        self._entries += 1
        heappush(self._agenda, (at_us, self._entries, happening))

    def next_event(self) -> SimulatedEvent | None:
        """The next event in time order; None when nothing is left to happen."""
        agenda = self._agenda
        while agenda:
            at_us, _, item = heappop(agenda)
            if isinstance(item, SimulatedEvent):
                if item.kind == "transaction" and item.origin not in _ARRIVING:
                    self.transaction_debt += 1
                return item
            item(at_us)
        return None

    def emit(self, event: SimulatedEvent) -> None:
        self._entries += 1
        heappush(self._agenda, (event.at_us, self._entries, event))

    def name_run(self, tag: str) -> None:
        """Begin ids anew under another tag."""
        self.run_tag, self._serial = tag, 0

    def new_id(self, prefix: str) -> str:
        self._serial += 1
        return f"{prefix}-{self.run_tag}-{self._serial:07d}"

    def later(self, at_us: int, least_s: float, most_s: float) -> int:
        """A moment that many seconds after `at_us`, to the millisecond."""
        return at_us + int(self.rng.uniform(least_s, most_s) * 1000) * 1000

    # Choosing who

    def account_for_payment(self, at_us: int) -> AccountState | None:
        """An account free for an ordinary payment, the active ones likelier; None when (nearly) all are at
        their limits, so that a pool too small for its rate gives fewer payments and not a false burst."""
        hour = at_us // HOUR_US % 24
        cumulative = self._activity.get(hour)
        if cumulative is None:
            weights = (
                account.customer.profile.hours[hour] / len(account.customer.accounts) ** 0.5
                for account in self._accounts
            )
            cumulative = self._activity[hour] = list(accumulate(weights))
        accounts, draw, total = self._accounts, self.rng.random, cumulative[-1]
        for _ in range(40):
            account = accounts[bisect(cumulative, draw() * total, 0, len(accounts) - 1)]
            if account.takes_payment(at_us):
                return account
        return None

    def idle_customer(
        self, at_us: int, suits: Callable[[CustomerState], bool] | None = None
    ) -> CustomerState | None:
        """Someone with whom a story may begin, rather one who was not in another just now; None when nobody was
        found in a reasonable number of tries."""
        for attempt in range(60):
            customer = self.rng.choice(self.customers)
            is_settled = attempt >= 20 or at_us >= customer.settled_at
            if is_settled and customer.is_idle(at_us) and (suits is None or suits(customer)):
                return customer
        return None

    def free_account(self, customer: CustomerState, at_us: int) -> AccountState | None:
        free = [account for account in customer.accounts if at_us >= account.free_at]
        return self.rng.choice(free) if free else None

    def address(self, profile: CustomerProfile, city: int) -> str:
        """The customer's own address as seen from a city."""
        blocks = CITIES[city].ip_blocks
        return f"{blocks[profile.ip_block % len(blocks)]}.{profile.ip_suffix}"

    def strange_address(self, city: int) -> str:
        """An address that, below 25,000 customers, is nobody's in the pool."""
        draw = self.rng.randrange
        return f"{self.rng.choice(CITIES[city].ip_blocks)}.{draw(101, 256)}.{draw(1, 255)}"

    # Amounts

    def price(self, merchant: Merchant, customer: CustomerState, factor: float = 1.0) -> int:
        amount = self.rng.lognormvariate(merchant.log_median, merchant.sigma)
        return self.minor(amount * factor, customer)

    def minor(self, naira: float, customer: CustomerState) -> int:
        """A naira price in the customer's currency, at its customary granularity."""
        profile = customer.profile
        if profile.currency != self.config.base_currency:
            return max(_FOREIGN_LEAST_MINOR, int(naira * profile.scale * 100))
        amount = int(naira * profile.scale * 100)
        return max(5_000, amount - amount % 1_000 if amount % 3 else amount)

    def is_near_threshold(self, amount_minor: int, customer: CustomerState) -> bool:
        return (
            self.band_low <= amount_minor <= self.band_high
            and customer.profile.currency == self.config.base_currency
        )

    def ordinary_amount(self, amount_minor: int, account: AccountState, at_us: int) -> int:
        """The amount itself, or one outside the structuring band where this account had one inside of
        late."""
        if not self.is_near_threshold(amount_minor, account.customer):
            return amount_minor
        # Each customer has quarters of an hour for it, so that a restarted stream, which does not know what the
        # last one did, hardly ever adds a second one.
        is_turn = (
            at_us // _NEAR_THRESHOLD_TURN_US - account.customer.profile.index
        ) % _NEAR_THRESHOLD_TURNS == 0
        if is_turn and at_us - account.near_threshold_at >= NEAR_THRESHOLD_GAP_US:
            return amount_minor
        return self.outside_band(amount_minor)

    def outside_band(self, amount_minor: int) -> int:
        if self.band_low <= amount_minor <= self.band_high:
            return amount_minor * 5 // 4 if self.rng.random() < 0.5 else amount_minor * 4 // 5
        return amount_minor

    # What happens

    def pay(
        self,
        at_us: int,
        account: AccountState,
        *,
        amount_minor: int,
        transaction_type: str,
        channel: str,
        origin: str,
        label: EventLabel | None = None,
        merchant: Merchant | None = None,
        counterparty: str | None = None,
        with_card: bool = False,
        device_id: str | None = None,
        city: int | None = None,
        shows_position: bool = True,
        is_impossible: bool = False,
        ip_address: str | None = None,
        status: str = "completed",
        metadata: Payload | None = None,
    ) -> str:
        """Put a transaction on the agenda and remember it; answers its id. Without `city` it has no place at
        all; where showing the position would be an impossible trip, only one that `is_impossible` shows
        it."""
        customer, profile = account.customer, account.customer.profile
        transaction_id = self.new_id("tx")
        payload: Payload = {
            "transaction_id": transaction_id,
            "user_id": profile.user_id,
            "account_id": account.profile.account_id,
            "amount": f"{amount_minor // 100}.{amount_minor % 100:02d}",
            "currency": profile.currency,
            "transaction_type": transaction_type,
            "channel": channel,
            "status": status,
            "occurred_at": iso_time(at_us),
        }
        if merchant is not None:
            payload["merchant_id"] = merchant.merchant_id
            payload["merchant_category"] = merchant.category
            payload["merchant_name"] = merchant.name
        if counterparty is not None:
            payload["counterparty_account_id"] = counterparty
        if with_card:
            payload["card_id"] = account.profile.card_id
            payload["card_last4"] = account.profile.card_last4
        if device_id is not None:
            payload["device_id"] = device_id
        if ip_address is not None:
            payload["ip_address"] = ip_address
        if city is not None:
            shows = shows_position and (is_impossible or customer.may_be_seen(at_us, city))
            self._place(payload, customer, at_us, city, shows=shows)
        if metadata:
            payload["metadata"] = metadata
        account.times.append(at_us)
        if channel in self.config.cnp_channels:
            account.cnp_times.append(at_us)
        if self.is_near_threshold(amount_minor, customer):
            account.near_threshold_at = at_us
        self.emit(SimulatedEvent("transaction", payload, label, at_us, origin))
        return transaction_id

    def _place(
        self, payload: Payload, customer: CustomerState, at_us: int, city: int, *, shows: bool
    ) -> None:
        place = CITIES[city]
        payload["location"] = place.name
        payload["country_code"] = place.country
        if shows:
            self._position(payload, city)
            customer.seen_city, customer.seen_at = city, at_us

    def _position(self, payload: Payload, city: int) -> None:
        place, draw = CITIES[city], self.rng.random
        payload["latitude"] = round(place.latitude + draw() * 0.08 - 0.04, 5)
        payload["longitude"] = round(place.longitude + draw() * 0.08 - 0.04, 5)

    def log_in(
        self,
        at_us: int,
        customer: CustomerState,
        *,
        device_id: str,
        city: int,
        ip_address: str,
        origin: str,
        failure_reason: str | None = None,
        label: EventLabel | None = None,
    ) -> None:
        """Put a login on the agenda: a failed one when there is a `failure_reason`."""
        payload: Payload = {
            "event_id": self.new_id("login"),
            "user_id": customer.profile.user_id,
            "device_id": device_id,
            "ip_address": ip_address,
            "country_code": CITIES[city].country,
            "user_agent": customer.profile.user_agent,
            "success": failure_reason is None,
            "occurred_at": iso_time(at_us),
        }
        self._position(payload, city)
        if failure_reason is not None:
            payload["failure_reason"] = failure_reason
            customer.failed_logins.append(at_us)
        self.emit(SimulatedEvent("login", payload, label, at_us, origin))

    def card_event(
        self,
        at_us: int,
        account: AccountState,
        *,
        event_type: str,
        initiated_by: str,
        origin: str,
        label: EventLabel | None = None,
    ) -> None:
        payload: Payload = {
            "event_id": self.new_id("cardevent"),
            "account_id": account.profile.account_id,
            "user_id": account.customer.profile.user_id,
            "card_id": account.profile.card_id,
            "card_last4": account.profile.card_last4,
            "event_type": event_type,
            "initiated_by": initiated_by,
            "occurred_at": iso_time(at_us),
        }
        self.emit(SimulatedEvent("card", payload, label, at_us, origin))

    def outside_alert(
        self,
        at_us: int,
        customer: CustomerState,
        *,
        alert_type: str,
        severity: str,
        confidence: float,
        origin: str,
        label: EventLabel | None = None,
    ) -> None:
        payload: Payload = {
            "alert_id": self.new_id("alert"),
            "user_id": customer.profile.user_id,
            "alert_type": alert_type,
            "severity": severity,
            "confidence_score": round(confidence, 2),
            "occurred_at": iso_time(at_us),
        }
        customer.alerted_at = at_us
        self.emit(SimulatedEvent("alert", payload, label, at_us, origin))

    def kyc(self, at_us: int, profile: CustomerProfile, *, origin: str, **changes: Any) -> None:
        self.emit(kyc_event(at_us, profile, origin=origin, **changes))


def kyc_event(at_us: int, profile: CustomerProfile, *, origin: str, **changes: Any) -> SimulatedEvent:
    """The customer's KYC profile as of then, with `changes` of its fields."""
    payload: Payload = {
        "user_id": profile.user_id,
        "risk_tier": profile.risk_tier,
        "kyc_status": profile.kyc_status,
        "account_type": profile.account_type,
        "country_of_residence": profile.country,
        "updated_at": iso_time(at_us),
        **changes,
    }
    return SimulatedEvent("kyc", payload, None, at_us, origin)


def across_boundary(at_us: int, boundary_us: int, span_us: int) -> int:
    """A start at or after `at_us` that puts the middle of a burst of that span on a clock boundary."""
    half = span_us // 2000 * 1000
    return at_us + (-(at_us + half)) % boundary_us
