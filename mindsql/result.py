"""Owns the answer to a statement: rows that stream, in every form a caller may want them."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, TextIO, TypeAlias

from mindsql import database, duckdb_errors
from mindsql.batches import Batches
from mindsql.database import DuckDBConnection
from mindsql.errors import InterfaceError
from mindsql.schema import Schema

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

Kind: TypeAlias = Literal["rows", "count", "done"]

_BATCH_ROWS = 65536
_SHOWN = 40
_READ = "the rows of this result were read already: run the statement again, or keep what it gave"


class Result:
    """The rows of one statement.

    Rows come once, in order: what `fetchone` took, `fetchall` does not give again. A result lives until the next
    statement of its connection, or `close`.

    Attributes:
        kind: `rows`; `count` for statements that tell how many rows they changed; `done` for those that tell nothing.
        message: What a `done` statement has to say.
        notes: What is worth knowing about the answer: inputs that were not given, what a training left out.
    """

    # The class holds what most results have in common: one is made for every statement, however small.
    kind: Kind = "rows"
    message = ""
    notes: tuple[str, ...] = ()
    _batches: Batches | None = None
    _schema: Schema | None = None
    _streams: Sequence[Batches] = ()
    _close: Callable[[], None] | None = None
    _closed = False
    _changed = -1
    _drained = False
    _taken = False
    _table: pa.Table | None = None
    _rows: Iterator[tuple[Any, ...]] | None = None

    def __init__(self, raw: DuckDBConnection | None = None) -> None:
        self._raw = raw

    @classmethod
    def of(
        cls,
        *,
        raw: DuckDBConnection | None = None,
        batches: Batches | None = None,
        schema: Schema | None = None,
        kind: Kind = "rows",
        message: str = "",
        notes: Sequence[str] = (),
        streams: Sequence[Batches] = (),
        close: Callable[[], None] | None = None,
    ) -> Result:
        """A result of anything but a plain query.

        Args:
            raw: The DuckDB connection whose open result it is.
            batches: The rows, when they do not come from DuckDB.
            schema: The columns, when they are known.
            kind, message, notes: See the class.
            streams: What DuckDB reads while the rows are fetched, to ask what went wrong below it.
            close: Lets go of what the statement holds open.
        """
        result = cls(raw)
        result.kind = kind
        result.message = message
        result.notes = tuple(notes)
        result._batches = batches
        result._schema = schema
        result._streams = streams
        result._close = close
        return result

    # What it is -------------------------------------------------------------------------------------------

    @property
    def schema(self) -> Schema:
        """The columns: names, and types as DuckDB spells them."""
        if self._schema is None:
            described = self._raw.description if self._raw is not None else None
            self._schema = Schema.of((item[0], str(item[1])) for item in described or [])
        return self._schema

    @property
    def columns(self) -> list[str]:
        """The columns' names."""
        return self.schema.names

    @property
    def types(self) -> list[str]:
        """The columns' DuckDB types."""
        return [column.type for column in self.schema]

    @property
    def description(self) -> list[tuple[Any, ...]] | None:
        """PEP 249: seven values for each column; None when the statement gives no rows."""
        if self.kind == "done" and not self.schema:
            return None
        return [(column.name, column.type, None, None, None, None, None) for column in self.schema]

    @property
    def rowcount(self) -> int:
        """PEP 249: rows changed, -1 when that is not known."""
        return self._raw.rowcount if self._raw is not None and self.kind == "count" else self._changed

    @rowcount.setter
    def rowcount(self, rows: int) -> None:
        self._changed = rows

    # Rows -------------------------------------------------------------------------------------------------

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row, None after the last."""
        if self._raw is not None:
            self._check_rows()
            try:
                row: tuple[Any, ...] | None = self._raw.fetchone()
                return row
            except duckdb_errors.FAILED as error:
                raise self._cause(error) from error
        return next(self._iterate(), None)

    def fetchmany(self, size: int = 1) -> list[tuple[Any, ...]]:
        """Up to `size` rows."""
        if self._raw is not None:
            self._check_rows()
            try:
                found: list[tuple[Any, ...]] = self._raw.fetchmany(size)
                return found
            except duckdb_errors.FAILED as error:
                raise self._cause(error) from error
        return list(islice(self._iterate(), size))

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows that are left."""
        if self._raw is not None:
            self._check_rows()
            try:
                found: list[tuple[Any, ...]] = self._raw.fetchall()
                self._drained = True
                return found
            except duckdb_errors.FAILED as error:
                raise self._cause(error) from error
        return list(self._iterate())

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        while rows := self.fetchmany(4096):
            yield from rows

    def _iterate(self) -> Iterator[tuple[Any, ...]]:
        self._check_rows()
        if self._rows is None:
            batches = self._batches
            self._rows = _tuples(batches) if batches is not None else iter(())
        return self._rows

    # Whole results ----------------------------------------------------------------------------------------

    def reader(self, batch_rows: int = _BATCH_ROWS) -> pa.RecordBatchReader:
        """The rows as a stream of Arrow batches."""
        import pyarrow as pa

        self._take()
        if self._raw is not None and (self.kind != "done" or self.schema):
            try:
                return database.result_reader(self._raw, batch_rows)
            except duckdb_errors.FAILED as error:
                raise self._cause(error) from error
        if self._batches is None:
            return pa.RecordBatchReader.from_batches(pa.schema([]), iter(()))
        fields = [
            field.with_name(name) for name, field in zip(self.columns, self._batches.schema, strict=True)
        ]
        schema = pa.schema(fields)
        renamed = (pa.RecordBatch.from_arrays(batch.columns, schema=schema) for batch in self._batches)
        return pa.RecordBatchReader.from_batches(schema, renamed)

    def arrow(self) -> pa.Table:
        """All rows as a pyarrow Table."""
        reader = self.reader()
        try:
            return reader.read_all()
        except duckdb_errors.FAILED as error:
            raise self._cause(error) from error

    def df(self) -> pd.DataFrame:
        """All rows as a pandas DataFrame."""
        if self._raw is not None:
            self._take()
            try:
                return self._raw.df()
            except duckdb_errors.FAILED as error:
                raise self._cause(error) from error
        frame: pd.DataFrame = self.arrow().to_pandas(date_as_object=False)
        return frame

    def pl(self) -> pl.DataFrame:
        """All rows as a polars DataFrame. Raises InterfaceError when polars is not installed."""
        try:
            import polars as pl
        except ImportError as error:
            raise InterfaceError("polars is not installed: pip install polars") from error
        frame = pl.from_arrow(self.arrow())
        assert isinstance(frame, pl.DataFrame)
        return frame

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The Arrow PyCapsule interface: any Arrow library reads the rows as they come."""
        return self.reader().__arrow_c_stream__(requested_schema)

    def show(self, *, max_rows: int = 40, stream: TextIO | None = None) -> None:
        """Print the rows as a table."""
        import sys

        from mindsql import formats

        formats.write(self, stream or sys.stdout, "box", max_rows=max_rows)

    def close(self) -> None:
        """Let go of what the statement holds open."""
        if not self._closed:
            self._closed = True
            self._rows = None
            self._batches = None
            if self._raw is not None and not self._drained:
                database.abandon(self._raw)
            if self._close is not None:
                self._close()

    def _repr_html_(self) -> str:
        """A table for notebooks. The rows can be read afterwards still."""
        if self.kind != "rows":
            return f"<p>{html.escape(self.message or 'done')}</p>"
        if not self._taken and not self._drained:
            _ = self.schema
            # All rows are taken into memory, so that those that are shown are not lost.
            table = self.arrow()
            self._raw, self._taken = None, False
            self._batches = Batches(table.schema, iter(table.to_batches()))
            self._table = table
        if self._table is None:
            return "<p>its rows were read</p>"
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.columns)
        rows = "".join(
            f"<tr>{''.join(f'<td>{_html_cell(value)}</td>' for value in row)}</tr>"
            for batch in self._table.slice(0, _SHOWN).to_batches()
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)
        )
        more = self._table.num_rows - _SHOWN
        rest = f"<p>and {more:,} more rows</p>" if more > 0 else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{rest}"

    def _take(self) -> None:
        """Note that all rows are handed out at once, which happens once. Raises InterfaceError."""
        self._check_rows()
        if self._drained and self._raw is not None:
            raise InterfaceError(_READ)
        self._taken = True

    def _check_rows(self) -> None:
        self._check()
        if self._taken:
            raise InterfaceError(_READ)

    def _check(self) -> None:
        if self._closed:
            raise InterfaceError(
                "this result is closed: its connection has run another statement since; "
                "read results first, or run on connection.cursor()"
            )

    def _cause(self, error: BaseException) -> BaseException:
        """What an engine raised below DuckDB is what the user sees; else DuckDB's error as ours."""
        for stream in self._streams:
            if stream.error is not None:
                return stream.error
        return duckdb_errors.translate_any(error)


def _tuples(batches: Batches) -> Iterator[tuple[Any, ...]]:
    for batch in batches:
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _html_cell(value: Any) -> str:
    return "<i>NULL</i>" if value is None else html.escape(str(value))
