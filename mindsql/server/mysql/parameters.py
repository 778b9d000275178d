"""Owns the values that a client sends for the `?` of a prepared statement, in the protocol's binary form."""

from __future__ import annotations

import struct
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from io import BytesIO
from typing import Any

from mysql_mimic.charset import CharacterSet
from mysql_mimic.types import ColumnType, read_str_len, read_uint_len

from mindsql.server.mysql.errors import MySQLError

_NUMBERS = {
    ColumnType.TINY: "bB",
    ColumnType.BOOL: "bB",
    ColumnType.SHORT: "hH",
    ColumnType.YEAR: "hH",
    ColumnType.LONG: "iI",
    ColumnType.INT24: "iI",
    ColumnType.LONGLONG: "qQ",
    ColumnType.FLOAT: "ff",
    ColumnType.DOUBLE: "dd",
}
_BYTES = (ColumnType.BLOB, ColumnType.TINY_BLOB, ColumnType.MEDIUM_BLOB, ColumnType.LONG_BLOB)
_MOMENTS = (ColumnType.DATE, ColumnType.NEWDATE, ColumnType.DATETIME, ColumnType.TIMESTAMP)

Kind = tuple[ColumnType, bool]
"""A parameter's type, and whether it is unsigned."""


def read_values(
    reader: BytesIO,
    count: int,
    charset: CharacterSet,
    known: list[Kind],
    long: dict[int, bytearray] | None = None,
    named: bool = False,
) -> tuple[list[Any], list[Kind]]:
    """Read `count` values.

    Args:
        known: Their types from the last time: a client need not say them twice.
        long: Values that came in pieces of their own, by position.
        named: Whether each type is followed by a name (which is left out).

    Returns:
        The values, and their types.

    Raises:
        MySQLError: A packet that is not what it should be (1835), or a type that has no reader (1235).
    """
    if not count:
        return [], []
    try:
        nulls = reader.read((count + 7) // 8)
        kinds = known
        if reader.read(1) == b"\x01":
            kinds = []
            for _ in range(count):
                kind, flags = struct.unpack("<BB", reader.read(2))
                kinds.append((ColumnType(kind), bool(flags & 0x80)))
                if named:
                    read_str_len(reader)
        if len(kinds) != count:
            raise ValueError("types are missing")
        values: list[Any] = []
        for position, (kind, unsigned) in enumerate(kinds):
            if nulls[position // 8] >> (position % 8) & 1:
                values.append(None)
            elif long and position in long:
                values.append(_characters(bytes(long[position]), kind, charset))
            else:
                values.append(_value(reader, kind, unsigned, charset))
    except (struct.error, ValueError, IndexError, InvalidOperation) as error:
        raise MySQLError(f"the parameters cannot be read: {error}", 1835, "HY000") from error
    return values, kinds


def _value(reader: BytesIO, kind: ColumnType, unsigned: bool, charset: CharacterSet) -> Any:
    if kind in _NUMBERS:
        code = _NUMBERS[kind][unsigned]
        return struct.unpack(f"<{code}", reader.read(struct.calcsize(code)))[0]
    if kind in _MOMENTS:
        return _moment(reader.read(read_uint_len(reader)), kind)
    if kind == ColumnType.TIME:
        return _time(reader.read(read_uint_len(reader)))
    if kind == ColumnType.NULL:
        return None
    length = read_uint_len(reader)
    data = reader.read(length)
    if len(data) != length:
        raise ValueError("a value is cut short")
    return _characters(data, kind, charset)


def _characters(data: bytes, kind: ColumnType, charset: CharacterSet) -> Any:
    if kind in _BYTES:
        return data
    try:
        text = charset.decode(data)
    except UnicodeDecodeError:
        return data  # some drivers send bytes as if they were text
    return Decimal(text) if kind in (ColumnType.NEWDECIMAL, ColumnType.DECIMAL) else text


def _moment(data: bytes, kind: ColumnType) -> date | datetime | None:
    if not data:
        return None
    year, month, day = struct.unpack("<HBB", data[:4])
    if kind in (ColumnType.DATE, ColumnType.NEWDATE):
        return date(year, month, day)
    hour, minute, second, micro = struct.unpack("<BBBI", data[4:].ljust(7, b"\0"))
    return datetime(year, month, day, hour, minute, second, micro)


def _time(data: bytes) -> time | timedelta:
    if not data:
        return time()
    negative, days, hours, minutes, seconds = struct.unpack("<BIBBB", data[:8])
    micro = struct.unpack("<I", data[8:12])[0] if len(data) >= 12 else 0
    if not negative and not days:
        return time(hours, minutes, seconds, micro)
    span = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds, microseconds=micro)
    return -span if negative else span
