"""The pages of payments, decisions, alerts and cases. Django imports this module; each file registers its own."""

from screening.admin import (  # noqa: F401
    accounts,
    alerts,
    backtests,
    batches,
    cases,
    customers,
    imports,
    payment_search,
    transactions,
    webhooks,
)
