"""Old transactions leave the database: what may, what may not, and how; see docs/decisions/0010-old-transactions.md."""
