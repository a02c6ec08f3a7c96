"""Transactions that have left the database, and what is kept of them so that they are not decided anew."""
