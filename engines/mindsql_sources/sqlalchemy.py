"""Owns every database that SQLAlchemy has a dialect for as a source: rows by its driver, one Python value at a time.

It is for databases that no other source here reads: SQL Server, Oracle, ClickHouse and others.
"""

from __future__ import annotations

import contextlib
import decimal
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import pyarrow as pa
import sqlalchemy as sa

from mindsql.engine import Network, Option
from mindsql.errors import AccessError, Cancelled, DataError, SourceError, StatementError, UnknownNameError
from mindsql.network import check_host
from mindsql.source import BATCH_ROWS, AllOf, AnyOf, Comparison, Condition, IsNull, Rows, Source

_FORM = "dialect+driver://user:password@host:port/database"
_TYPES: tuple[tuple[Any, pa.DataType], ...] = (
    (sa.types.Boolean, pa.bool_()), (sa.types.SmallInteger, pa.int16()), (sa.types.BigInteger, pa.int64()),
    (sa.types.Integer, pa.int64()), (sa.types.Float, pa.float64()), (sa.types.LargeBinary, pa.binary()),
    (sa.types.Date, pa.date32()), (sa.types.Time, pa.time64("us")), (sa.types.JSON, pa.string()),
)  # fmt: skip
_CREATED: dict[str, Any] = {
    **dict.fromkeys(("int8", "int16", "uint8"), sa.types.SmallInteger),
    **dict.fromkeys(("int32", "uint16"), sa.types.Integer),
    **dict.fromkeys(("int64", "uint32"), sa.types.BigInteger), **dict.fromkeys(("float", "double"), sa.types.Double),
    "bool": sa.types.Boolean, "string": sa.types.Text, "binary": sa.types.LargeBinary, "date32[day]": sa.types.Date,
    "time64[us]": sa.types.Time, "timestamp[us]": sa.types.DateTime,
}  # fmt: skip


