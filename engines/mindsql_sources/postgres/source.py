"""Owns PostgreSQL, and what speaks its protocol, as a source: by the ADBC driver, in binary COPY."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import adbc_driver_postgresql.dbapi
import pyarrow as pa

from mindsql.engine import Network, Option
from mindsql.errors import AccessError, Cancelled, SourceError, StatementError, UnknownNameError
from mindsql.network import check_host
from mindsql.source import Condition, Rows, Top
from mindsql_sources.adbc import ADBCSource
from mindsql_sources.conditions import Dialect, first_rows, is_ordered, quoted
from mindsql_sources.postgres.types import (
    COPIED_TEXTS,
    CREATED,
    ITEMS,
    SIGNED,
    Column,
    cast,
    mended,
    text_literal,
    written,
)

_BATCH_BYTES = "4000000"
_BATCH = "adbc.postgresql.batch_size_hint_bytes"
_SESSION = "-c TimeZone=UTC -c standard_conforming_strings=on -c datestyle=ISO"
_READING = "-c default_transaction_read_only=on"
_STAGE = "mindsql_rows"
_COLUMNS = """
SELECT a.attname, format_type(coalesce(nullif(t.typbasetype, 0), t.oid), CASE WHEN t.typbasetype <> 0
       THEN t.typtypmod ELSE a.atttypmod END)
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_WRITABLE = _COLUMNS.replace(" ORDER BY", " AND a.attgenerated = '' ORDER BY")
_RELATIONS = """
SELECT c.oid::int8, n.nspname, c.relname, array_position(current_schemas(false), n.nspname) AS place
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
"""


