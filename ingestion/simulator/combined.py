"""The frauds of several patterns or several people."""

from __future__ import annotations

from ingestion.simulator.events import MINUTE_US, SECOND_US
from ingestion.simulator.merchants import online_merchants
from ingestion.simulator.places import NEAR_KM, cities_within
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
from ingestion.simulator.state import AccountState, CustomerState
from ingestion.simulator.world import Instance, World


def compound(world: World, at_us: int) -> Instance | None:
    """Several patterns, or a pattern and outside alerts, on one user within five minutes."""
    account = victim_account(world, at_us)
    if account is None:
        return None
    stage = Staging(world, "compound", burst_start(world, at_us, 50, MINUTE_US))
    world.rng.choice((_card_testing, _emptied_account, _disputed_burst))(stage, account)
    account.customer.hold(stage.ended_us + 7 * MINUTE_US)
    stage.block_card(account)
    return stage.close(account)


def _card_testing(stage: Staging, account: AccountState) -> None:
    """9–12 small card-not-present payments within 75 s: velocity and card-not-present at once."""
    world, rng = stage.world, stage.world.rng
    address = world.strange_address(account.customer.city)
    for pay_us in spread(world, stage.started_us, rng.randrange(9, 13), rng.uniform(35, 75)):
        stage.buy(
            pay_us,
            account,
            rng.choice(online_merchants()),
            factor=0.3,
            channel=cnp_channel(world),
            with_card=True,
            city=account.customer.city,
            shows_position=False,
            ip_address=address,
        )


def _emptied_account(stage: Staging, account: AccountState) -> None:
    """A login storm, then a burst of transfers from the app: brute force and velocity."""
    world, rng, customer = stage.world, stage.world.rng, account.customer
    device_id, address = strange_device(world), world.strange_address(customer.city)
    entered_us = stage.login_storm(
        stage.started_us,
        customer,
        device_id=device_id,
        city=customer.city,
        address=address,
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
            counterparty=world.new_id("acct"),
            device_id=device_id,
            ip_address=address,
        )


def _disputed_burst(stage: Staging, account: AccountState) -> None:
    """A velocity burst, and two outside parties complaining of it."""
    world, rng = stage.world, stage.world.rng
    rapid_payments(stage, stage.started_us, account, rng.randrange(6, 10), rng.uniform(20, 45))
    for alert_type in rng.sample(("card_network_warning", "chargeback_dispute", "merchant_complaint"), 2):
        told_us = world.later(stage.started_us, 60, 200)
        stage.ended_us = max(stage.ended_us, told_us)
        world.outside_alert(
            told_us,
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
    stage = Staging(world, "mule_ring", at_us + QUIET_BEFORE_US)
    return _run_ring(stage, hub, list(members.values()))


def _run_ring(stage: Staging, hub: CustomerState, members: list[CustomerState]) -> Instance:
    world, rng = stage.world, stage.world.rng
    device_id, address = strange_device(world), world.strange_address(hub.city)
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
        customer.hold(at_us + 5 * MINUTE_US + 30 * SECOND_US)
        at_us = world.later(at_us, 15, 60)

    for member in members:
        amounts = [rng.randrange(40_000, 250_000) * 100 for _ in range(rng.randrange(1, 3))]
        collected += sum(amounts)
        act(member, amounts, hub.primary.profile.account_id)
    outgoing = int(collected * rng.uniform(0.85, 0.97)) // 2
    act(hub, [outgoing, outgoing], world.new_id("acct"))
    return stage.close(hub.primary, *(member.primary for member in members))
