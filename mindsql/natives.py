"""Owns native queries that DuckDB itself answers: of attached databases and of files, on a cursor of their own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mindsql import database
from mindsql.database import DuckDBConnection
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
        raw = self._inside()
        reader = database.reader(raw, text)

        def batches() -> Iterator[pa.RecordBatch]:
            try:
                yield from reader
            finally:
                raw.close()

        return Rows(reader.schema, batches())

    def interrupt(self) -> None:  # noqa: B027 - it has nothing to do
        """DuckDB's own interrupt reaches it."""

    def close(self) -> None:  # noqa: B027 - nor here
        """Nothing is held open."""
