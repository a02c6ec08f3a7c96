"""The frauds. Each is staged whole: who does what when, enough of it to satisfy its own pattern.

A staged fraud keeps its victims' ordinary payments away while the pattern's window still holds it, as a blocked card
or a warned customer would: otherwise the simulation would blame honest payments for the thief's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ingestion.simulator.events import HOUR_US, MINUTE_US, SECOND_US, EventLabel
from ingestion.simulator.merchants import Merchant, cash_machines, local_merchants, online_merchants
from ingestion.simulator.normal import shops_of
from ingestion.simulator.places import FAR_KM, NEAR_KM, cities_beyond, cities_within
from ingestion.simulator.state import AccountState, CustomerState
from ingestion.simulator.world import Instance, World, across_boundary

_FAILURES = ("wrong_password", "wrong_password", "wrong_pin", "otp_timeout")


class Staging:
    """One fraud being written into the agenda: every event gets its label, every transaction is counted."""

    def __init__(self, world: World, scenario: str, at_us: int) -> None:
        self.world = world
        self.scenario = scenario
        self.label = EventLabel(True, scenario, world.new_id("instance"))
        self.started_us = self.ended_us = at_us
        self.transactions = 0

    def pay(self, at_us: int, account: AccountState, *, amount_minor: int, **details: Any) -> str:
        self.transactions += 1
        self.ended_us = max(self.ended_us, at_us)
        return self.world.pay(
            at_us, account, amount_minor=amount_minor, origin=self.scenario, label=self.label, **details
        )

    def buy(self, at_us: int, account: AccountState, merchant: Merchant, **details: Any) -> str:
        """A purchase at the merchant's usual prices, never by accident just below the threshold."""
        factor = details.pop("factor", 1.0)
        amount_minor = self.world.outside_band(self.world.price(merchant, account.customer, factor))
        return self.pay(
            at_us, account, amount_minor=amount_minor, transaction_type="debit", merchant=merchant, **details
        )

    def login_storm(
        self, at_us: int, customer: CustomerState, *, device_id: str, city: int, failures: int, span_s: float
    ) -> int:
        """That many failed logins within the span, then one that succeeds; answers when it does."""
        address = self.world.strange_address(city)
        rng = self.world.rng
        times = [*spread(self.world, at_us, failures, span_s), self.world.later(at_us, span_s + 3, span_s + 15)]
        for number, login_us in enumerate(times):
            self.world.log_in(
                login_us,
                customer,
                device_id=device_id,
                city=city,
                ip_address=address,
                origin=self.scenario,
                failure_reason=rng.choice(_FAILURES) if number < failures else None,
                label=self.label,
            )
        self.ended_us = max(self.ended_us, times[-1])
        return times[-1]

    def block_card(self, account: AccountState) -> None:
        """Now and then the fraud system stops the card, and the bank lets it go when the customer has called."""
        if self.world.rng.random() < 0.6:
            return
        blocked_us = self.world.later(self.ended_us, 20, 60)
        unblocked_us = self.world.later(blocked_us, 300, 900)
        for at_us, event_type, by in (
            (blocked_us, "block", "fraud_system"),
            (unblocked_us, "unblock", "bank"),
        ):
            self.world.card_event(
                at_us, account, event_type=event_type, initiated_by=by, origin=self.scenario, label=self.label
            )
        account.customer.hold(unblocked_us)

    def close(self, *accounts: AccountState) -> Instance:
        users = dict.fromkeys(account.customer.profile.user_id for account in accounts)
        instance = Instance(
            instance_id=self.label.instance_id,
            scenario=self.scenario,
            user_ids=tuple(users),
            account_ids=tuple(account.profile.account_id for account in accounts),
            started_us=self.started_us,
            ended_us=self.ended_us,
            transactions=self.transactions,
        )
        self.world.instances.append(instance)
        return instance


def spread(world: World, at_us: int, count: int, span_s: float) -> list[int]:
    """`count` moments over the span, the first and the last at its ends, the others a little off their step."""
    step_s = span_s / max(1, count - 1)
    inner = (world.later(at_us, (n - 0.1) * step_s, (n + 0.1) * step_s) for n in range(1, count - 1))
    return [at_us, *inner, world.later(at_us, span_s, span_s)] if count > 1 else [at_us]


def _pick(world: World, at_us: int) -> AccountState | None:
    customer = world.idle_customer(at_us, lambda c: any(at_us >= account.free_at for account in c.accounts))
    return None if customer is None else world.free_account(customer, at_us)


def _burst_start(world: World, at_us: int, span_s: float, boundary_us: int) -> int:
    """Often a burst lies across a clock boundary, where counters per calendar minute would miss it."""
    if world.rng.random() < 0.4:
        return across_boundary(at_us, boundary_us, int(span_s * SECOND_US))
    return at_us


