"""How a fraud is written into the agenda."""

from __future__ import annotations

from typing import Any

from ingestion.simulator.events import MINUTE_US, SECOND_US, EventLabel
from ingestion.simulator.merchants import Merchant, online_merchants
from ingestion.simulator.normal import shops_of
from ingestion.simulator.state import AccountState, CustomerState
from ingestion.simulator.world import Instance, World, across_boundary

_FAILURES = ("wrong_password", "wrong_password", "wrong_pin", "otp_timeout")

# Payments an honest minute may have left on the account would add a velocity hit to a slower pattern.
QUIET_BEFORE_US = 61 * SECOND_US
# Rather others are chosen than a victim while alerts of the last fraud may still compound with it.
_ALERTS_FADE_US = 5 * MINUTE_US + 10 * SECOND_US


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
        self,
        at_us: int,
        customer: CustomerState,
        *,
        device_id: str,
        city: int,
        address: str,
        failures: int,
        span_s: float,
    ) -> int:
        """That many failed logins within the span, then one that succeeds; answers when it does."""
        rng = self.world.rng
        times = [
            *spread(self.world, at_us, failures, span_s),
            self.world.later(at_us, span_s + 3, span_s + 15),
        ]
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
        """Now and then the fraud system stops the card, and the bank lets it go when the customer has
        called."""
        if self.world.rng.random() < 0.7:
            return
        blocked_us = self.world.later(self.ended_us, 20, 60)
        unblocked_us = self.world.later(blocked_us, 60, 300)
        for at_us, event_type, by in (
            (blocked_us, "block", "fraud_system"),
            (unblocked_us, "unblock", "bank"),
        ):
            self.world.card_event(
                at_us, account, event_type=event_type, initiated_by=by, origin=self.scenario, label=self.label
            )
        account.customer.hold(unblocked_us)

    def close(self, *accounts: AccountState) -> Instance:
        for account in accounts:
            account.customer.engage(self.ended_us)
            account.customer.settled_at = self.ended_us + _ALERTS_FADE_US
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
    """`count` moments over the span, the first and the last at its ends, the others a little off their
    step."""
    step_s = span_s / max(1, count - 1)
    inner = (world.later(at_us, (n - 0.1) * step_s, (n + 0.1) * step_s) for n in range(1, count - 1))
    return [at_us, *inner, world.later(at_us, span_s, span_s)] if count > 1 else [at_us]


def victim_account(world: World, at_us: int) -> AccountState | None:
    """A free account of a customer whom nothing else is happening to; None when nobody was found."""
    customer = world.idle_customer(at_us, lambda c: any(at_us >= account.free_at for account in c.accounts))
    return None if customer is None else world.free_account(customer, at_us)


def burst_start(world: World, at_us: int, span_s: float, boundary_us: int) -> int:
    """Often a burst lies across a clock boundary, where counters per calendar minute would miss it."""
    if world.rng.random() < 0.4:
        return across_boundary(at_us, boundary_us, int(span_s * SECOND_US))
    return at_us


def cnp_channel(world: World) -> str:
    """One of the institution's card-not-present channels."""
    return world.rng.choice(sorted(world.config.cnp_channels) or ["card_not_present"])


def strange_device(world: World) -> str:
    """A device nobody has used: its id belongs to this run."""
    return world.new_id("device")


def rapid_payments(stage: Staging, at_us: int, account: AccountState, count: int, span_s: float) -> None:
    """A velocity burst: at shops with the card, or from the owner's own app."""
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
