"""Logins, card events and alerts as they come in: stored, counted in velocity, and screened."""