def _cnp_channel(world: World) -> str:
    return world.rng.choice(sorted(world.config.cnp_channels) or ["card_not_present"])


def _strange_device(world: World) -> str:
    return world.new_id("device-x")


def velocity_burst(world: World, at_us: int) -> Instance | None:
    """6–10 payments in under 50 s: a stolen card at shops, or an emptied wallet app."""
    account = _pick(world, at_us)
    if account is None:
        return None
    customer, rng = account.customer, world.rng
    count, span_s = rng.randrange(6, 11), rng.uniform(18, 48)
    stage = Staging(world, "velocity_burst", _burst_start(world, at_us, span_s, MINUTE_US))
    _rapid_payments(stage, stage.started_us, account, count, span_s)
    customer.hold(stage.ended_us + 90 * SECOND_US)
    stage.block_card(account)
    return stage.close(account)


def _rapid_payments(stage: Staging, at_us: int, account: AccountState, count: int, span_s: float) -> None:
    world, customer = stage.world, account.customer
    by_app = world.rng.random() < 0.5
    for pay_us in spread(world, at_us, count, span_s):
        if by_app:
            merchant = world.rng.choice(online_merchants())
            device_id = customer.devices[0].device_id
            stage.buy(pay_us, account, merchant, channel="mobile", device_id=device_id, city=customer.city)
        else:
            merchant = world.rng.choice(shops_of(customer))
            stage.buy(pay_us, account, merchant, channel="pos", with_card=True, city=customer.city)


def impossible_trip(world: World, at_us: int) -> Instance | None:
    """The owner pays at home; minutes later a copy of the card draws money over 1,100 km away."""

    def suits(customer: CustomerState) -> bool:
        return (
            bool(cities_beyond(customer.city, FAR_KM))
            and customer.may_be_seen(at_us, customer.city)
            and customer.primary.takes_payment(at_us)
        )

    customer = world.idle_customer(at_us, suits)
    if customer is None:
        return None
    account, rng = customer.primary, world.rng
    home_shop = rng.choice(shops_of(customer))
    world.pay(
        at_us,
        account,
        amount_minor=world.outside_band(world.price(home_shop, customer)),
        transaction_type="debit",
        channel="pos",
        origin="impossible_trip",
        merchant=home_shop,
        with_card=True,
        city=customer.city,
    )
    world.transaction_debt += 1
    customer.hold(at_us)
    far_city = rng.choice(cities_beyond(customer.city, FAR_KM))
    times = spread(world, world.later(at_us, 240, 2_400), rng.randrange(2, 5), rng.uniform(120, 400))
    stage = Staging(world, "impossible_trip", times[0])
    stage.transactions, stage.ended_us = len(times), times[-1]
    customer.engage(times[-1])

    def draw_far_away(_: int) -> None:
        abroad = Staging(world, stage.scenario, times[0])
        abroad.label = stage.label
        for pay_us in times:
            place = rng.choice((cash_machines, local_merchants))(far_city)
            is_cash = place is cash_machines(far_city)
            abroad.buy(
                pay_us,
                account,
                rng.choice(place),
                factor=4.0,
                channel="atm" if is_cash else "pos",
                with_card=True,
                city=far_city,
            )
        customer.hold(times[-1] + 3 * MINUTE_US)
        abroad.block_card(account)

    # Until then the owner goes on paying at home.
    world.schedule(times[0], draw_far_away)
    return stage.close(account)


def account_takeover(world: World, at_us: int) -> Instance | None:
    """A login storm, a success from a device never seen, the limit raised, and large payments from that device."""
    account = _pick(world, at_us)
    if account is None:
        return None
    customer, rng = account.customer, world.rng
    city = rng.choice((customer.city, *cities_within(customer.city, NEAR_KM)))
    device_id, span_s = _strange_device(world), rng.uniform(12, 45)
    stage = Staging(world, "account_takeover", _burst_start(world, at_us, span_s, MINUTE_US))
    entered_us = stage.login_storm(
        stage.started_us,
        customer,
        device_id=device_id,
        city=city,
        failures=rng.randrange(4, 10),
        span_s=span_s,
    )
    if rng.random() < 0.4:
        world.card_event(
            world.later(entered_us, 3, 10),
            account,
            event_type="limit_change",
            initiated_by="customer",
            origin=stage.scenario,
            label=stage.label,
        )
    pay_us = world.later(entered_us, 15, 90)
    for _ in range(rng.randrange(1, 4)):
        stage.pay(
            pay_us,
            account,
            amount_minor=world.outside_band(world.minor(rng.uniform(200_000, 900_000), customer)),
            transaction_type="debit",
            channel=_cnp_channel(world),
            merchant=rng.choice(online_merchants()),
            with_card=True,
            device_id=device_id,
            city=city,
            ip_address=world.strange_address(city),
        )
        pay_us = world.later(pay_us, 25, 60)
    customer.hold(stage.ended_us + 7 * MINUTE_US)
    stage.block_card(account)
    return stage.close(account)


