"""Owns MySQL and MariaDB as a source, by PyMySQL's connections."""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pymysql

from mindsql.engine import Network, Option
from mindsql.errors import Cancelled, SourceError, StatementError, UnknownNameError
from mindsql.network import check_host
from mindsql.source import Condition, Rows, Source, Top
from mindsql_sources.conditions import Dialect, first_rows, is_ordered
from mindsql_sources.mysql import inserts
from mindsql_sources.mysql.answer import Answer, CutOff
from mindsql_sources.mysql.types import CREATED, Column, quoted, text_literal, typed

_SESSION = (
    # Quotes, times and reading go by these; a reader may be slow, as a model is, and so may be what is written.
    "SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00', "
    "net_write_timeout = 3600, net_read_timeout = 3600"
)
_READING = "SET SESSION TRANSACTION READ ONLY"
_INSERT_BYTES = 4_000_000
_Connection = Any  # what is used of it beside PyMySQL's interface has no types


class MySQL(Source):
    """A database of MySQL or MariaDB."""

    options = (
        Option("url", "string", secret=True, description="mysql://user:password@host:port/database, for the rest"),
        Option("host", "string", default="localhost", description="the server's name or address"),
        Option("port", "integer", default=3306, minimum=1, maximum=65535, description="its port"),
        Option("user", "string", aliases=("username",), description="who logs in"),
        Option("password", "string", secret=True, description="the password"),
        Option("database", "string", description="the database"),
        Option("ssl", "boolean", description="false: never TLS; true: only TLS"),
        Option("ssl_ca", "string", file=True, description="a CA's certificate, by which the server's is checked"),
        Option("ssl_cert", "string", file=True, description="the client's certificate"),
        Option("ssl_key", "string", file=True, description="the key of ssl_cert"),
        Option("strict_dates", "boolean", default=False, description="a zero date is an error, and not NULL"),
        Option("read_only", "boolean", default=False, description="never write to it"),
    )

    def __init__(self, name: str, parameters: Mapping[str, Any], network: Network) -> None:
        super().__init__(name, parameters, network)
        self._words = _connection(parameters)
        check_host(self._words["host"], self._words["port"], network)
        self._running: set[_Connection] = set()
        self._idle: list[_Connection] = []
        self._lock = threading.Lock()
        self._stops = 0
        self._all("SELECT 1")

    # What there is ------------------------------------------------------------------------------------------------

    def tables(self) -> list[str]:
        """Tables and views: by name in the current database, else with theirs."""
        found = self._all(
            "SELECT table_schema, table_name, table_schema = database() FROM information_schema.tables "
            "WHERE table_schema NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys') "
            "ORDER BY 3 DESC, 1, 2"
        )
        return [name if own else f"{schema}.{name}" for schema, name, own in found]

    def schema(self, table: tuple[str, ...]) -> pa.Schema:
        """The columns, as the server describes an empty answer."""
        return pa.schema([column.field for column in self._columns(table)[1]])

    def _columns(self, table: tuple[str, ...]) -> tuple[str, list[Column]]:
        name = self._named(table)
        return name, self._described(f"SELECT * FROM {name} LIMIT 0")

    def _described(self, text: str) -> list[Column]:
        with self._connection() as connection:
            answer = Answer(connection, text)
            if not answer.ended:
                connection._force_close()  # it is not run to its end for its columns alone
            return answer.columns

    def _named(self, table: tuple[str, ...]) -> str:
        wanted = f"lower(table_name) = lower({text_literal(table[-1])})"
        named = f"lower(table_schema) = lower({text_literal(table[0])})"
        schema = named if len(table) == 2 else "table_schema = database()"
        text = f"SELECT table_schema, table_name FROM information_schema.tables WHERE {schema} AND {wanted}"
        found = self._all(text) if len(table) <= 2 else []
        for row in [row for row in found if row[1] == table[-1]] or found:
            return f"{quoted(row[0])}.{quoted(row[1])}"
        raise UnknownNameError.of(f'table of the database "{self.name}":', ".".join(table), self.tables())

    # Reading ------------------------------------------------------------------------------------------------------

    def scan(self, table: tuple[str, ...], columns: Sequence[str], where: Sequence[Condition]) -> Rows:
        """A SELECT of the columns."""
        name, all_columns = self._columns(table)
        known = {column.field.name: column for column in all_columns}
        lost = frozenset(name for name, column in known.items() if column.is_time)
        condition = Dialect({n: c.literal for n, c in known.items()}, made_null=lost, quote=quoted).text(where)
        text = f"SELECT {', '.join(known[column].expression for column in columns) or '1'} FROM {name}"
        schema = pa.schema([known[column].field for column in columns])
        text = f"{text} WHERE {condition}" if condition else text
        return Rows(schema, self._stream(text, schema), text)

    def top(self, table: tuple[str, ...], columns: Sequence[str], top: Top) -> Rows | None:
        """ORDER BY and LIMIT, where MySQL orders as DuckDB does: not by text, and not where days become NULL."""
        name, all_columns = self._columns(table)
        known = {column.field.name: column for column in all_columns}
        if known[top.column].is_time or not is_ordered(known[top.column].field.type):
            return None
        schema = pa.schema([known[column].field for column in columns])
        begin = f"SELECT {', '.join(known[column].expression for column in columns) or '1'} FROM {name}"
        text = first_rows(begin, top, quoted)
        return Rows(schema, self._stream(text, schema), text)

    def count(self, table: tuple[str, ...]) -> int | None:
        """Counted there."""
        return int(self._all(f"SELECT count(*) FROM {self._named(table)}")[0][0])

    def describe(self, text: str) -> pa.Schema:
        """The columns, asked of an empty answer where the query can stand in another one, else of the query itself."""
        try:
            columns = self._described(f"SELECT * FROM ({text}\n) AS q LIMIT 0")
        except SourceError:
            columns = self._described(text)
        return pa.schema([column.field for column in columns])

    def query(self, text: str) -> Rows:
        """The query as it is written."""
        schema = self.describe(text)
        return Rows(schema, self._stream(text, schema))

    def _all(self, text: str) -> list[tuple[Any, ...]]:
        with self._connection() as connection, connection.cursor() as cursor:
            cursor.execute(text)
            return list(cursor.fetchall())

    def _stream(self, text: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        with self._connection() as connection:
            for count, columns in Answer(connection, text).batches():
                strict = bool(self.parameters.get("strict_dates"))
                arrays = [typed(a, f, self.name, strict) for a, f in zip(columns, schema, strict=False)]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema) if arrays else _counted(count)

    # Writing ------------------------------------------------------------------------------------------------------

    def accepts(self, table: tuple[str, ...]) -> pa.Schema:
        """The columns but for generated ones."""
        name, columns = self._columns(table)
        schema, last = (part[1:-1].replace("``", "`") for part in name.split("`.`"))
        generated = self._all(
            "SELECT column_name FROM information_schema.columns WHERE coalesce(generation_expression, '') <> '' "
            f"AND table_schema = {text_literal(schema)} AND table_name = {text_literal(last)}"
        )
        kept = [column.field for column in columns if (column.name,) not in generated]
        return pa.schema([f.with_type(pa.string()) if isinstance(f.type, pa.BaseExtensionType) else f for f in kept])

    def column_type(self, kind: pa.DataType) -> str | None:
        """MySQL's type for an Arrow type."""
        if pa.types.is_decimal(kind):
            return f"DECIMAL({kind.precision}, {kind.scale})" if 0 <= kind.scale <= 30 else None
        if pa.types.is_timestamp(kind):
            return "TIMESTAMP(6) NULL" if kind.tz else "DATETIME(6)"
        return CREATED.get(str(kind))

    def write(
        self,
        table: tuple[str, ...],
        rows: Rows,
        mode: Literal["append", "create", "replace"] = "append",
        types: Sequence[str] = (),
    ) -> int:
        """INSERT statements in one transaction. A new table is made and filled under another name, and then renamed,
        since MySQL's CREATE TABLE cannot be undone."""
        if mode == "append":
            name = self._named(table)
            with self._changing() as cursor:
                return _insert(cursor, name, rows)
        name = ".".join(map(quoted, table))
        made, old = (f"{name[:-1]}_{part}_{secrets.token_hex(4)}`" for part in ("new", "old"))
        columns = ", ".join(f"{quoted(n)} {declared}" for n, declared in zip(rows.schema.names, types, strict=True))
        there = self._there(table)
        if there is not None and mode == "create":
            raise SourceError(f'the table "{".".join(table)}" exists already', hint="CREATE OR REPLACE TABLE …")
        try:
            with self._changing() as cursor:
                cursor.execute(f"CREATE TABLE {made} ({columns})")
                count = _insert(cursor, made, rows)
                cursor.execute("COMMIT")
                renamed = f"{there} TO {old}, {made} TO {there}" if there is not None else f"{made} TO {name}"
                cursor.execute(f"RENAME TABLE {renamed}")
                if there is not None:
                    cursor.execute(f"DROP TABLE {old}")
                return count
        except BaseException:
            failed = contextlib.suppress(pymysql.Error, OSError)
            with failed, contextlib.closing(self.connect(writes=True)) as other, other.cursor() as cursor:
                cursor.execute(f"DROP TABLE IF EXISTS {made}")
            raise

    def _there(self, table: tuple[str, ...]) -> str | None:
        try:
            return self._named(table)
        except UnknownNameError:
            return None

    def drop(self, table: tuple[str, ...]) -> None:
        """Drop a table."""
        name = self._named(table)
        with self._changing() as cursor:
            cursor.execute(f"DROP TABLE {name}")

    def run(self, text: str) -> int:
        """Run a statement as it is written."""
        with self._changing() as cursor:
            cursor.execute(text)
            return int(cursor.rowcount)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[Any]:
        """A cursor that may write, and a transaction that only a good end commits."""
        with self._connection(writes=True) as connection, connection.cursor() as cursor:
            cursor.execute("START TRANSACTION")
            yield cursor
            if self.stopped():
                raise Cancelled("the statement was stopped")
            cursor.execute("COMMIT")

    # Connections --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _connection(self, writes: bool = False) -> Iterator[_Connection]:
        """An idle connection, or a new one. One whose answer was not read to its end is not used again, nor is one that
        may write."""
        stops = self._stops
        with self._lock:
            connection = self._idle.pop() if self._idle and not writes else None
        try:
            if connection is None or not _is_open(connection):
                connection = self.connect(writes)
            with self._lock:
                self._running.add(connection)
            try:
                if self.stopped():
                    raise Cancelled("the statement was stopped")
                yield connection
            except BaseException:
                connection._force_close()
                raise
            finally:
                with self._lock:
                    self._running.discard(connection)
            if writes:
                connection.close()
                return
            with self._lock:
                self._idle.append(connection)
        except (pymysql.Error, OSError, CutOff) as error:
            if self._stops != stops:
                raise Cancelled("the statement was stopped") from error
            raise self._failed(error) from error

    def connect(self, writes: bool = False) -> _Connection:
        """A connection that has been told how to read and write texts and times."""
        connection = pymysql.connect(**self._words, charset="utf8mb4", autocommit=True, connect_timeout=10)
        with connection.cursor() as cursor:
            cursor.execute(_SESSION)
            if not writes:
                cursor.execute(_READING)
        return connection

    def _failed(self, error: Exception) -> SourceError:
        said = str(error.args[1] if len(error.args) > 1 else error.args[0] if error.args else type(error).__name__)
        for secret in filter(None, (self._words.get("password"), self.parameters.get("url"))):
            said = said.replace(secret, "***")
        return SourceError(f'the database "{self.name}" (mysql) says: {said}')

    def interrupt(self) -> None:
        """What waits for rows is woken at once; the server is told on another connection."""
        with self._lock:
            self._stops += 1
            running = list(self._running)
        for connection in running:
            with contextlib.suppress(OSError, AttributeError):
                connection._sock.shutdown(socket.SHUT_RDWR)
        if running:
            threading.Thread(target=self._kill, args=([each.thread_id() for each in running],), daemon=True).start()

    def _kill(self, threads: list[int]) -> None:
        failed = contextlib.suppress(pymysql.Error, OSError)
        with failed, contextlib.closing(self.connect()) as other, other.cursor() as cursor:
            for thread in threads:
                with contextlib.suppress(pymysql.Error):
                    cursor.execute(f"KILL {thread}")

    def close(self) -> None:
        """Close what is idle; what runs is closed when its stream is."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            with contextlib.suppress(pymysql.Error, OSError):
                connection.close()


def _insert(cursor: Any, name: str, rows: Rows) -> int:
    """Insert all rows; how many they were."""
    cursor.execute("SELECT @@max_allowed_packet")
    most = min(_INSERT_BYTES, int(cursor.fetchone()[0]) // 4)
    begin = f"INSERT INTO {name} ({', '.join(map(quoted, rows.schema.names))}) VALUES"
    count = 0
    for text, inserted in inserts.statements(begin, rows.batches, most):
        cursor.execute(text)
        count += inserted
    return count


def _connection(parameters: Mapping[str, Any]) -> dict[str, Any]:
    words = {key: parameters[key] for key in ("host", "port", "user", "password", "database") if key in parameters}
    if parameters.get("url"):
        parts = urlsplit(parameters["url"])
        if parts.scheme not in ("mysql", "mariadb") or not parts.hostname:
            raise StatementError("the url is none of MySQL", hint="write it as mysql://user:password@host:3306/database")
        words |= {"host": parts.hostname, "port": parts.port or 3306, "database": parts.path.strip("/") or None}
        words |= {"user": unquote(parts.username or ""), "password": unquote(parts.password or "")}
    if not words.get("user"):
        raise StatementError("ENGINE = 'mysql' needs the option \"user\"")
    if parameters.get("ssl") is False:
        words["ssl_disabled"] = True
    elif parameters.get("ssl_ca"):
        # PyMySQL does not check the certificate by itself.
        words |= {"ssl_verify_cert": True, "ssl_verify_identity": True}
    elif parameters.get("ssl"):
        words["ssl"] = {"check_hostname": False, "verify_mode": "none"}
    words |= {key: parameters[key] for key in ("ssl_ca", "ssl_cert", "ssl_key") if parameters.get(key)}
    return words


def _is_open(connection: _Connection) -> bool:
    try:
        connection.ping(reconnect=False)
    except (pymysql.Error, OSError):
        return False
    return True


def _counted(rows: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))
