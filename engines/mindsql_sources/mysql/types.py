"""Owns MySQL's types: what each is read and written as, and how its constants and names are told."""

from __future__ import annotations

import datetime as dt
import decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pymysql.constants import FIELD_TYPE, FLAG

from mindsql.errors import SourceError

_NO_DAY = r"^\d{4}-(00|\d\d-00)"
CREATED = {
    **{"bool": "BOOLEAN", "int8": "TINYINT", "int16": "SMALLINT", "int32": "INT", "int64": "BIGINT"},
    **{"uint8": "TINYINT UNSIGNED", "uint16": "SMALLINT UNSIGNED", "uint32": "INT UNSIGNED"},
    **{"uint64": "BIGINT UNSIGNED", "float": "FLOAT", "double": "DOUBLE", "binary": "LONGBLOB"},
    **{"string": "LONGTEXT CHARACTER SET utf8mb4", "date32[day]": "DATE", "time64[us]": "TIME(6)"},
    **{"extension<arrow.uuid>": "CHAR(36)", "extension<arrow.json>": "JSON"},
}
"""The types of a new table's columns, by the names of Arrow's."""

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


class Column:
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
        return f"{quoted(self.name)} + 0e0" if self._code == FIELD_TYPE.FLOAT else quoted(self.name)

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
        return text_literal(value) if text and operator == "=" and "\0" not in value else None


_TEXTS = frozenset([FIELD_TYPE.VARCHAR, FIELD_TYPE.VAR_STRING, FIELD_TYPE.STRING, FIELD_TYPE.ENUM, FIELD_TYPE.TINY_BLOB,
                    FIELD_TYPE.MEDIUM_BLOB, FIELD_TYPE.LONG_BLOB, FIELD_TYPE.BLOB])  # fmt: skip


def typed(array: pa.Array, field: pa.Field, source: str, strict: bool = False) -> pa.Array:
    """The bytes of a text protocol as a column's type; `strict`: a day that there is not is an error."""
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
            return _times(texts, kind, strict)
        if pa.types.is_float32(kind):
            return texts.cast(pa.float64()).cast(kind)
        return texts.cast(kind)
    except pa.ArrowInvalid as error:
        raise SourceError(
            f'a value of the column "{field.name}" of the database "{source}" is no {kind}: '
            f"{str(error).splitlines()[0]}"
        ) from error


def _times(texts: pa.Array, kind: pa.DataType, strict: bool) -> pa.Array:
    plain = kind if pa.types.is_date(kind) else pa.timestamp("us")
    try:
        found = texts.cast(plain)
    except pa.ArrowInvalid:
        if strict:
            raise
        # 0000-00-00, and 2024-02-00: days that MySQL keeps, and nobody else has
        none = pc.fill_null(pc.match_substring_regex(texts, _NO_DAY), False)
        found = pc.if_else(none, pa.scalar(None, pa.string()), texts).cast(plain)
    return found if kind == plain else found.cast(pa.int64()).cast(kind)


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def text_literal(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