def cnp_spike(world: World, at_us: int) -> Instance | None:
    """9–12 card-not-present payments in under five minutes, too slow for the velocity pattern."""
    account = _pick(world, at_us)
    if account is None:
        return None
    customer, rng = account.customer, world.rng
    span_s = rng.uniform(235, 288)
    stage = Staging(world, "cnp_spike", at_us)
    for pay_us in spread(world, at_us, rng.randrange(9, 13), span_s):
        # Card details typed in at a merchant: the merchant passes no device on.
        stage.buy(
            pay_us,
            account,
            rng.choice(online_merchants()),
            channel=_cnp_channel(world),
            with_card=True,
            city=customer.city,
            shows_position=False,
            ip_address=world.strange_address(customer.city),
        )
    customer.hold(stage.ended_us + 5 * MINUTE_US + 10 * SECOND_US)
    stage.block_card(account)
    return stage.close(account)


def structuring(world: World, at_us: int) -> Instance | None:
    """3–6 deposits of 90–99.99 % of the reporting threshold within 45 minutes, by one of the cash-heavy customers.

    The account stands still otherwise for an hour; a customer may do it again before it ends.
    """
    idle = [customer for customer in world.cash_heavy if customer.is_idle(at_us)]
    if not idle:
        return None
    rng = world.rng
    account = rng.choice(rng.choice(idle).accounts)
    stage = Staging(world, "structuring", at_us)
    for pay_us in spread(world, at_us, rng.randrange(3, 7), rng.uniform(480, 2_700)):
        stage.pay(
            pay_us,
            account,
            amount_minor=rng.randrange(world.band_low, world.band_high + 1),
            transaction_type="credit",
            channel=rng.choice(("branch", "atm", "mobile")),
            city=account.customer.city,
            metadata={"narrative": "cash deposit"},
        )
    account.hold(stage.ended_us + HOUR_US + MINUTE_US)
    return stage.close(account)


def compound(world: World, at_us: int) -> Instance | None:
    """Several patterns, or a pattern and outside alerts, on one user within five minutes."""
    account = _pick(world, at_us)
    if account is None:
        return None
    stage = Staging(world, "compound", _burst_start(world, at_us, 50, MINUTE_US))
    world.rng.choice((_card_testing, _emptied_account, _disputed_burst))(stage, account)
    account.customer.hold(stage.ended_us + 7 * MINUTE_US)
    stage.block_card(account)
    return stage.close(account)


def _card_testing(stage: Staging, account: AccountState) -> None:
    """9–12 small card-not-present payments within 75 s: velocity and card-not-present at once."""
    world, rng = stage.world, stage.world.rng
    for pay_us in spread(world, stage.started_us, rng.randrange(9, 13), rng.uniform(35, 75)):
        stage.buy(
            pay_us,
            account,
            rng.choice(online_merchants()),
            factor=0.3,
            channel=_cnp_channel(world),
            with_card=True,
            city=account.customer.city,
            shows_position=False,
            ip_address=world.strange_address(account.customer.city),
        )


def _emptied_account(stage: Staging, account: AccountState) -> None:
    """A login storm, then a burst of transfers from the app: brute force and velocity."""
    world, rng, customer = stage.world, stage.world.rng, account.customer
    device_id = _strange_device(world)
    entered_us = stage.login_storm(
        stage.started_us,
        customer,
        device_id=device_id,
        city=customer.city,
        failures=rng.randrange(4, 7),
        span_s=rng.uniform(10, 30),
    )
    burst_us = world.later(entered_us, 10, 60)
    for pay_us in spread(world, burst_us, rng.randrange(6, 10), rng.uniform(20, 45)):
        stage.pay(
            pay_us,
            account,
            amount_minor=world.outside_band(world.minor(rng.uniform(20_000, 90_000), customer)),
            transaction_type="transfer",
            channel="mobile",
            counterparty=world.new_id("outside-acct"),
            device_id=device_id,
            ip_address=world.strange_address(customer.city),
        )


