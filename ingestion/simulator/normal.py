"""Ordinary payments: people buying, withdrawing and sending money as their profiles have it."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable

from ingestion.simulator.events import SECOND_US
from ingestion.simulator.merchants import Merchant, cash_machines, local_merchants
from ingestion.simulator.profiles import PAYEE_STEPS, WAYS_TO_PAY
from ingestion.simulator.state import AccountState, CustomerState, DeviceUse
from ingestion.simulator.world import World

_NARRATIVES = (
    "rent",
    "school fees",
    "family support",
    "thrift contribution",
    "for the repairs",
    "market supplies",
)
_LEAST_CASH, _MOST_CASH = 1_000, 40_000


class OrdinaryPayments:
    """Poisson arrivals at `payments_per_s`; each takes an account that is free and one of its ways to pay."""

    def __init__(self, world: World, payments_per_s: float, *, origin: str = "normal") -> None:
        self.world = world
        self.payments_per_s = payments_per_s
        self.origin = origin
        self._ways: tuple[Callable[[int, AccountState], None], ...] = tuple(
            getattr(self, f"pay_by_{way}") for way in WAYS_TO_PAY
        )

    def start(self) -> None:
        if self.payments_per_s > 0:
            self._schedule_next(self.world.start_us)

    def _schedule_next(self, at_us: int) -> None:
        wait = self.world.rng.expovariate(self.payments_per_s)
        self.world.schedule(at_us + max(1, int(wait * SECOND_US)), self._arrive)

    def _arrive(self, at_us: int) -> None:
        self._schedule_next(at_us)
        world = self.world
        if world.transaction_debt > 0:
            world.transaction_debt -= 1
            return
        at_ms = at_us // 1000 * 1000
        account = world.account_for_payment(at_ms)
        if account is None:
            return
        weights = account.customer.profile.way_weights
        self._ways[bisect(weights, world.rng.random() * weights[-1], 0, len(weights) - 1)](at_ms, account)

    def _status(self) -> str:
        return "failed" if self.world.rng.random() < 0.015 else "completed"

    def pay_by_pos(self, at_us: int, account: AccountState) -> None:
        world, customer = self.world, account.customer
        merchant = world.rng.choice(shops_of(customer))
        world.pay(
            at_us,
            account,
            amount_minor=world.ordinary_amount(world.price(merchant, customer), account, at_us),
            transaction_type="debit",
            channel="pos",
            origin=self._origin(customer),
            merchant=merchant,
            with_card=True,
            city=customer.city,
            status=self._status(),
            metadata={"entry_mode": "chip"},
        )

    def pay_by_tap(self, at_us: int, account: AccountState) -> None:
        """Card-present with the newest phone: how a new device is first seen paying."""
        world, customer = self.world, account.customer
        merchant = world.rng.choice(shops_of(customer))
        device = customer.devices[-1]
        device.note(at_us)
        world.pay(
            at_us,
            account,
            amount_minor=world.ordinary_amount(world.price(merchant, customer, 0.6), account, at_us),
            transaction_type="debit",
            channel="card_present",
            origin=self._origin(customer),
            merchant=merchant,
            with_card=True,
            device_id=device.device_id,
            city=customer.city,
            metadata={"entry_mode": "contactless"},
        )

    def pay_by_atm(self, at_us: int, account: AccountState) -> None:
        world, customer = self.world, account.customer
        machine = world.rng.choice(cash_machines(customer.city))
        cash = min(_MOST_CASH, max(_LEAST_CASH, world.rng.lognormvariate(machine.log_median, machine.sigma)))
        amount = world.minor(cash // 1000 * 1000, customer)
        world.pay(
            at_us,
            account,
            amount_minor=world.ordinary_amount(amount, account, at_us),
            transaction_type="debit",
            channel="atm",
            origin=self._origin(customer),
            merchant=machine,
            with_card=True,
            city=customer.city,
        )

    def pay_by_card_online(self, at_us: int, account: AccountState) -> None:
        self.pay_online(at_us, account, "card_not_present", with_card=True)

    def pay_by_web(self, at_us: int, account: AccountState) -> None:
        self.pay_online(at_us, account, "web", with_card=self.world.rng.random() < 0.6)

    def pay_by_app(self, at_us: int, account: AccountState) -> None:
        self.pay_online(at_us, account, "mobile", with_card=False)

    def pay_online(self, at_us: int, account: AccountState, channel: str, *, with_card: bool) -> None:
        world, customer = self.world, account.customer
        device = self._device_for(at_us, account, channel)
        if device is None:
            self.pay_by_pos(at_us, account)
            return
        device.note(at_us)
        merchant = world.rng.choice(customer.profile.online)
        world.pay(
            at_us,
            account,
            amount_minor=world.ordinary_amount(world.price(merchant, customer), account, at_us),
            transaction_type="debit",
            channel=channel,
            origin=self._origin(customer),
            merchant=merchant,
            with_card=with_card,
            device_id=device.device_id,
            city=customer.city,
            shows_position=world.rng.random() < 0.7,
            ip_address=world.address(customer.profile, customer.city),
            status=self._status(),
        )

    def pay_by_transfer(self, at_us: int, account: AccountState) -> None:
        """From the primary account to one of three habitual payees, all of them in the pool."""
        world, customer = self.world, account.customer
        payees = payees_of(customer, world)
        device = self._device_for(at_us, account, "transfer")
        if account is not customer.primary or not payees or device is None:
            self.pay_by_pos(at_us, account)
            return
        device.note(at_us)
        amount = world.minor(world.rng.lognormvariate(9.6, 0.6), customer)
        world.pay(
            at_us,
            account,
            amount_minor=world.ordinary_amount(amount, account, at_us),
            transaction_type="transfer",
            channel="transfer",
            origin=self._origin(customer),
            counterparty=world.rng.choice(payees),
            device_id=device.device_id,
            city=customer.city,
            shows_position=False,
            ip_address=world.address(customer.profile, customer.city),
            metadata={"narrative": world.rng.choice(_NARRATIVES)},
        )

    def _device_for(self, at_us: int, account: AccountState, channel: str) -> DeviceUse | None:
        """The device to pay with; None where a card-not-present payment now would look like a pattern."""
        customer = account.customer
        if channel in self.world.config.cnp_channels:
            return customer.known_device(at_us, self.world.rng) if account.takes_cnp(at_us) else None
        return self.world.rng.choice(customer.devices)

    def _origin(self, customer: CustomerState) -> str:
        at_home = self.origin != "normal" or customer.city == customer.profile.home
        return self.origin if at_home else "travel"


def shops_of(customer: CustomerState) -> tuple[Merchant, ...]:
    """Habitual merchants at home, any merchant of the place when away."""
    return (
        customer.profile.shops if customer.city == customer.profile.home else local_merchants(customer.city)
    )


def payees_of(customer: CustomerState, world: World) -> list[str]:
    size, index = len(world.customers), customer.profile.index
    others = sorted({(index + step) % size for step in PAYEE_STEPS} - {index})
    return [world.customers[other].primary.profile.account_id for other in others]
