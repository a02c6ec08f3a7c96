"""Rules over columns: transactions out of PostgreSQL as Arrow, windows and truth values in DuckDB, exactly."""
