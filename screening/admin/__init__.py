"""The pages of payments, decisions, alerts and cases. Django imports this module; each file registers its own."""

from screening.admin import accounts, alerts, cases, transactions, webhooks  # noqa: F401