class SQLAlchemy(Source):
    """A database that a SQLAlchemy URL names."""

    options = (
        Option("url", "string", required=True, secret=True, file=True, description=f"SQLAlchemy's URL: {_FORM}"),
        Option("schema", "string", description="the schema that names without one stand for"),
        Option("read_only", "boolean", default=False, description="never write to it"),
    )

    def __init__(self, name: str, parameters: Mapping[str, Any], network: Network) -> None:
        super().__init__(name, parameters, network)
        try:
            self._url = sa.make_url(parameters["url"])
        except sa.exc.ArgumentError:
            raise StatementError(
                "url is none of SQLAlchemy", hint=f"write it as {_FORM}"
            ) from None
        if not self._url.host:
            raise StatementError("url has no host", hint="ENGINE = 'sqlite' and 'duckdb' read files")
        if self._url.query and (network.allowed_hosts is not None or not network.private):
            raise AccessError("this connection may not give the driver options after ? in url")
        check_host(self._url.host, self._url.port or 0, network)
        self._running: set[Any] = set()
        self._lock = threading.Lock()
        try:
            self._engine = sa.create_engine(self._url, pool_pre_ping=True)
        except (sa.exc.SQLAlchemyError, ImportError) as error:
            raise self._failed(error) from error
        self.tables()

    # What there is ------------------------------------------------------------------------------------------------

    def tables(self) -> list[str]:
        """Tables and views of the schema."""
        with self._told():
            inspector = sa.inspect(self._engine)
            schema = self.parameters.get("schema")
            return sorted({*inspector.get_table_names(schema), *inspector.get_view_names(schema)})

    def schema(self, table: tuple[str, ...]) -> pa.Schema:
        """The columns, as the dialect reflects them."""
        return pa.schema([(column.name, _type(column.type)) for column in self._table(table).columns])

    def _table(self, table: tuple[str, ...]) -> sa.Table:
        with self._told():
            schema = table[-2] if len(table) > 1 else self.parameters.get("schema")
            alike = [own for own in self.tables() if len(table) == 1 and own.casefold() == table[0].casefold()]
            for name in dict.fromkeys([table[-1], *alike]):
                with contextlib.suppress(sa.exc.NoSuchTableError):
                    return sa.Table(name, sa.MetaData(), schema=schema, autoload_with=self._engine)
        raise UnknownNameError.of(f'table of the database "{self.name}":', ".".join(table), self.tables())

    # Reading ------------------------------------------------------------------------------------------------------

    def scan(self, table: tuple[str, ...], columns: Sequence[str], where: Sequence[Condition]) -> Rows:
        """A SELECT of the columns. Whole numbers and NULL compare alike everywhere; all else is filtered here."""
        found = self._table(table)
        schema = pa.schema([(name, _type(found.columns[name].type)) for name in columns])
        wanted: list[Any] = [found.columns[name] for name in columns] or [sa.literal(1)]
        query = sa.select(*wanted).select_from(found)
        condition = _told(AllOf(tuple(where)), found)
        query = query if condition is None else query.where(condition)
        text = str(query.compile(self._engine, compile_kwargs={"literal_binds": True})).replace("\n", " ")
        return Rows(schema, self._stream(query, schema), text)

    def describe(self, text: str) -> pa.Schema:
        """The columns of a query, with the types of its first rows' values."""
        with self._told(), self._engine.connect() as connection, self._watched(connection):
            result = connection.execution_options(stream_results=True).exec_driver_sql(text)
            names = list(result.keys())
            values = list(zip(*result.fetchmany(BATCH_ROWS), strict=True)) or [()] * len(names)
            return pa.schema([(name, _seen(column)) for name, column in zip(names, values, strict=True)])

    def query(self, text: str) -> Rows:
        """The query as it is written."""
        schema = self.describe(text)
        return Rows(schema, self._stream(text, schema), text)

    def _stream(self, query: Any, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        with self._told(), self._engine.connect() as connection:
            options = connection.execution_options(stream_results=True, max_row_buffer=BATCH_ROWS)
            with self._watched(connection):
                result = options.exec_driver_sql(query) if isinstance(query, str) else options.execute(query)
                while rows := result.fetchmany(BATCH_ROWS):
                    if self.stopped():
                        raise Cancelled("the statement was stopped")
                    values = list(zip(*rows, strict=True))[: len(schema)]
                    arrays = [_array(column, field) for column, field in zip(values, schema, strict=True)]
                    yield pa.RecordBatch.from_arrays(arrays, schema=schema) if arrays else _counted(len(rows))

    # Writing ------------------------------------------------------------------------------------------------------

    def accepts(self, table: tuple[str, ...]) -> pa.Schema:
        """The columns but for computed ones."""
        return pa.schema([(c.name, _type(c.type)) for c in self._table(table).columns if c.computed is None])

    def column_type(self, kind: pa.DataType) -> str | None:
        """The dialect's type for an Arrow type."""
        made = _created(kind)
        return None if made is None else str(made.compile(self._engine.dialect))

    def write(
        self,
        table: tuple[str, ...],
        rows: Rows,
        mode: Literal["append", "create", "replace"] = "append",
        types: Sequence[str] = (),
    ) -> int:
        """INSERT in one transaction; a new table is dropped if it fails, where the database does not do it itself."""
        there = mode != "create" and self._there(table)
        if mode == "create" and self._there(table):
            raise SourceError(f'the table "{".".join(table)}" exists already', hint="CREATE OR REPLACE TABLE …")
        schema = table[-2] if len(table) > 1 else self.parameters.get("schema")
        columns = [sa.Column(field.name, _created(field.type) or sa.types.Text()) for field in rows.schema]
        new = sa.Table(table[-1], sa.MetaData(), *columns, schema=schema)
        target = self._table(table) if mode == "append" else new
        made = target
        if mode == "replace":
            made = target.to_metadata(sa.MetaData(), name=f"{table[-1]}_{uuid.uuid4().hex[:8]}")
        count = 0
        try:
            with self._told(), self._engine.begin() as connection, self._watched(connection):
                if mode != "append":
                    made.create(connection)
                for batch in rows.batches:
                    if batch.num_rows:
                        connection.execute(made.insert(), batch.to_pylist())
                    count += batch.num_rows
                if self.stopped():
                    raise Cancelled("the statement was stopped")
                if mode == "replace":
                    if there:
                        target.drop(connection)
                    preparer = self._engine.dialect.identifier_preparer
                    renamed = f"ALTER TABLE {preparer.format_table(made)} RENAME TO {preparer.quote(table[-1])}"
                    connection.exec_driver_sql(renamed)
        except BaseException:
            if mode != "append":
                with contextlib.suppress(Exception), self._engine.begin() as connection:
                    made.drop(connection, checkfirst=True)
            raise
        return count

    def _there(self, table: tuple[str, ...]) -> bool:
        try:
            self._table(table)
        except UnknownNameError:
            return False
        return True

    def drop(self, table: tuple[str, ...]) -> None:
        """Drop a table."""
        found = self._table(table)
        with self._told(), self._engine.begin() as connection:
            found.drop(connection)

    def run(self, text: str) -> int:
        """Run a statement as it is written, in a transaction of its own."""
        with self._told(), self._engine.begin() as connection, self._watched(connection):
            return connection.exec_driver_sql(text).rowcount

    # Connections --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _watched(self, connection: sa.Connection) -> Iterator[None]:
        driver = connection.connection.driver_connection
        with self._lock:
            self._running.add(driver)
        try:
            if self.stopped():
                raise Cancelled("the statement was stopped")
            yield
        except BaseException:
            with contextlib.suppress(Exception):
                connection.invalidate()
            raise
        finally:
            with self._lock:
                self._running.discard(driver)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.SQLAlchemyError, OSError) as error:
            if self.stopped():
                raise Cancelled("the statement was stopped") from error
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> SourceError:
        said = str(getattr(error, "orig", None) or error).splitlines()[0]
        for secret in filter(None, (self._url.password, self.parameters["url"])):
            said = said.replace(str(secret), "***")
        return SourceError(f'the database "{self.name}" ({self._url.get_backend_name()}) says: {said}')

    def interrupt(self) -> None:
        """The driver's own way to cancel, MySQL's KILL, or else its connection is closed below it."""
        with self._lock:
            running = list(self._running)
        for driver in running:
            threading.Thread(target=self._cancel, args=(driver,), daemon=True).start()

    def _cancel(self, driver: Any) -> None:
        with contextlib.suppress(Exception):
            if hasattr(driver, "cancel"):
                driver.cancel()
            elif hasattr(driver, "thread_id"):
                with self._engine.connect() as other:
                    other.exec_driver_sql(f"KILL {driver.thread_id()}")
            else:
                driver.close()

    def close(self) -> None:
        """Close what is idle."""
        self._engine.dispose()


