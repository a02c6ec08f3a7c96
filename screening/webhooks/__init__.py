"""Webhooks: what happened, told to other systems: signed, in order, until they said they have it."""
