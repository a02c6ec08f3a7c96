"""The pages of payments, decisions, alerts and cases. Django imports this module; each file registers its own."""

from screening.admin import accounts, alerts, backtests, batches, cases, imports, transactions, webhooks  # noqa: F401
