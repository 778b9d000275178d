"""Owns how DuckDB's types look to a MySQL client: the declared type, and the bytes of each value."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Any

from mysql_mimic.charset import CharacterSet
from mysql_mimic.packets import make_column_definition_41
from mysql_mimic.results import ResultColumn
from mysql_mimic.types import ColumnDefinition as Flag
from mysql_mimic.types import ColumnType, str_len

from mindsql.errors import DataError
from mindsql.schema import Column

_TEXT_BYTES = 262140
_NAME_LENGTH = 256
"""As in MySQL: an expression without a name has its text as its name, and that may be anything."""


@dataclass(frozen=True)
class Type:
    """A type as MySQL declares it.

    Attributes:
        name: As DDL spells it.
        wire: Its code in the protocol.
        length: The most characters it takes.
        decimals: Digits after the point; 31 for floating point.
        format: `struct` format of the binary form of a number.
    """

    name: str
    wire: ColumnType
    length: int
    decimals: int = 0
    flags: int = 0
    format: str = ""

    @property
    def is_text(self) -> bool:
        """Whether values are characters, which have a character set."""
        return self.wire in (ColumnType.VAR_STRING, ColumnType.JSON)


_TEXT = Type("text", ColumnType.VAR_STRING, _TEXT_BYTES)
_JSON = Type("json", ColumnType.JSON, 2**32 - 1, flags=Flag.BLOB_FLAG)
_DATETIME = Type("datetime(6)", ColumnType.DATETIME, 26, 6, Flag.BINARY_FLAG)
_TIME = Type("time(6)", ColumnType.TIME, 17, 6, Flag.BINARY_FLAG)


def _integer(name: str, wire: ColumnType, length: int, form: str) -> Type:
    unsigned = Flag.UNSIGNED_FLAG if name.endswith("unsigned") else 0
    return Type(name, wire, length, 0, Flag.NUM_FLAG | Flag.BINARY_FLAG | unsigned, form)


TYPES = {
    "BOOLEAN": _integer("tinyint(1)", ColumnType.TINY, 1, "<b"),
    "TINYINT": _integer("tinyint", ColumnType.TINY, 4, "<b"),
    "SMALLINT": _integer("smallint", ColumnType.SHORT, 6, "<h"),
    "INTEGER": _integer("int", ColumnType.LONG, 11, "<i"),
    "BIGINT": _integer("bigint", ColumnType.LONGLONG, 20, "<q"),
    "UTINYINT": _integer("tinyint unsigned", ColumnType.TINY, 3, "<B"),
    "USMALLINT": _integer("smallint unsigned", ColumnType.SHORT, 5, "<H"),
    "UINTEGER": _integer("int unsigned", ColumnType.LONG, 10, "<I"),
    "UBIGINT": _integer("bigint unsigned", ColumnType.LONGLONG, 20, "<Q"),
    "HUGEINT": _integer("decimal(39,0)", ColumnType.NEWDECIMAL, 40, ""),
    "UHUGEINT": _integer("decimal(39,0) unsigned", ColumnType.NEWDECIMAL, 39, ""),
    "FLOAT": Type("float", ColumnType.FLOAT, 12, 31, Flag.NUM_FLAG | Flag.BINARY_FLAG, "<f"),
    "DOUBLE": Type("double", ColumnType.DOUBLE, 22, 31, Flag.NUM_FLAG | Flag.BINARY_FLAG, "<d"),
    "DATE": Type("date", ColumnType.DATE, 10, 0, Flag.BINARY_FLAG),
    "TIME": _TIME,
    "TIME_NS": _TIME,
    "TIMESTAMP": _DATETIME,
    "TIMESTAMP_S": _DATETIME,
    "TIMESTAMP_MS": _DATETIME,
    "TIMESTAMP_NS": _DATETIME,
    "TIMESTAMP WITH TIME ZONE": Type("timestamp(6)", ColumnType.TIMESTAMP, 26, 6, Flag.BINARY_FLAG),
    "BLOB": Type("longblob", ColumnType.BLOB, 2**32 - 1, 0, Flag.BLOB_FLAG | Flag.BINARY_FLAG),
    "UUID": Type("char(36)", ColumnType.VAR_STRING, 144),
    "JSON": _JSON,
    "VARCHAR": _TEXT,
}


def mysql_type(duckdb: str) -> Type:
    """MySQL's type for one of DuckDB's; text for what MySQL has none for (BIT, INTERVAL, ENUM, …)."""
    if duckdb in TYPES:
        return TYPES[duckdb]
    if duckdb.startswith("DECIMAL"):
        precision, scale = (int(part) for part in duckdb[8:-1].split(","))
        flags = Flag.NUM_FLAG | Flag.BINARY_FLAG
        return Type(f"decimal({precision},{scale})", ColumnType.NEWDECIMAL, precision + 2, scale, flags)
    if duckdb.endswith("]") or duckdb.startswith(("STRUCT", "MAP", "UNION")):
        return _JSON
    return _TEXT


class Columns:
    """The columns of one result, and how each value of theirs is written.

    Args:
        columns: Their names and DuckDB types.
        charset: The character set that the client wants.
        zone: In which TIMESTAMP WITH TIME ZONE is told: a MySQL TIMESTAMP has no offset.
    """

    def __init__(self, columns: Sequence[Column], charset: CharacterSet, zone: tzinfo) -> None:
        self.types = [mysql_type(column.type) for column in columns]
        self.encoders = [
            ResultColumn(
                column.name,
                kind.wire,
                charset,
                text_encoder=_text_encoder(column.type, kind, zone, charset),
                binary_encoder=_binary_encoder(kind, zone),
            )
            for column, kind in zip(columns, self.types, strict=True)
        ]
        self.definitions = [
            definition(column.name, kind, charset) for column, kind in zip(columns, self.types, strict=True)
        ]


def definition(name: str, kind: Type, charset: CharacterSet, **more: Any) -> bytes:
    """The packet that declares a column."""
    packet: bytes = make_column_definition_41(
        server_charset=charset,
        name=name[:_NAME_LENGTH],
        character_set=charset if kind.is_text else CharacterSet.binary,
        column_length=kind.length,
        column_type=kind.wire,
        flags=Flag(kind.flags),
        decimals=kind.decimals,
        **more,
    )
    return packet


Encoder = Callable[[ResultColumn, Any], bytes]


def _text_encoder(duckdb: str, kind: Type, zone: tzinfo, charset: CharacterSet) -> Encoder | None:
    """How a value becomes text, None where `str` will do. It must not fail: half of a row may be written."""
    if duckdb == "FLOAT":
        import numpy as np

        return lambda column, value: str(np.float32(value)).encode()
    if kind is _JSON and duckdb != "JSON":
        return lambda column, value: as_json(value).encode(column.codec, "replace")
    if duckdb == "INTERVAL":
        return lambda column, value: interval(value).encode()
    if duckdb == "BIT":
        return lambda column, value: _bits(value).encode()
    if kind.wire == ColumnType.TIMESTAMP:
        return lambda column, value: str(_wall_clock(value, zone)).encode()
    if kind.is_text and charset != CharacterSet.utf8mb4:
        return lambda column, value: str(value).encode(column.codec, "replace")
    return None


def _binary_encoder(kind: Type, zone: tzinfo) -> Encoder | None:
    if kind.format:
        pack = struct.Struct(kind.format).pack
        return lambda column, value: pack(value)
    if kind.wire in (ColumnType.DATE, ColumnType.DATETIME, ColumnType.TIMESTAMP):
        return lambda column, value: _binary_moment(_wall_clock(value, zone))
    if kind.wire == ColumnType.TIME:
        return lambda column, value: _binary_time(value)
    if kind.wire == ColumnType.BLOB:
        return lambda column, value: str_len(value)
    return lambda column, value: str_len(column.text_encode(value))


def _wall_clock(value: Any, zone: tzinfo) -> Any:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(zone).replace(tzinfo=None)
    return value


def _binary_moment(value: Any) -> bytes:
    if not isinstance(value, date):
        # DuckDB hands years that Python has not as text.
        raise DataError(
            f"{value} has no form in MySQL's binary protocol", hint="CAST it to VARCHAR, or do not prepare"
        )
    day = struct.pack("<HBB", value.year, value.month, value.day)
    if not isinstance(value, datetime):
        return b"\x04" + day
    clock = struct.pack("<BBB", value.hour, value.minute, value.second)
    if value.microsecond:
        return b"\x0b" + day + clock + struct.pack("<I", value.microsecond)
    return b"\x07" + day + clock


def _binary_time(value: time) -> bytes:
    clock = struct.pack("<BIBBB", 0, 0, value.hour, value.minute, value.second)
    if value.microsecond:
        return b"\x0c" + clock + struct.pack("<I", value.microsecond)
    return b"\x08" + clock


def as_json(value: Any) -> str:
    """A list, struct or map as JSON text; what JSON has no form for as text within it."""
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, timedelta) or hasattr(value, "nanoseconds"):
        return interval(value)
    return str(value)


def _bits(value: str | bytes) -> str:
    """A BIT as text. Arrow has it as DuckDB does: how many bits to leave out, then all bits."""
    if isinstance(value, str):
        return value
    return "".join(f"{byte:08b}" for byte in value[1:])[value[0] :]


def interval(value: Any) -> str:
    """An interval as DuckDB writes it. `value`: Arrow's months, days and nanoseconds, or a timedelta."""
    if isinstance(value, timedelta):
        months, days = 0, value.days
        micros = value.seconds * 1_000_000 + value.microseconds
    else:
        months, days, micros = value.months, value.days, value.nanoseconds // 1000
    years, months = int(months / 12), months - 12 * int(months / 12)
    parts = [
        f"{count} {unit}{'' if abs(count) == 1 else 's'}"
        for count, unit in ((years, "year"), (months, "month"), (days, "day"))
        if count
    ]
    if micros or not parts:
        seconds, fraction = divmod(abs(micros), 1_000_000)
        clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        clock += f".{fraction:06}".rstrip("0") if fraction else ""
        parts.append(("-" if micros < 0 else "") + clock)
    return " ".join(parts)
