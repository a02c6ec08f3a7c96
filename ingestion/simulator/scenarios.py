"""The frauds. Each is staged whole: who does what when, enough of it to satisfy its own pattern.

A staged fraud keeps its victims' ordinary payments away while the pattern's window still holds it, as a
blocked card or a warned customer would: otherwise the simulation would blame honest payments for the thief's.
"""

from __future__ import annotations

from ingestion.simulator.events import HOUR_US, MINUTE_US, SECOND_US
from ingestion.simulator.merchants import cash_machines, local_merchants, online_merchants
from ingestion.simulator.normal import shops_of
from ingestion.simulator.places import FAR_KM, NEAR_KM, cities_beyond, cities_within
from ingestion.simulator.staging import (
    QUIET_BEFORE_US,
    Staging,
    burst_start,
    cnp_channel,
    rapid_payments,
    spread,
    strange_device,
    victim_account,
)
from ingestion.simulator.state import CustomerState
from ingestion.simulator.world import Instance, World


def velocity_burst(world: World, at_us: int) -> Instance | None:
    """6–10 payments in under 50 s: a stolen card at shops, or an emptied wallet app."""
    account = victim_account(world, at_us)
    if account is None:
        return None
    customer, rng = account.customer, world.rng
    count, span_s = rng.randrange(6, 11), rng.uniform(18, 48)
    stage = Staging(world, "velocity_burst", burst_start(world, at_us, span_s, MINUTE_US))
    rapid_payments(stage, stage.started_us, account, count, span_s)
    customer.hold(stage.ended_us + 90 * SECOND_US)
    stage.block_card(account)
    return stage.close(account)


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
                is_impossible=True,
            )
        customer.hold(times[-1] + 3 * MINUTE_US)
        abroad.block_card(account)

    # Until about then the owner goes on paying at home.
    world.schedule(times[0] - QUIET_BEFORE_US, lambda _: customer.hold(times[0]))
    world.schedule(times[0], draw_far_away)
    return stage.close(account)


def account_takeover(world: World, at_us: int) -> Instance | None:
    """A login storm, a success from a device never seen, the limit raised, and large payments from that
    device."""
    account = victim_account(world, at_us)
    if account is None:
        return None
    customer, rng = account.customer, world.rng
    city = rng.choice((customer.city, *cities_within(customer.city, NEAR_KM)))
    device_id, address, span_s = strange_device(world), world.strange_address(city), rng.uniform(12, 45)
    stage = Staging(world, "account_takeover", burst_start(world, at_us, span_s, MINUTE_US))
    entered_us = stage.login_storm(
        stage.started_us,
        customer,
        device_id=device_id,
        city=city,
        address=address,
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
            channel=cnp_channel(world),
            merchant=rng.choice(online_merchants()),
            with_card=True,
            device_id=device_id,
            city=city,
            ip_address=address,
        )
        pay_us = world.later(pay_us, 25, 60)
    customer.hold(stage.ended_us + 7 * MINUTE_US)
    stage.block_card(account)
    return stage.close(account)


def cnp_spike(world: World, at_us: int) -> Instance | None:
    """9–12 card-not-present payments in under five minutes, too slow for the velocity pattern."""
    account = victim_account(world, at_us)
    if account is None:
        return None
    customer, rng = account.customer, world.rng
    span_s = rng.uniform(235, 288)
    stage = Staging(world, "cnp_spike", at_us + QUIET_BEFORE_US)
    address = world.strange_address(customer.city)
    for pay_us in spread(world, stage.started_us, rng.randrange(9, 13), span_s):
        # Card details typed in at a merchant: the merchant passes no device on.
        stage.buy(
            pay_us,
            account,
            rng.choice(online_merchants()),
            channel=cnp_channel(world),
            with_card=True,
            city=customer.city,
            shows_position=False,
            ip_address=address,
        )
    customer.hold(stage.ended_us + 5 * MINUTE_US + 10 * SECOND_US)
    stage.block_card(account)
    return stage.close(account)


def structuring(world: World, at_us: int) -> Instance | None:
    """3–6 deposits of 90–99.99 % of the reporting threshold within 45 minutes, by one of the cash-heavy
    customers.

    The account stands still otherwise for an hour; a customer may do it again before it ends.
    """
    idle = [customer for customer in world.cash_heavy if customer.is_idle(at_us)]
    if not idle:
        return None
    rng = world.rng
    account = rng.choice(rng.choice(idle).accounts)
    stage = Staging(world, "structuring", at_us + QUIET_BEFORE_US)
    for pay_us in spread(world, stage.started_us, rng.randrange(3, 7), rng.uniform(480, 2_700)):
        stage.pay(
            pay_us,
            account,
            amount_minor=rng.randrange(world.band_low, world.band_high + 1),
            transaction_type="credit",
            channel=rng.choice(("branch", "atm", "mobile")),
            city=account.customer.city,
            shows_position=False,
        )
    account.hold(stage.ended_us + HOUR_US + MINUTE_US)
    return stage.close(account)
