"""Owns what sources by ADBC drivers have in common: connections, stops, and databases that one class of SQL reads.

The drivers hand out Arrow (https://arrow.apache.org/adbc): rows are not converted.
"""

from __future__ import annotations

import contextlib
import threading
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import adbc_driver_manager.dbapi as adbc
import pyarrow as pa

from mindsql.engine import Network
from mindsql.errors import Cancelled, SourceError, UnknownNameError
from mindsql.source import Condition, Rows, Source
from mindsql_sources.conditions import Dialect, quoted

_AGAIN_SECONDS = 0.1


class ADBCSource(Source):
    """A database that an ADBC driver reads."""

    def __init__(self, name: str, parameters: Mapping[str, Any], network: Network) -> None:
        super().__init__(name, parameters, network)
        self._running: set[Any] = set()
        self._idle: list[Any] = []
        self._lock = threading.Lock()
        self._stops = 0

    @abstractmethod
    def connect(self, writes: bool = False) -> Any:
        """A connection of the driver."""

    def _cursor(self, writes: bool = False) -> Cursor:
        return Cursor(self, writes)

    def _all(self, text: str) -> list[tuple[Any, ...]]:
        with self._cursor() as cursor:
            cursor.execute(text)
            return list(cursor.fetchall())

    def interrupt(self) -> None:
        """The driver's own way: a request to cancel on a second connection."""
        with self._lock:
            self._stops += 1
            running = set(self._running)
        self._cancel(running)
        if running:
            threading.Thread(target=self._cancel_until_ended, args=(running,), daemon=True).start()

    def _cancel(self, running: set[Any]) -> None:
        for cursor in running:
            with contextlib.suppress(adbc.Error, OSError, RuntimeError):
                cursor.adbc_cancel()

    def _cancel_until_ended(self, running: set[Any]) -> None:
        """A request that comes before its query has begun is forgotten by the server."""
        while left := running & self._running:
            time.sleep(_AGAIN_SECONDS)
            self._cancel(left)

    def close(self) -> None:
        """Close what is idle; what runs is closed when its stream is."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


class Warehouse(ADBCSource):
    """A database that is read by standard SQL alone; its types are those that the driver gives."""

    def listed(self) -> str:
        """A query of the schema and the name of each table."""
        return (
            "SELECT table_schema, table_name FROM information_schema.tables "
            "WHERE lower(table_schema) <> 'information_schema' ORDER BY 1, 2"
        )

    def quote(self, name: str) -> str:
        """How a name is written."""
        return quoted(name)

    def __init__(self, name: str, parameters: Mapping[str, Any], network: Network) -> None:
        super().__init__(name, parameters, network)
        self.tables()

    def tables(self) -> list[str]:
        """Tables and views, with their schemas; none where the database does not list them."""
        return [".".join(row) for row in self._listed() or ()]

    def _listed(self) -> list[tuple[str, str]] | None:
        try:
            return [(schema, name) for schema, name in self._all(self.listed())]
        except SourceError:
            with self._cursor() as cursor:  # it may only be that one list which it does not have
                cursor.execute("SELECT 1 AS one")
            return None

    def schema(self, table: tuple[str, ...]) -> pa.Schema:
        """The columns, as the driver describes a query of them."""
        return self.describe(f"SELECT * FROM {self._named(table)}")

    def _named(self, table: tuple[str, ...]) -> str:
        """A table by its whole name, or by its own where only one schema has it; as written, or else in any case."""
        found = self._listed()
        if found is None:
            return ".".join(map(self.quote, table))
        for alike in (lambda a, b: a == b, lambda a, b: a.casefold() == b.casefold()):
            rows = [row for row in found if len(table) <= 2 and all(map(alike, row[-len(table) :], table))]
            if len(rows) == 1:
                return ".".join(map(self.quote, rows[0]))
        raise UnknownNameError.of(f'table of the database "{self.name}":', ".".join(table), self.tables())

    def scan(self, table: tuple[str, ...], columns: Sequence[str], where: Sequence[Condition]) -> Rows:
        """A SELECT of the columns. Whole numbers and NULL compare alike everywhere; all else is filtered here."""
        name = self._named(table)
        every = self.describe(f"SELECT * FROM {name}")
        literals = {field.name: _whole if pa.types.is_integer(field.type) else _nothing for field in every}
        condition = Dialect(literals, quote=self.quote).text(where)
        text = f"SELECT {', '.join(map(self.quote, columns)) or '1 AS one'} FROM {name}"
        text = f"{text} WHERE {condition}" if condition else text
        schema = pa.schema([every.field(column) for column in columns])
        return Rows(schema, self._stream(text, schema), text)

    def describe(self, text: str) -> pa.Schema:
        """The columns, as the driver tells them without running it."""
        with self._cursor() as cursor:
            found: pa.Schema = cursor.adbc_execute_schema(text)
            return found

    def query(self, text: str) -> Rows:
        """The query as it is written."""
        schema = self.describe(text)
        return Rows(schema, self._stream(text, schema), text)

    def _stream(self, text: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        with self._cursor() as cursor:
            cursor.execute(text)
            reader = cursor.fetch_record_batch()
            try:
                for batch in reader:
                    if self.stopped():
                        raise Cancelled("the statement was stopped")
                    if not schema.names:
                        yield pa.RecordBatch.from_struct_array(pa.array([{}] * batch.num_rows, pa.struct([])))
                        continue
                    yield pa.RecordBatch.from_arrays([*map(_cast, batch.columns, schema.types)], schema=schema)
            finally:
                reader.close()


def _cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    return array if array.type == kind else array.cast(kind)


def _whole(value: Any, operator: str) -> str | None:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _nothing(value: Any, operator: str) -> str | None:
    return None


class Cursor:
    """A cursor on an idle connection, or on a new one. A connection whose statement failed is not used again, nor is
    one that may write."""

    def __init__(self, source: ADBCSource, writes: bool = False) -> None:
        self._source = source
        self._writes = writes
        self._stops = source._stops

    def __enter__(self) -> Any:
        source = self._source
        with source._lock:
            self._connection: Any = source._idle.pop() if source._idle and not self._writes else None
        try:
            if self._connection is None or not _answers(self._connection):
                self._connection = source.connect(self._writes)
            self._made: Any = self._connection.cursor()
        except (adbc.Error, OSError) as error:
            raise source.failed(error) from error
        with source._lock:
            source._running.add(self._made)
        if source.stopped():
            stop = Cancelled("the statement was stopped")
            self.__exit__(Cancelled, stop, None)
            raise stop
        return self._made

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        source = self._source
        with source._lock:
            source._running.discard(self._made)
        try:
            self._made.close()
            if error is None and not self._writes:
                with source._lock:
                    source._idle.append(self._connection)
            else:
                self._connection.close()
        except (adbc.Error, OSError, RuntimeError):
            pass
        if isinstance(error, (adbc.Error, OSError)):
            if source._stops != self._stops:
                raise Cancelled("the statement was stopped") from error
            raise source.failed(error) from error


def _answers(connection: Any) -> bool:
    """Whether a connection that was idle is still there."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            return bool(cursor.fetchall() == [(1,)])
    except (adbc.Error, OSError):
        with contextlib.suppress(adbc.Error, OSError, RuntimeError):
            connection.close()
        return False
