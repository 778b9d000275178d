"""Owns native queries that DuckDB itself answers: of attached databases and of files, on a cursor of their own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mindsql import database
from mindsql.database import DuckDBConnection
from mindsql.duckdb_errors import translated
from mindsql.schema import Schema
from mindsql.source import Rows

if TYPE_CHECKING:
    import pyarrow as pa


class InDuckDB(ABC):
    """A source that DuckDB reads by itself."""

    @abstractmethod
    def _inside(self) -> DuckDBConnection:
        """A cursor on which the source's own names mean its tables."""

    def describe(self, text: str) -> Schema:
        """The columns of a query that runs inside it."""
        raw = self._inside()
        try:
            return database.describe(raw, text)
        finally:
            raw.close()

    def read(self, text: str) -> Rows:
        """The rows of a query that runs inside it."""
        reading = _Reading(self._inside(), text)
        return Rows(reading.schema, reading)

    def interrupt(self) -> None:  # noqa: B027 - it has nothing to do
        """DuckDB's own interrupt reaches it."""

    def close(self) -> None:  # noqa: B027 - nor here
        """Nothing is held open."""


class _Reading(Iterator["pa.RecordBatch"]):
    """The batches of a query on a cursor of its own, which is closed at their end, or before they were begun."""

    def __init__(self, raw: DuckDBConnection, text: str) -> None:
        self._raw = raw
        try:
            self._reader = database.reader(raw, text)
        except BaseException:
            raw.close()
            raise
        self.schema = self._reader.schema

    def __next__(self) -> pa.RecordBatch:
        try:
            with translated():
                return next(self._reader)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the query."""
        self._raw.close()