def _told(condition: Condition, table: sa.Table) -> Any:
    """A condition as SQLAlchemy's; None when it does not mean the same everywhere."""
    if isinstance(condition, AllOf):
        parts = [part for part in (_told(each, table) for each in condition.parts) if part is not None]
        return sa.and_(*parts) if parts else None
    if isinstance(condition, AnyOf):
        every = [_told(each, table) for each in condition.parts]
        return None if any(part is None for part in every) or not every else sa.or_(*every)
    column = table.columns[condition.column]
    if isinstance(condition, IsNull):
        return column.is_not(None) if condition.negated else column.is_(None)
    if not isinstance(column.type, sa.types.Integer):
        return None
    values = (condition.value,) if isinstance(condition, Comparison) else condition.values
    if any(isinstance(value, bool) or not isinstance(value, int) for value in values):
        return None
    return column.op(condition.operator)(values[0]) if isinstance(condition, Comparison) else column.in_(values)


# Types ------------------------------------------------------------------------------------------------------------


def _type(kind: Any) -> pa.DataType:
    if isinstance(kind, sa.types.DateTime):
        return pa.timestamp("us", "UTC" if kind.timezone else None)
    if isinstance(kind, sa.types.Numeric) and not isinstance(kind, sa.types.Float):
        whole = kind.precision is not None and 0 < kind.precision <= 38 and 0 <= (kind.scale or 0) <= kind.precision
        return pa.decimal128(kind.precision, kind.scale or 0) if whole else pa.float64()
    return next((arrow for cls, arrow in _TYPES if isinstance(kind, cls)), pa.string())


def _created(kind: pa.DataType) -> Any:
    if pa.types.is_decimal(kind):
        return sa.types.Numeric(kind.precision, kind.scale)
    made = _CREATED.get(str(kind))
    return None if made is None else made()


def _seen(values: Sequence[Any]) -> pa.DataType:
    kinds = {type(value) for value in values} - {type(None)}
    if kinds and kinds <= {int, float, decimal.Decimal} and kinds != {int}:
        return pa.float64() if float in kinds else pa.decimal128(38, _scale(values))
    try:
        found = pa.array(values, from_pandas=False).type
    except (pa.ArrowException, OverflowError):
        return pa.string()
    return pa.string() if pa.types.is_null(found) or pa.types.is_nested(found) else found


def _scale(values: Sequence[Any]) -> int:
    exponents = [value.as_tuple().exponent for value in values if isinstance(value, decimal.Decimal)]
    return max((-at for at in exponents if isinstance(at, int)), default=0)


def _array(values: Sequence[Any], field: pa.Field) -> pa.Array:
    kind = field.type
    if pa.types.is_string(kind):
        values = [value if value is None or isinstance(value, str) else str(value) for value in values]
    elif pa.types.is_boolean(kind):
        values = [None if value is None else bool(value) for value in values]
    elif pa.types.is_floating(kind):
        values = [None if value is None else float(value) for value in values]
    try:
        return pa.array(values, kind)
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        raise DataError(
            f'a value of the column "{field.name}" is no {kind}: {str(error).splitlines()[0]}',
            hint="read it by a native query with a cast: FROM source (SELECT CAST(…) …)",
        ) from None


def _counted(rows: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))
