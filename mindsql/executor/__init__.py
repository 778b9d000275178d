"""Executing: a `Plan` in, Arrow batches out. DuckDB makes the rows, engines answer them; no SQL is read here."""
