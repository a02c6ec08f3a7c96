"""What the customers did before the stream begins: their KYC profiles, and a few payments from each device.

"A device unseen in thirty days" means nothing for somebody who was never seen at all, so a platform that
starts empty is told some history first. It depends on the seed, the pool and the week, never on the moment a
run starts: sent again, it is a replay and not a duplicate.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from ingestion.simulator.config import SimulatorConfig
from ingestion.simulator.events import DAY_US, HOUR_US, SECOND_US, SimulatedEvent
from ingestion.simulator.normal import OrdinaryPayments
from ingestion.simulator.profiles import CustomerProfile, letters, seed_tag
from ingestion.simulator.state import AccountState, DeviceUse
from ingestion.simulator.world import World, kyc_event

_WEEK_US = 7 * DAY_US
# Old enough to count as known at any start within the week, young enough not to be forgotten in it.
_OLDEST_US = 15 * DAY_US
_YOUNGEST_US = 26 * HOUR_US
_PROFILES_US = 40 * DAY_US
_PAYMENTS_EACH = 4


def history_week_us(start_us: int) -> int:
    """The beginning of the week (counted from the epoch) whose history serves a run that starts then."""
    return start_us // _WEEK_US * _WEEK_US


def known_profiles(pool: tuple[CustomerProfile, ...], start_us: int) -> Iterator[SimulatedEvent]:
    at_us = history_week_us(start_us) - _PROFILES_US
    for number, profile in enumerate(pool):
        yield kyc_event(at_us + number * SECOND_US, profile, origin="history")


def past_payments(
    config: SimulatorConfig, pool: tuple[CustomerProfile, ...], start_us: int
) -> Iterator[SimulatedEvent]:
    """In time order; no customer has two within the hour, so that nothing looks like a pattern."""
    week_us = history_week_us(start_us)
    # A world of its own, so that nothing the stream remembers is touched; a generator and ids for each
    # customer, so that another pool size changes nobody's past.
    world = World(config, pool, week_us)
    payments = OrdinaryPayments(world, 0, origin="history")
    week = letters(max(0, week_us // 1000))
    for customer in world.customers:
        index = customer.profile.index
        world.rng = random.Random(f"{config.seed}:history:{week_us}:{index}")
        world.name_run(f"{seed_tag(config.seed)}-past-{week}-{letters(index)}")
        for moment_us, device in _moments(world.rng, week_us, customer.devices):
            account = world.rng.choice(customer.accounts)
            _pay_once(payments, moment_us, account, device)
    while (event := world.next_event()) is not None:
        yield event


def device_last_noted_us(start_us: int) -> int:
    """A moment at which a stream that starts then may take every profile device as used."""
    return history_week_us(start_us) - _YOUNGEST_US


def _moments(
    rng: random.Random, week_us: int, devices: list[DeviceUse]
) -> list[tuple[int, DeviceUse | None]]:
    """When this customer paid, and with which device (None: with the card at a shop)."""
    uses: list[DeviceUse | None] = list(devices)
    uses += [None] * max(1, _PAYMENTS_EACH - len(uses))
    slot_us = (_OLDEST_US - _YOUNGEST_US) // len(uses)
    rng.shuffle(uses)
    first_us = week_us - _OLDEST_US
    return [
        (first_us + number * slot_us + rng.randrange(0, (slot_us - 2 * HOUR_US) // 1000) * 1000, use)
        for number, use in enumerate(uses)
    ]


def _pay_once(
    payments: OrdinaryPayments, at_us: int, account: AccountState, device: DeviceUse | None
) -> None:
    if device is None:
        payments.pay_by_pos(at_us, account)
        return
    # This one device, taken as known: it is this payment that makes it so.
    customer = account.customer
    devices, customer.devices = customer.devices, [DeviceUse(device.device_id, at_us - 2 * DAY_US)]
    payments.pay_online(at_us, account, "mobile", with_card=False)
    customer.devices = devices
