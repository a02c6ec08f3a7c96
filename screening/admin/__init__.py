"""The pages of payments, decisions, alerts and cases. Django imports this module; each file registers its own."""

from screening.admin import transactions  # noqa: F401