class Postgres(ADBCSource):
    """A database of PostgreSQL."""

    options = (
        Option("host", "string", default="localhost", description="the server's name or address"),
        Option("port", "integer", default=5432, minimum=1, maximum=65535, description="its port"),
        Option("user", "string", required=True, aliases=("username",), description="who logs in"),
        Option("password", "string", secret=True, description="the password"),
        Option("database", "string", required=True, aliases=("dbname",), description="the database"),
        Option("schema", "string", description="the schema that names without one stand for; public comes next"),
        Option(
            "sslmode",
            "string",
            choices=("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
            description="as libpq has it: verify-full checks the server's certificate and name",
        ),
        Option("connection_parameters", "object", file=True, description="more of libpq's keywords, as sslrootcert"),
        Option("strict_dates", "boolean", default=False, description="an infinite date is an error, and not NULL"),
        Option("read_only", "boolean", default=False, description="never write to it"),
    )

    def __init__(self, name: str, parameters: Mapping[str, Any], network: Network) -> None:
        super().__init__(name, parameters, network)
        _check_place(parameters, network)
        self._all("SELECT 1")

    # What there is ------------------------------------------------------------------------------------------------

    def tables(self) -> list[str]:
        """Tables and views: by name where the search path finds them, else with their schema."""
        found = self._all(f"{_RELATIONS} ORDER BY place NULLS LAST, n.nspname, c.relname")
        return [name if place is not None else f"{schema}.{name}" for _, schema, name, place in found]

    def schema(self, table: tuple[str, ...]) -> pa.Schema:
        """The columns, with the types that their values are read as."""
        return pa.schema([column.field for column in self._columns(table)[1]])

    def _columns(self, table: tuple[str, ...]) -> tuple[str, list[Column]]:
        oid, name = self._named(table)
        return name, [self._column(*row) for row in self._all(_COLUMNS.format(oid=oid))]

    def _column(self, name: str, declared: str) -> Column:
        return Column.of(name, declared, bool(self.parameters.get("strict_dates")))

    def _named(self, table: tuple[str, ...]) -> tuple[int, str]:
        """The table's number, and its whole name. As it is written, or else in any case when only one is alike."""
        if len(table) == 3 and table[0].casefold() == self.parameters["database"].casefold():
            table = table[1:]
        if len(table) <= 2:
            alike = f"lower(c.relname) = lower({text_literal(table[-1])})"
            if len(table) == 2:
                alike += f" AND lower(n.nspname) = lower({text_literal(table[0])})"
            found = self._all(f"{_RELATIONS} AND {alike} ORDER BY place NULLS LAST")
            if len(table) == 1:
                found = [row for row in found if row[3] is not None]
            exact = [row for row in found if (row[1], row[2])[-len(table) :] == table]
            folded = [row for row in found if row[2] == table[-1].lower()]
            for rows in (exact, folded, found):
                if rows:
                    return rows[0][0], f"{quoted(rows[0][1])}.{quoted(rows[0][2])}"
        raise UnknownNameError.of(f'table of the database "{self.name}":', ".".join(table), self.tables())

    # Reading ------------------------------------------------------------------------------------------------------

    def scan(self, table: tuple[str, ...], columns: Sequence[str], where: Sequence[Condition]) -> Rows:
        """A SELECT of the columns, in a snapshot of its own."""
        name, all_columns = self._columns(table)
        known = {column.field.name: column for column in all_columns}
        wanted = [known[column] for column in columns]
        dialect = Dialect(
            {name: column.literal for name, column in known.items()},
            {name: column.compared for name, column in known.items()},
            frozenset(name for name, column in known.items() if column.loses),
        )
        condition = dialect.text(where)
        text = f"SELECT {', '.join(c.expression for c in wanted) or 'TRUE'} FROM {name}"
        schema = pa.schema([column.field for column in wanted])
        text = f"{text} WHERE {condition}" if condition else text
        return Rows(schema, self._stream(text, schema), text)

    def top(self, table: tuple[str, ...], columns: Sequence[str], top: Top) -> Rows | None:
        """ORDER BY and LIMIT, where PostgreSQL orders as DuckDB does: not by text."""
        name, all_columns = self._columns(table)
        known = {column.field.name: column for column in all_columns}
        if not is_ordered(known[top.column].field.type):
            return None
        schema = pa.schema([known[column].field for column in columns])
        begin = f"SELECT {', '.join(known[column].expression for column in columns) or 'TRUE'} FROM {name}"
        text = first_rows(begin, top, lambda column: known[column].expression)
        return Rows(schema, self._stream(text, schema), text)

    def count(self, table: tuple[str, ...]) -> int | None:
        """Counted there."""
        _, name = self._named(table)
        return int(self._all(f"SELECT count(*) FROM {name}")[0][0])

    def describe(self, text: str) -> pa.Schema:
        """The columns, asked of the server without running it."""
        return pa.schema([column.field for column in self._described(text)])

    def query(self, text: str) -> Rows:
        """The query as it is written, but for values that the driver would change: those are selected of it."""
        columns = self._described(text)
        schema = pa.schema([column.field for column in columns])
        if any(column.expression != quoted(column.field.name) for column in columns):
            names = [f"c{number}" for number in range(len(columns))]
            pairs = zip(columns, names, strict=True)
            listed = ", ".join(c.expression.replace(quoted(c.field.name), name) for c, name in pairs)
            text = f"SELECT {listed} FROM ({text}\n) AS q({', '.join(names)})"
        return Rows(schema, self._stream(text, schema))

    def _described(self, text: str) -> list[Column]:
        """The columns of a query: the driver tells their number and names, the server the names of their types."""
        with self._cursor() as cursor:
            names = cursor.adbc_execute_schema(text + "\n").names
        numbered = [f"c{number}" for number in range(len(names))]
        types = ", ".join(f"pg_typeof(q.{name})::text" for name in numbered)
        nothing = f"SELECT * FROM ({text}\n) AS q({', '.join(numbered)}) LIMIT 0"
        found = self._all(f"SELECT {types} FROM (SELECT 1) AS o LEFT JOIN ({nothing}) AS q ON TRUE") if names else [()]
        return [self._column(name, declared) for name, declared in zip(names, found[0], strict=True)]

    def _stream(self, text: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        with self._cursor() as cursor:
            cursor.adbc_statement.set_options(**{_BATCH: _BATCH_BYTES})
            cursor.execute(text + "\n")
            reader = cursor.fetch_record_batch()
            try:
                for batch in reader:
                    if schema.names:
                        arrays = [mended(a, f, self.name) for a, f in zip(batch.columns, schema, strict=True)]
                        batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
                    yield batch
            finally:
                reader.close()

    # Writing ------------------------------------------------------------------------------------------------------

    def accepts(self, table: tuple[str, ...]) -> pa.Schema:
        """The columns but for generated ones; what binary COPY has no form for is given as text."""
        oid, _ = self._named(table)
        return pa.schema([(name, written(declared)) for name, declared in self._writable_columns(oid)])

    def _writable_columns(self, oid: int) -> list[tuple[str, str]]:
        return [(name, declared) for name, declared in self._all(_WRITABLE.format(oid=oid))]

    def column_type(self, kind: pa.DataType) -> str | None:
        """PostgreSQL's type for an Arrow type."""
        if pa.types.is_list(kind):
            item = self.column_type(kind.value_type)
            return f"{item}[]" if item in ITEMS else None
        if pa.types.is_decimal(kind):
            return f"numeric({kind.precision},{kind.scale})"
        if pa.types.is_timestamp(kind):
            return "timestamp with time zone" if kind.tz else "timestamp without time zone"
        return CREATED.get(str(kind))

    def write(
        self,
        table: tuple[str, ...],
        rows: Rows,
        mode: Literal["append", "create", "replace"] = "append",
        types: Sequence[str] = (),
    ) -> int:
        """Binary COPY in one transaction, the making of the table among it; by way of a temporary table where a value
        has to be read from its text."""
        names = rows.schema.names
        if mode == "append":
            oid, name = self._named(table)
            known = dict(self._writable_columns(oid))
            types = [known[column] for column in names]
        else:
            name = ".".join(map(quoted, self._new(table)))
        schema, _, last = name.rpartition(".")
        staged = any(written(declared) == pa.string() and declared not in COPIED_TEXTS for declared in types)
        columns = ", ".join(map(quoted, names))
        signed = [field.with_type(SIGNED.get(str(field.type), field.type)) for field in rows.schema]
        if staged:  # its columns have no names of the user's
            signed = [field.with_name(f"c{number}") for number, field in enumerate(signed)]
        plain = pa.schema(signed)
        batches = (pa.RecordBatch.from_arrays([*map(cast, b.columns, plain.types)], schema=plain) for b in rows.batches)
        reader = pa.RecordBatchReader.from_batches(plain, batches)
        with self._changing() as cursor:
            if mode == "replace":
                cursor.execute(f"DROP TABLE IF EXISTS {name}")
            if mode != "append":
                made = ", ".join(f"{quoted(n)} {declared}" for n, declared in zip(names, types, strict=True))
                cursor.execute(f"CREATE TABLE {name} ({made})")
            if not staged:
                return int(cursor.adbc_ingest(_bare(last), reader, "append", db_schema_name=_bare(schema) or None))
            count = int(cursor.adbc_ingest(_STAGE, reader, "create", temporary=True))
            casts = ", ".join(f"{n}::{declared}" for n, declared in zip(plain.names, types, strict=True))
            cursor.execute(f"INSERT INTO {name} ({columns}) SELECT {casts} FROM pg_temp.{_STAGE}")
            cursor.execute(f"DROP TABLE pg_temp.{_STAGE}")
            return count

    def drop(self, table: tuple[str, ...]) -> None:
        """Drop a table."""
        _, name = self._named(table)
        with self._changing() as cursor:
            cursor.execute(f"DROP TABLE {name}")

    def run(self, text: str) -> int:
        """Run a statement as it is written, in a transaction of its own."""
        with self._changing() as cursor:
            cursor.execute(text + "\n")
            return int(cursor.rowcount)

    def _new(self, table: tuple[str, ...]) -> tuple[str, ...]:
        """The name of a table that is to be made."""
        if len(table) == 3 and table[0].casefold() == self.parameters["database"].casefold():
            table = table[1:]
        if len(table) > 2:
            raise UnknownNameError.of("database:", table[0], [self.parameters["database"]])
        return table

    @contextlib.contextmanager
    def _changing(self) -> Iterator[Any]:
        """A cursor on a connection that may write, and a transaction that only a good end commits."""
        with self._cursor(writes=True) as cursor:
            yield cursor
            if self.stopped():
                raise Cancelled("the statement was stopped")
            cursor.connection.commit()

    # Connections --------------------------------------------------------------------------------------------------

    def connect(self, writes: bool = False) -> Any:
        """A connection that has been told how to read and write texts and times."""
        given = self.parameters
        words = {
            **{"connect_timeout": 10, "application_name": "mindsql"},
            **{"host": given["host"], "port": given["port"], "dbname": given["database"], "user": given["user"]},
            **{key: given[key] for key in ("password", "sslmode") if given.get(key) is not None},
            **(given.get("connection_parameters") or {}),
        }
        path = f"-c search_path={_option(quoted(given['schema']) + ',public')} " if given.get("schema") else ""
        words["options"] = f"{path}{words.get('options', '')} {_SESSION}{'' if writes else ' ' + _READING}"
        words["client_encoding"] = "UTF8"
        uri = " ".join(f"{key}={_libpq(value)}" for key, value in words.items() if value is not None)
        return adbc_driver_postgresql.dbapi.connect(uri, autocommit=not writes)

    def failed(self, error: Exception) -> Exception:
        """What the driver raised, in the server's words alone."""
        text = re.sub(r"^.*?\[libpq\] ", "", str(error), flags=re.S)
        text = re.sub(r"^.*?(?=(?:ERROR|FATAL): )", "", text, flags=re.S) if "prepare" in text else text
        text = re.sub(r"^.*Failed to execute query '.*': (?=ERROR|FATAL)", "", text, flags=re.S)
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        said = re.sub(r"^(?:ERROR|FATAL): +", "", lines[0] if lines else type(error).__name__)
        password = self.parameters.get("password")
        for secret in filter(None, (password, _libpq(password) if password else None)):
            said = said.replace(str(secret), "***")
        return SourceError(f'the database "{self.name}" (postgres) says: {said}')


_PLACES = ("host", "hostaddr", "port", "service", "servicefile")


def _check_place(parameters: Mapping[str, Any], network: Network) -> None:
    """Refuse a server that may not be connected to, by whatever word it is named."""
    host = parameters["host"]
    for key in parameters.get("connection_parameters") or {}:
        if key.casefold() in _PLACES:
            raise StatementError(
                f'"{key}" cannot stand in connection_parameters', hint='give "host" and "port" as parameters themselves'
            )
    if "," in host:
        raise StatementError("one server, not a list of them", hint="give one host")
    if host.startswith(("/", "@")):
        if not network.private or network.allowed_hosts is not None:
            raise AccessError("this connection may not use a socket of this machine", hint="give the name of a host")
        return
    check_host(host, parameters["port"], network)


def _bare(quoted_name: str) -> str:
    return quoted_name[1:-1].replace('""', '"')


def _libpq(value: Any) -> str:
    """A value of a connection string, by libpq's rules."""
    return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"


def _option(value: str) -> str:
    """A value among `options`, where a backslash protects a space."""
    return value.replace("\\", "\\\\").replace(" ", "\\ ")
