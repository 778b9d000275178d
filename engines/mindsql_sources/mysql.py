"""Owns MySQL and MariaDB as a source: PyMySQL's connection, and rows of its text protocol read into Arrow by columns.

The protocol is described at https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response.html.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import decimal
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pymysql
from numpy.typing import NDArray
from pymysql.constants import FIELD_TYPE, FLAG
from pymysql.cursors import SSCursor

from mindsql.engine import Network, Option
from mindsql.errors import Cancelled, SourceError, StatementError, UnknownNameError
from mindsql.network import check_host
from mindsql.source import BATCH_ROWS, Condition, Rows, Source
from mindsql_sources.conditions import Dialect

_SESSION = (
    # Quotes, times and reading go by these; a reader may be slow, as a model is.
    "SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00', "
    "net_write_timeout = 3600",
    "SET SESSION TRANSACTION READ ONLY",
)
_Connection = Any  # what is used of it beside PyMySQL's interface has no types
_BATCH_BYTES = 16_000_000
_LONGEST = 0xFFFFFF
_NO_DAY = r"^\d{4}-(00|\d\d-00)"


class MySQL(Source):
    """A database of MySQL or MariaDB, open for reading."""

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

    def _columns(self, table: tuple[str, ...]) -> tuple[str, list[_Column]]:
        name = self._named(table)
        return name, self._described(f"SELECT * FROM {name} LIMIT 0")

    def _described(self, text: str) -> list[_Column]:
        with self._connection() as connection:
            answer = _Answer(connection, text)
            if not answer.ended:
                connection._force_close()  # it is not run to its end for its columns alone
            return answer.columns

    def _named(self, table: tuple[str, ...]) -> str:
        wanted = f"lower(table_name) = lower({_text(table[-1])})"
        schema = f"lower(table_schema) = lower({_text(table[0])})" if len(table) == 2 else "table_schema = database()"
        text = f"SELECT table_schema, table_name FROM information_schema.tables WHERE {schema} AND {wanted}"
        found = self._all(text) if len(table) <= 2 else []
        for row in [row for row in found if row[1] == table[-1]] or found:
            return f"{_quoted(row[0])}.{_quoted(row[1])}"
        raise UnknownNameError.of(f'table of the database "{self.name}":', ".".join(table), self.tables())

    # Reading ------------------------------------------------------------------------------------------------------

    def scan(self, table: tuple[str, ...], columns: Sequence[str], where: Sequence[Condition]) -> Rows:
        """A SELECT of the columns."""
        name, all_columns = self._columns(table)
        known = {column.field.name: column for column in all_columns}
        lost = frozenset(name for name, column in known.items() if column.is_time)
        condition = Dialect({n: c.literal for n, c in known.items()}, made_null=lost, quote=_quoted).text(where)
        text = f"SELECT {', '.join(known[column].expression for column in columns) or '1'} FROM {name}"
        schema = pa.schema([known[column].field for column in columns])
        text = f"{text} WHERE {condition}" if condition else text
        return Rows(schema, self._stream(text, schema), text)

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
            for count, columns in _Answer(connection, text).batches():
                arrays = [_typed(a, f, self.name) for a, f in zip(columns, schema, strict=False)]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema) if arrays else _counted(count)

    # Connections --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _connection(self) -> Iterator[_Connection]:
        """An idle connection, or a new one. One whose answer was not read to its end is not used again."""
        stops = self._stops
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        try:
            if connection is None or not _is_open(connection):
                connection = self.connect()
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
            with self._lock:
                self._idle.append(connection)
        except (pymysql.Error, OSError, _CutOff) as error:
            if self._stops != stops:
                raise Cancelled("the statement was stopped") from error
            raise self._failed(error) from error

    def connect(self) -> _Connection:
        """A connection that has been told how to read and write texts and times."""
        connection = pymysql.connect(**self._words, charset="utf8mb4", autocommit=True, connect_timeout=10)
        with connection.cursor() as cursor:
            for text in _SESSION:
                cursor.execute(text)
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


# The answer -------------------------------------------------------------------------------------------------------


class _CutOff(Exception):
    """The stream stopped before its end."""


class _Answer:
    """The answer to a query: its columns at once, its rows as they are read from the socket."""

    def __init__(self, connection: _Connection, text: str) -> None:
        cursor: Any = connection.cursor(SSCursor)
        cursor.execute(text)
        result: Any = cursor._result
        # From here on the rows are ours: PyMySQL would read all of them when the cursor is closed.
        result.unbuffered_active = False
        result.connection = None
        cursor.connection = None
        connection._result = None
        self._file: Any = connection._rfile
        fields = result.fields or []
        if not fields:
            raise SourceError("the statement gives no rows")
        self.columns = [_Column(field) for field in fields]

    @property
    def ended(self) -> bool:
        """Whether there are no rows at all."""
        return not next(self.batches(), (0,))[0]

    def batches(self) -> Iterator[tuple[int, list[pa.Array]]]:
        """The number of rows, and for each column their texts."""
        rows: list[bytes] = []
        size = 0
        for row in self._rows():
            rows.append(row)
            size += len(row)
            if len(rows) == BATCH_ROWS or size > _BATCH_BYTES:
                yield len(rows), _columns(rows, len(self.columns))
                rows, size = [], 0
        if rows:
            yield len(rows), _columns(rows, len(self.columns))

    def _rows(self) -> Iterator[bytes]:
        parts: list[bytes] = []
        held, at = b"", 0
        while True:
            # A packet: three bytes of length, one of its number, then what it holds.
            while len(held) - at < 4 or len(held) - at < 4 + (held[at] | held[at + 1] << 8 | held[at + 2] << 16):
                more = self._file.read1(1 << 20)
                if not more:
                    raise _CutOff("the connection was lost before the last row")
                held, at = held[at:] + more, 0
            length = held[at] | held[at + 1] << 8 | held[at + 2] << 16
            payload = held[at + 4 : at + 4 + length]
            at += 4 + length
            if length == _LONGEST:
                parts.append(payload)
                continue
            if parts:
                payload = b"".join([*parts, payload])
                parts = []
            elif length < 9 and payload[0] == 0xFE:
                return
            elif payload[0] == 0xFF:
                # `0xFF`, two bytes of a code, `#` and five of a state, then the message
                said = payload[9:].decode("utf-8", "replace")
                raise pymysql.OperationalError(int.from_bytes(payload[1:3], "little"), said)
            yield payload


def _columns(rows: list[bytes], count: int) -> list[pa.Array]:
    """The texts of each column, NULL where the protocol has 0xFB."""
    buffer: NDArray[np.uint8] = np.frombuffer(b"".join(rows) + bytes(16), dtype=np.uint8)
    ends = np.cumsum(np.fromiter(map(len, rows), dtype=np.int64, count=len(rows)))
    position = np.concatenate(([0], ends[:-1]))
    found = []
    for _ in range(count):
        first = buffer[position].astype(np.int64)
        missing = first == 0xFB
        length, start = np.where(missing, 0, first), position + 1
        for mark, width in ((0xFC, 2), (0xFD, 3), (0xFE, 8)):
            long = np.flatnonzero(first == mark)
            if len(long):
                length[long] = sum(buffer[position[long] + 1 + k].astype(np.int64) << (8 * k) for k in range(width))
                start[long] += width
        offsets = np.concatenate(([0], np.cumsum(length)))
        data = buffer[np.repeat(start - offsets[:-1], length) + np.arange(offsets[-1])]
        valid = pa.py_buffer(np.packbits(~missing, bitorder="little")) if missing.any() else None
        buffers = [valid, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data)]
        found.append(pa.Array.from_buffers(pa.binary(), len(rows), buffers))
        position = start + length
    if not np.array_equal(position, ends):
        raise _CutOff("the rows have another form than their columns")
    return found


# Types ------------------------------------------------------------------------------------------------------------

_INTEGERS = {
    FIELD_TYPE.TINY: (pa.int8(), pa.uint8()), FIELD_TYPE.SHORT: (pa.int16(), pa.uint16()),
    FIELD_TYPE.INT24: (pa.int32(), pa.uint32()), FIELD_TYPE.LONG: (pa.int32(), pa.uint32()),
    FIELD_TYPE.LONGLONG: (pa.int64(), pa.uint64()), FIELD_TYPE.YEAR: (pa.int16(), pa.int16()),
}  # fmt: skip
_OTHERS = {
    FIELD_TYPE.FLOAT: pa.float32(), FIELD_TYPE.DOUBLE: pa.float64(), FIELD_TYPE.DATE: pa.date32(),
    FIELD_TYPE.NEWDATE: pa.date32(), FIELD_TYPE.DATETIME: pa.timestamp("us"),
    FIELD_TYPE.TIMESTAMP: pa.timestamp("us", "UTC"), FIELD_TYPE.TIME: pa.string(), FIELD_TYPE.JSON: pa.json_(),
    FIELD_TYPE.BIT: pa.binary(), FIELD_TYPE.GEOMETRY: pa.binary(), FIELD_TYPE.NULL: pa.string(),
}  # fmt: skip
_BINARY = 63  # the character set of what is no text


class _Column:
    """A column as the server describes it."""

    def __init__(self, described: Any) -> None:
        self.name = str(described.name)
        self._code = described.type_code
        self.field = pa.field(self.name, self._type(described))

    def _type(self, described: Any) -> pa.DataType:
        unsigned = bool(described.flags & FLAG.UNSIGNED)
        if self._code in _INTEGERS:
            return _INTEGERS[self._code][unsigned]
        if self._code in (FIELD_TYPE.DECIMAL, FIELD_TYPE.NEWDECIMAL):
            precision = described.length - (described.scale > 0) - (not unsigned)
            return pa.decimal128(precision, described.scale) if 0 < precision <= 38 else pa.float64()
        if self._code in _OTHERS:
            return _OTHERS[self._code]
        return pa.binary() if described.charsetnr == _BINARY else pa.string()

    @property
    def is_time(self) -> bool:
        """Whether days that there are not may stand in it, which are read as NULL."""
        return self._code in (FIELD_TYPE.DATE, FIELD_TYPE.NEWDATE, FIELD_TYPE.DATETIME, FIELD_TYPE.TIMESTAMP)

    @property
    def expression(self) -> str:
        """What is selected: the server writes six digits of a FLOAT, and all of a DOUBLE."""
        return f"{_quoted(self.name)} + 0e0" if self._code == FIELD_TYPE.FLOAT else _quoted(self.name)

    def literal(self, value: Any, operator: str) -> str | None:
        """A constant, where MySQL compares as DuckDB does, or lets more through."""
        if isinstance(value, bool):
            return None
        if self._code in _INTEGERS:
            return str(value) if isinstance(value, int) else None
        if self._code in (FIELD_TYPE.DECIMAL, FIELD_TYPE.NEWDECIMAL):
            exact = isinstance(value, (int, decimal.Decimal)) and pa.types.is_decimal(self.field.type)
            return f"{decimal.Decimal(value):f}" if exact else None
        if self._code == FIELD_TYPE.DOUBLE:
            finite = isinstance(value, float) and value - value == 0
            return f"({value!r} + 0e0)" if finite else None
        if self.is_time and isinstance(value, dt.date):
            moment = isinstance(value, dt.datetime)
            if self._code in (FIELD_TYPE.DATE, FIELD_TYPE.NEWDATE):
                return None if moment else f"DATE'{value.isoformat()}'"
            if not isinstance(value, dt.datetime) or (value.tzinfo is not None) != (self._code == FIELD_TYPE.TIMESTAMP):
                return None
            return f"TIMESTAMP'{value.replace(tzinfo=None).isoformat(' ', 'microseconds')}'"
        text = self._code in _TEXTS and pa.types.is_string(self.field.type) and isinstance(value, str)
        # Its collation takes more texts for equal; order would lose rows.
        return _text(value) if text and operator == "=" and "\0" not in value else None


_TEXTS = frozenset([FIELD_TYPE.VARCHAR, FIELD_TYPE.VAR_STRING, FIELD_TYPE.STRING, FIELD_TYPE.ENUM, FIELD_TYPE.TINY_BLOB,
                    FIELD_TYPE.MEDIUM_BLOB, FIELD_TYPE.LONG_BLOB, FIELD_TYPE.BLOB])  # fmt: skip


def _typed(array: pa.Array, field: pa.Field, source: str) -> pa.Array:
    """The bytes of a text protocol as a column's type."""
    kind = field.type
    if pa.types.is_binary(kind):
        return array
    try:
        texts = array.cast(pa.string())
        if isinstance(kind, pa.BaseExtensionType):
            return pa.ExtensionArray.from_storage(kind, texts)
        if pa.types.is_string(kind):
            return texts
        if pa.types.is_temporal(kind):
            return _times(texts, kind)
        if pa.types.is_float32(kind):
            return texts.cast(pa.float64()).cast(kind)
        return texts.cast(kind)
    except pa.ArrowInvalid as error:
        raise SourceError(
            f'a value of the column "{field.name}" of the database "{source}" is no {kind}: '
            f"{str(error).splitlines()[0]}"
        ) from error


def _times(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    plain = kind if pa.types.is_date(kind) else pa.timestamp("us")
    try:
        found = texts.cast(plain)
    except pa.ArrowInvalid:
        # 0000-00-00, and 2024-02-00: days that MySQL keeps, and nobody else has
        none = pc.fill_null(pc.match_substring_regex(texts, _NO_DAY), False)
        found = pc.if_else(none, pa.scalar(None, pa.string()), texts).cast(plain)
    return found if kind == plain else found.cast(pa.int64()).cast(kind)


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


