"""Owns SQLite as a source: types by declared affinity, as SQLite's own documentation gives them.

A value may have another type than its column (https://sqlite.org/datatype3.html): that is an error which names it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import decimal
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from mindsql.engine import Network, Option
from mindsql.errors import Cancelled, DataError, SourceError, UnknownNameError
from mindsql.source import BATCH_ROWS, Condition, Rows, Source
from mindsql_sources.conditions import Dialect, quoted

_STEPS = 1_000_000  # of SQLite's virtual machine, after which it asks whether to go on


class SQLite(Source):
    """A file of SQLite."""

    options = (
        Option(
            "db_file", "string", required=True, aliases=("path", "database"), file=True, description="the SQLite file"
        ),
        Option("read_only", "boolean", default=False, description="never write to it"),
    )

    def __init__(self, name: str, parameters: Mapping[str, Any], network: Network) -> None:
        super().__init__(name, parameters, network)
        self._path = Path(parameters["db_file"])
        if not self._path.is_file():
            raise SourceError(f'the file "{self._path}" does not exist')
        self.tables()  # so that a file which is none is refused at once

    def tables(self) -> list[str]:
        """Tables and views, by name."""
        found = self._all("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')")
        return sorted(name for (name,) in found if not name.startswith("sqlite_"))

    def schema(self, table: tuple[str, ...]) -> pa.Schema:
        """The columns with the types of their affinity."""
        return pa.schema([(name, _type(declared)) for name, declared in self._declared(table)])

    def _declared(self, table: tuple[str, ...]) -> list[tuple[str, str]]:
        found = self._all(f"PRAGMA table_xinfo({quoted(self._named(table))})")
        return [(name, declared) for _, name, declared, *_, hidden in found if hidden != 1]

    def scan(self, table: tuple[str, ...], columns: Sequence[str], where: Sequence[Condition]) -> Rows:
        """A SELECT of the columns."""
        declared = dict(self._declared(table))
        schema = pa.schema([(name, _type(declared[name])) for name in columns])
        text = f"SELECT {', '.join(map(quoted, columns)) or '1'} FROM {quoted(self._named(table))}"
        condition = Dialect({name: _literal(words) for name, words in declared.items()}).text(where)
        text = f"{text} WHERE {condition}" if condition else text
        return Rows(schema, self._stream(text, schema), text)

    def count(self, table: tuple[str, ...]) -> int | None:
        """Counted there."""
        return int(self._all(f"SELECT count(*) FROM {quoted(self._named(table))}")[0][0])

    def describe(self, text: str) -> pa.Schema:
        """A query's columns have no types but those of its first rows' values."""
        rows = self._all(f"SELECT * FROM ({text}\n) LIMIT {BATCH_ROWS}", heads=True)
        names, values = rows[0], list(zip(*rows[1:], strict=True)) or [()] * len(rows[0])
        return pa.schema([(name, _seen(column)) for name, column in zip(names, values, strict=True)])

    def query(self, text: str) -> Rows:
        """The query as it is written."""
        schema = self.describe(text)
        return Rows(schema, self._stream(text, schema))

    # Writing ------------------------------------------------------------------------------------------------------

    def accepts(self, table: tuple[str, ...]) -> pa.Schema:
        """The columns but for generated ones."""
        found = self._all(f"PRAGMA table_xinfo({quoted(self._named(table))})")
        return pa.schema([(name, _type(declared)) for _, name, declared, *_, hidden in found if not hidden])

    def column_type(self, kind: pa.DataType) -> str | None:
        """Numbers, texts and bytes; a decimal is kept as REAL where that holds all of its digits."""
        if pa.types.is_boolean(kind):
            return "BOOLEAN"
        if pa.types.is_integer(kind):
            return None if pa.types.is_uint64(kind) else "INTEGER"
        if pa.types.is_floating(kind):
            return "REAL"
        if pa.types.is_decimal(kind) and kind.precision <= 15:
            return f"DECIMAL({kind.precision}, {kind.scale})"
        return "TEXT" if pa.types.is_string(kind) else "BLOB" if pa.types.is_binary(kind) else None

    def write(
        self,
        table: tuple[str, ...],
        rows: Rows,
        mode: Literal["append", "create", "replace"] = "append",
        types: Sequence[str] = (),
    ) -> int:
        """One transaction, the making of the table among it."""
        name = quoted(self._named(table) if mode == "append" else self._new(table))
        columns = ", ".join(map(quoted, rows.schema.names))
        marks = ", ".join("?" * len(rows.schema))
        count = 0
        with self._changing() as connection:
            if mode == "replace":
                connection.execute(f"DROP TABLE IF EXISTS {name}")
            if mode != "append":
                declared = ", ".join(f"{quoted(n)} {t}" for n, t in zip(rows.schema.names, types, strict=True))
                connection.execute(f"CREATE TABLE {name} ({declared})")
            for batch in rows.batches:
                values = [_values(array) for array in batch.columns]
                connection.executemany(f"INSERT INTO {name} ({columns}) VALUES ({marks})", zip(*values, strict=True))
                count += batch.num_rows
        return count

    def drop(self, table: tuple[str, ...]) -> None:
        """Drop a table."""
        name = quoted(self._named(table))
        with self._changing() as connection:
            connection.execute(f"DROP TABLE {name}")

    def run(self, text: str) -> int:
        """Run a statement as it is written."""
        with self._changing() as connection:
            return connection.execute(text).rowcount

    @contextlib.contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """A connection that may write, and a transaction in it that only a good end commits."""
        connection = self._open("rw")
        try:
            connection.set_progress_handler(self.stopped, _STEPS)
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            if self.stopped():
                raise Cancelled("the statement was stopped")
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self.stopped():
                raise Cancelled("the statement was stopped") from error
            raise self._failed(error) from error
        finally:
            connection.close()

    def _new(self, table: tuple[str, ...]) -> str:
        """The name of a table that is to be made, which may be there already in other case."""
        if len(table) > 2 or (len(table) == 2 and table[0].casefold() != "main"):
            raise UnknownNameError.of(f'schema of the database "{self.name}":', ".".join(table[:-1]), ["main"])
        return table[-1]

    def _named(self, table: tuple[str, ...]) -> str:
        known = self.tables()
        wanted = table[-1] if len(table) == 1 or (len(table) == 2 and table[0].casefold() == "main") else None
        exact = [name for name in known if name == wanted]
        alike = [name for name in known if wanted is not None and name.casefold() == wanted.casefold()]
        if not (exact or alike):
            raise UnknownNameError.of(f'table of the database "{self.name}":', ".".join(table), known)
        return (exact or alike)[0]

    def _open(self, mode: Literal["ro", "rw"] = "ro") -> sqlite3.Connection:
        # Nothing that is read can change the file. Threads of DuckDB read on; transactions are begun by hand.
        uri = f"{self._path.absolute().as_uri()}?mode={mode}"
        connection = sqlite3.connect(
            uri, uri=True, check_same_thread=False, isolation_level=None, factory=_Connection
        )
        connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
        return connection

    def _all(self, text: str, heads: bool = False) -> list[tuple[Any, ...]]:
        try:
            connection = self._open()
            try:
                cursor = connection.execute(text)
                first = [tuple(item[0] for item in cursor.description or ())] if heads else []
                return first + cursor.fetchall()
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> SourceError:
        return SourceError(f'the database "{self.name}" (sqlite) says: {error}')

    def _stream(self, text: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        connection: sqlite3.Connection | None = None
        done = 0
        try:
            connection = self._open()
            connection.set_progress_handler(self.stopped, _STEPS)
            cursor = connection.execute(text)
            while rows := cursor.fetchmany(BATCH_ROWS):
                columns = list(zip(*rows, strict=True))[: len(schema)]
                arrays = [_array(values, field, done) for values, field in zip(columns, schema, strict=True)]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema) if arrays else _counted(len(rows))
                done += len(rows)
        except sqlite3.Error as error:
            if self.stopped():
                raise Cancelled("the statement was stopped") from error
            raise self._failed(error) from error
        finally:
            if connection is not None:
                connection.close()


class _Connection(sqlite3.Connection):
    """Closed when nobody has it any more: a stop may come between its opening and the `try` that would close it."""

    def __del__(self) -> None:
        self.close()


def _counted(rows: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))


def _type(declared: str) -> pa.DataType:
    """The rules of affinity in their order; a column of none, of NUMERIC or of dates holds whatever was put there."""
    words = declared.upper()
    if "INT" in words:
        return pa.int64()
    if _is_text(words):
        return pa.string()
    if "BLOB" in words:
        return pa.binary()
    if any(word in words for word in ("REAL", "FLOA", "DOUB", "DEC", "NUMERIC")):
        return pa.float64()
    return pa.int64() if "BOOL" in words else pa.string()


def _values(array: pa.Array) -> list[Any]:
    if pa.types.is_decimal(array.type):
        return [None if value is None else float(value) for value in array.to_pylist()]
    return list(array.to_pylist())


def _is_text(words: str) -> bool:
    return "INT" not in words and any(word in words for word in ("CHAR", "CLOB", "TEXT"))


def _seen(values: Sequence[Any]) -> pa.DataType:
    kinds = {type(value) for value in values} - {type(None)}
    if kinds == {int}:
        return pa.int64()
    if kinds and kinds <= {int, float}:
        return pa.float64()
    return pa.binary() if kinds == {bytes} else pa.string()


def _array(values: Sequence[Any], field: pa.Field, before: int) -> pa.Array:
    if pa.types.is_string(field.type):
        values = [repr(value) if isinstance(value, (int, float)) else value for value in values]
    try:
        if pa.types.is_floating(field.type):
            values = [float(value) if isinstance(value, int) else value for value in values]
        return pa.array(values, field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, ValueError):
        wanted = _KINDS[str(field.type)]
        at, value = next(
            ((at, v) for at, v in enumerate(values) if v is not None and not isinstance(v, wanted[0])), (0, values[0])
        )
        raise DataError(
            f'the column "{field.name}" holds {value!r} in row {before + at + 1}, which is no {wanted[1]}',
            hint="read it by a native query with CAST: FROM source (SELECT CAST(… AS TEXT) … FROM …)",
        ) from None


_KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "int64": (int, "BIGINT"), "double": ((int, float), "DOUBLE"), "string": (str, "VARCHAR"), "binary": (bytes, "BLOB"),
}  # fmt: skip


def _literal(declared: str) -> Callable[[Any, str], str | None]:
    """How a constant is written beside a column: only where SQLite compares as DuckDB does."""
    kind = _type(declared)

    def literal(value: Any, operator: str) -> str | None:
        if isinstance(value, (bool, dt.date, dt.datetime, decimal.Decimal, bytes)):
            return None
        if pa.types.is_int64(kind) and isinstance(value, int):
            return str(value)
        if pa.types.is_floating(kind) and isinstance(value, float) and abs(value) < 2**53:
            return repr(value)
        plain = isinstance(value, str) and "\0" not in value
        # A column may be declared with COLLATE NOCASE: equality then gives more, and order gives others.
        if _is_text(declared.upper()) and plain and operator == "=":
            text: str = value
            return "'" + text.replace("'", "''") + "'"
        return None

    return literal
