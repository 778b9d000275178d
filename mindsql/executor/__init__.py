"""Executing: a `Plan` in, Arrow batches out. DuckDB makes the rows, engines answer them; no SQL is read here."""

from mindsql.executor.executor import Answer, Executor
from mindsql.executor.work import Work

__all__ = ["Answer", "Executor", "Work"]
