"""Owns what flows between operators: a schema and an iterator of batches, and its face towards DuckDB."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mindsql.errors import InternalError

if TYPE_CHECKING:
    import pyarrow as pa


class Batches:
    """A stream of Arrow batches that can be read once, and registered with DuckDB as a table.

    An error raised while DuckDB reads it is kept in `error`: DuckDB passes on its text only.
    """

    def __init__(self, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
        self.schema = schema
        self.error: BaseException | None = None
        self._batches = batches
        self._taken = False

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        if self._taken:
            self.error = InternalError(
                "a stream was read twice", hint="this is a bug: the plan should have kept it"
            )
            raise self.error
        self._taken = True
        return self._kept()

    def _kept(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._batches
        except GeneratorExit:
            raise
        except BaseException as error:
            self.error = error
            raise

    def close(self) -> None:
        """End what makes the batches. Whoever reads them must have stopped."""
        close = getattr(self._batches, "close", None)
        if close is not None:
            close()

    def __arrow_c_schema__(self) -> object:
        """The schema alone, which DuckDB asks for when it binds."""
        return self.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The stream, which DuckDB asks for when it runs."""
        import pyarrow as pa

        return pa.RecordBatchReader.from_batches(self.schema, iter(self)).__arrow_c_stream__(requested_schema)