def _disputed_burst(stage: Staging, account: AccountState) -> None:
    """A velocity burst, and two outside parties complaining of it."""
    world, rng = stage.world, stage.world.rng
    _rapid_payments(stage, stage.started_us, account, rng.randrange(6, 10), rng.uniform(20, 45))
    for alert_type in rng.sample(("card_network_warning", "chargeback_dispute", "merchant_complaint"), 2):
        stage.world.outside_alert(
            world.later(stage.started_us, 60, 200),
            account.customer,
            alert_type=alert_type,
            severity=rng.choice(("medium", "high")),
            confidence=rng.uniform(0.6, 0.95),
            origin=stage.scenario,
            label=stage.label,
        )


def mule_ring(world: World, at_us: int) -> Instance | None:
    """4–6 customers on one phone: three to five pay into a collecting account, which pays it out at once."""
    base_currency = world.config.base_currency

    def local(customer: CustomerState) -> bool:
        return customer.profile.currency == base_currency and at_us >= customer.primary.free_at

    hub = world.idle_customer(at_us, local)
    if hub is None:
        return None
    reachable = {hub.city, *cities_within(hub.city, NEAR_KM)}
    members: dict[str, CustomerState] = {}
    for _ in range(world.rng.randrange(3, 6)):
        member = world.idle_customer(at_us, lambda c: c is not hub and local(c) and c.city in reachable)
        if member is not None:
            members[member.profile.user_id] = member
    if len(members) < 3:
        return None
    stage = Staging(world, "mule_ring", at_us)
    return _run_ring(stage, hub, list(members.values()))


def _run_ring(stage: Staging, hub: CustomerState, members: list[CustomerState]) -> Instance:
    world, rng = stage.world, stage.world.rng
    device_id, address = _strange_device(world), world.strange_address(hub.city)
    collected, at_us = 0, stage.started_us

    def act(customer: CustomerState, amounts: list[int], counterparty: str) -> None:
        nonlocal at_us
        world.log_in(
            at_us,
            customer,
            device_id=device_id,
            city=hub.city,
            ip_address=address,
            origin=stage.scenario,
            label=stage.label,
        )
        for amount_minor in amounts:
            at_us = world.later(at_us, 12, 40)
            stage.pay(
                at_us,
                customer.primary,
                amount_minor=world.outside_band(amount_minor),
                transaction_type="transfer",
                channel="mobile",
                counterparty=counterparty,
                device_id=device_id,
                city=hub.city,
                ip_address=address,
            )
        customer.hold(at_us + 90 * SECOND_US)
        at_us = world.later(at_us, 15, 60)

    for member in members:
        amounts = [rng.randrange(40_000, 250_000) * 100 for _ in range(rng.randrange(1, 3))]
        collected += sum(amounts)
        act(member, amounts, hub.primary.profile.account_id)
    outgoing = int(collected * rng.uniform(0.85, 0.97)) // 2
    act(hub, [outgoing, outgoing], world.new_id("outside-acct"))
    return stage.close(hub.primary, *(member.primary for member in members))


class Scenario(NamedTuple):
    """`share` weighs how often it is staged; `transactions` is what one labels on average."""

    stage: Callable[[World, int], Instance | None]
    share: float
    transactions: float


SCENARIOS: dict[str, Scenario] = {
    "velocity_burst": Scenario(velocity_burst, 24, 8.0),
    "impossible_trip": Scenario(impossible_trip, 14, 3.0),
    "account_takeover": Scenario(account_takeover, 18, 2.0),
    "cnp_spike": Scenario(cnp_spike, 16, 10.5),
    "structuring": Scenario(structuring, 7, 4.5),
    "compound": Scenario(compound, 14, 8.5),
    "mule_ring": Scenario(mule_ring, 7, 8.0),
}


class Frauds:
    """Stages frauds so that their transactions make up `fraud_rate` of the stream over time."""

    def __init__(self, world: World, transactions_per_s: float) -> None:
        self.world = world
        self.transactions_per_s = transactions_per_s
        self._planned = 0.0
        self._names = list(SCENARIOS)
        self._shares = [scenario.share for scenario in SCENARIOS.values()]

    def start(self) -> None:
        if self.transactions_per_s > 0:
            self._schedule_next(self.world.start_us)

    def _schedule_next(self, at_us: int) -> None:
        due_s = (self._planned + self.world.rng.uniform(0, 6)) / self.transactions_per_s
        due_us = self.world.start_us + int(due_s * 1000) * 1000
        self.world.schedule(max(due_us, at_us + 1000), self._stage_one)

    def _stage_one(self, at_us: int) -> None:
        name = self.world.rng.choices(self._names, self._shares)[0]
        scenario = SCENARIOS[name]
        instance = scenario.stage(self.world, at_us)
        # Where nobody was free to be a victim the share is forgone, or a later moment would see it all at once.
        self._planned += scenario.transactions if instance is None else instance.transactions
        self._schedule_next(at_us)
