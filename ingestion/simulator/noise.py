"""Legitimate life that looks a little like fraud: logins that fail once or twice, journeys, sprees, new
phones."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import accumulate

from ingestion.simulator.events import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from ingestion.simulator.normal import OrdinaryPayments
from ingestion.simulator.places import FAR_KM, NEAR_KM, cities_beyond, cities_within
from ingestion.simulator.state import AccountState, CustomerState, DeviceUse
from ingestion.simulator.world import World

# How often each happens, per transaction of the stream.
RATES: dict[str, float] = {
    "login": 0.2,
    "spree": 0.0006,
    "quick_run": 0.0006,
    "salary": 0.002,
    "new_device": 0.0003,
    "card_care": 0.004,
    "outside_alert": 0.001,
    "kyc_review": 0.0005,
}
_PAYDAY_FACTOR = 10
_JOURNEYS_PER_CUSTOMER_HOUR = 0.01
_AWAY_AT_START = 0.02
_MOST_DEVICES = 4

_QUIET_BEFORE_SPREE_US = 301 * SECOND_US
_QUIET_BEFORE_RUN_US = 61 * SECOND_US
_LOGIN_FAILURES = ("wrong_password", "wrong_password", "otp_timeout", "wrong_pin")
_ALERT_TYPES = ("card_network_warning", "chargeback_dispute", "merchant_complaint", "adverse_media")


class Noise:
    def __init__(self, world: World) -> None:
        self.world = world
        self._runs = OrdinaryPayments(world, 0, origin="quick_run")
        rate = world.config.transaction_rate
        rates = {**RATES, "journey": _JOURNEYS_PER_CUSTOMER_HOUR * len(world.customers) / 3600 / rate}
        self._weights = list(accumulate(rates.values()))
        self._happenings: list[Callable[[int], None]] = [getattr(self, name) for name in rates]
        self._per_s = self._weights[-1] * rate
        self._paid_in: dict[str, tuple[int, int]] = {}

    def start(self) -> None:
        self._send_some_away()
        self._schedule_next(self.world.start_us)

    def _schedule_next(self, at_us: int) -> None:
        wait = self.world.rng.expovariate(self._per_s)
        self.world.schedule(at_us + max(1, int(wait * SECOND_US)), self._happen)

    def _happen(self, at_us: int) -> None:
        self._schedule_next(at_us)
        draw = self.world.rng.random() * self._weights[-1]
        self._happenings[bisect(self._weights, draw, 0, len(self._weights) - 1)](at_us // 1000 * 1000)

    # Logins and devices

    def login(self, at_us: int) -> None:
        """Mostly a success; now and then one or two failures first, never three within a minute."""
        world = self.world
        customer = world.rng.choice(world.customers)
        if not customer.is_idle(at_us):
            return
        while world.rng.random() < 0.06 and customer.may_fail_login(at_us):
            self._log_in(at_us, customer, failure_reason=world.rng.choice(_LOGIN_FAILURES))
            at_us = world.later(at_us, 4, 20)
            customer.engage(at_us + MINUTE_US)
        self._log_in(at_us, customer)

    def _log_in(self, at_us: int, customer: CustomerState, failure_reason: str | None = None) -> None:
        world = self.world
        world.log_in(
            at_us,
            customer,
            device_id=world.rng.choice(customer.devices).device_id,
            city=customer.city,
            ip_address=world.address(customer.profile, customer.city),
            origin="login",
            failure_reason=failure_reason,
        )

    def new_device(self, at_us: int) -> None:
        """A new phone: one failed login, then success; for a day it only taps at shops."""
        world = self.world
        customer = world.idle_customer(at_us, lambda c: len(c.devices) < _MOST_DEVICES)
        if customer is None:
            return
        device = DeviceUse(world.new_id("device"))
        fails = customer.may_fail_login(at_us) and world.rng.random() < 0.4
        for failure_reason in ("new_device_check", None) if fails else (None,):
            world.log_in(
                at_us,
                customer,
                device_id=device.device_id,
                city=customer.city,
                ip_address=world.address(customer.profile, customer.city),
                origin="new_device",
                failure_reason=failure_reason,
            )
            at_us = world.later(at_us, 5, 25)
        customer.devices.append(device)

    # Journeys

    def _send_some_away(self) -> None:
        """A few are already elsewhere, not so far that a restarted stream makes it an impossible trip."""
        world = self.world
        for customer in world.customers:
            near = cities_within(customer.city, NEAR_KM)
            if near and world.rng.random() < _AWAY_AT_START:
                customer.city = customer.seen_city = world.rng.choice(near)
                self._plan_return(world.start_us, customer)

    def journey(self, at_us: int) -> None:
        """No payment until there: about an hour to a city near by, over two to one far away."""
        world = self.world
        customer = world.idle_customer(at_us, lambda c: c.city == c.profile.home)
        if customer is None:
            return
        near, far = cities_within(customer.city, NEAR_KM), cities_beyond(customer.city, FAR_KM)
        choices = near if near and world.rng.random() < 0.7 else far or near
        destination = world.rng.choice(choices)
        arrival_us = self._travel(at_us, customer, destination)
        self._plan_return(arrival_us, customer)

    def _travel(self, at_us: int, customer: CustomerState, destination: int) -> int:
        is_near = destination in cities_within(customer.city, NEAR_KM)
        least_s, most_s = (2400, 6000) if is_near else (7_800, 20_000)
        arrival_us = self.world.later(at_us, least_s, most_s)
        customer.hold(arrival_us)

        def arrive(_: int) -> None:
            customer.city = destination

        self.world.schedule(arrival_us, arrive)
        return arrival_us

    def _plan_return(self, arrival_us: int, customer: CustomerState) -> None:
        def go_home(at_us: int) -> None:
            if customer.is_idle(at_us):
                self._travel(at_us, customer, customer.profile.home)
            else:
                self.world.schedule(at_us + 10 * MINUTE_US, go_home)

        self.world.schedule(self.world.later(arrival_us, 3_600, 2 * DAY_US // SECOND_US), go_home)

    # Money

    def spree(self, at_us: int) -> None:
        """Six or seven card-not-present payments in five minutes: one short of the pattern."""
        picked = self._quiet_account(at_us, needs_device=True)
        if picked is None:
            return
        world, count = self.world, self.world.rng.randrange(6, 8)
        customer = picked.customer
        device = customer.known_device(at_us, world.rng)
        if device is None:
            return
        begin_us = at_us + _QUIET_BEFORE_SPREE_US
        step_s = world.rng.uniform(200, 270) / count
        for number in range(count):
            pay_us = world.later(begin_us, number * step_s, number * step_s + 5)
            merchant = world.rng.choice(customer.profile.online)
            world.pay(
                pay_us,
                picked,
                amount_minor=world.outside_band(world.price(merchant, customer, 1.5)),
                transaction_type="debit",
                channel="card_not_present",
                origin="spree",
                merchant=merchant,
                with_card=True,
                device_id=device.device_id,
                city=customer.city,
                ip_address=world.address(customer.profile, customer.city),
            )
            customer.hold(pay_us)
        device.note(begin_us)

    def quick_run(self, at_us: int) -> None:
        """Four payments within a minute, on a market street: one short of the pattern."""
        picked = self._quiet_account(at_us, needs_device=False)
        if picked is None:
            return
        world, pay_us = self.world, at_us + _QUIET_BEFORE_RUN_US
        for _ in range(4):
            self._runs.pay_by_pos(pay_us, picked)
            picked.customer.hold(pay_us)
            pay_us = world.later(pay_us, 8, 18)

    def _quiet_account(self, at_us: int, *, needs_device: bool) -> AccountState | None:
        world = self.world
        customer = world.idle_customer(
            at_us, lambda c: not needs_device or c.known_device(at_us, world.rng) is not None
        )
        return None if customer is None else world.free_account(customer, at_us)

    def salary(self, at_us: int) -> None:
        """On their pay day everybody is paid once; on other days a few small employers pay."""
        world = self.world
        today = datetime.fromtimestamp(at_us // SECOND_US, UTC)
        month = (today.year, today.month)
        for attempt in range(_PAYDAY_FACTOR):
            customer = world.idle_customer(at_us)
            if customer is None or self._paid_in.get(customer.profile.user_id) == month:
                continue
            is_pay_day = today.day == customer.profile.salary_day
            if is_pay_day or attempt == 0:
                self._pay_salary(world.later(at_us, 0, 1), customer, is_whole=is_pay_day)
                self._paid_in[customer.profile.user_id] = month

    def _pay_salary(self, at_us: int, customer: CustomerState, *, is_whole: bool) -> None:
        world = self.world
        if not customer.primary.takes_payment(at_us):
            return
        naira = customer.profile.salary if is_whole else customer.profile.salary // 4
        world.pay(
            at_us,
            customer.primary,
            amount_minor=world.outside_band(world.minor(naira, customer)),
            transaction_type="credit",
            channel="transfer",
            origin="salary",
            counterparty=customer.profile.employer_account_id,
            metadata={"narrative": "salary" if is_whole else "wages"},
        )
        customer.hold(at_us)

    # Cards, alerts, KYC

    def card_care(self, at_us: int) -> None:
        """PIN and limit changes, reissues, and cards blocked for a while, during which nothing is paid."""
        world = self.world
        customer = world.idle_customer(at_us)
        account = None if customer is None else world.free_account(customer, at_us)
        if account is None:
            return
        event_type = world.rng.choices(("pin_change", "limit_change", "block", "reissue"), (40, 25, 25, 10))[
            0
        ]
        by = "bank" if event_type == "reissue" else "customer"
        world.card_event(at_us, account, event_type=event_type, initiated_by=by, origin="card_care")
        if event_type == "block":
            unblocked_us = world.later(at_us, 180, 1_200)
            account.customer.hold(unblocked_us)
            world.card_event(
                unblocked_us, account, event_type="unblock", initiated_by="bank", origin="card_care"
            )

    def outside_alert(self, at_us: int) -> None:
        world = self.world
        customer = world.idle_customer(at_us, lambda c: c.may_be_alerted(at_us) and at_us >= c.settled_at)
        if customer is None:
            return
        world.outside_alert(
            at_us,
            customer,
            alert_type=world.rng.choice(_ALERT_TYPES),
            severity=world.rng.choices(("low", "medium"), (80, 20))[0],
            confidence=world.rng.uniform(0.1, 0.5),
            origin="outside_alert",
        )
        customer.engage(at_us + HOUR_US // 6)

    def kyc_review(self, at_us: int) -> None:
        world = self.world
        customer = world.rng.choice(world.customers)
        world.kyc(at_us, customer.profile, origin="kyc_review")
