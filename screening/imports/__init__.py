"""Imports at work: rows stored and screened chunk by chunk, over HTTP, by workers and on the command line."""
