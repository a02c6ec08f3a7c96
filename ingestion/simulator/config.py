"""What a simulation is told: sizes, rates and the institution's own limits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

# Names as in `.env.example`; the values here hold where neither the settings nor the environment give one.
DEFAULTS: Mapping[str, str] = {
    "CUSTOMER_POOL_SIZE": "500",
    "FRAUD_RATE": "0.10",
    "TRANSACTION_RATE": "20",
    "SIMULATOR_SEED": "42",
    "STRUCTURING_THRESHOLD": "10000",
    "BASE_CURRENCY": "NGN",
    "CNP_CHANNELS": "card_not_present,web",
}


class SimulatorConfigError(ValueError):
    """A value a simulation cannot run with; the message names the setting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorConfig:
    """`fraud_rate` is the share of transactions that belong to a fraud scenario (0–1), `transaction_rate`
    counts all transactions per second, and `structuring_threshold` is in `base_currency`."""

    seed: int = 42
    customers: int = 500
    fraud_rate: float = 0.10
    transaction_rate: float = 20.0
    structuring_threshold: Decimal = Decimal(10_000)
    base_currency: str = "NGN"
    cnp_channels: frozenset[str] = frozenset({"card_not_present", "web"})

    def __post_init__(self) -> None:
        if self.customers < 1:
            raise SimulatorConfigError("CUSTOMER_POOL_SIZE must be at least 1")
        if not 0 <= self.fraud_rate <= 1:
            raise SimulatorConfigError("FRAUD_RATE must lie between 0 and 1")
        if not 0 < self.transaction_rate <= 100_000:
            raise SimulatorConfigError("TRANSACTION_RATE must lie above 0 and at most 100000 a second")
        if self.structuring_threshold <= 0:
            raise SimulatorConfigError("STRUCTURING_THRESHOLD must be above 0")

    @classmethod
    def from_values(cls, values: Mapping[str, object]) -> SimulatorConfig:
        """From settings or the environment; absent and empty values take `DEFAULTS`."""

        def text(name: str) -> str:
            value = values.get(name)
            return DEFAULTS[name] if value is None or value == "" else str(value)

        def number(name: str) -> Decimal:
            try:
                parsed = Decimal(text(name))
            except InvalidOperation as error:
                raise SimulatorConfigError(f"{name} must be a number, not {text(name)!r}") from error
            if not parsed.is_finite():
                raise SimulatorConfigError(f"{name} must be a finite number")
            return parsed

        channels = values.get("CNP_CHANNELS") or DEFAULTS["CNP_CHANNELS"]
        return cls(
            seed=int(number("SIMULATOR_SEED")),
            customers=int(number("CUSTOMER_POOL_SIZE")),
            fraud_rate=float(number("FRAUD_RATE")),
            transaction_rate=float(number("TRANSACTION_RATE")),
            structuring_threshold=number("STRUCTURING_THRESHOLD"),
            base_currency=text("BASE_CURRENCY"),
            cnp_channels=frozenset(_words(channels)),
        )


def _words(value: object) -> Iterable[str]:
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, Iterable):
        raise SimulatorConfigError("CNP_CHANNELS must be a list of channels")
    return [str(word).strip() for word in words if str(word).strip()]
