"""Owns PostgreSQL's types: what each is read and written as, and how its constants are told.

Types go by PostgreSQL's catalog. What the driver would change on its way is asked for in another form: times without
an end are NULL, numbers without a precision are DOUBLE, and types that Arrow does not have are text.
"""

from __future__ import annotations

import datetime as dt
import decimal
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mindsql.errors import SourceError
from mindsql_sources.conditions import quoted

_PLAIN: dict[str, pa.DataType] = {
    "smallint": pa.int16(), "integer": pa.int32(), "bigint": pa.int64(), "boolean": pa.bool_(), "real": pa.float32(),
    "double precision": pa.float64(), "text": pa.string(), "character varying": pa.string(), "bytea": pa.binary(),
}  # fmt: skip
_TIMES = {
    "date": (pa.date32(), "DATE"),
    "timestamp without time zone": (pa.timestamp("us"), "TIMESTAMP"),
    "timestamp with time zone": (pa.timestamp("us", "UTC"), "TIMESTAMPTZ"),
}
_LISTED = {f"{name}[]": pa.list_(kind) for name, kind in _PLAIN.items() if name not in ("real", "bytea")}
ITEMS = frozenset(name.removesuffix("[]") for name in _LISTED)
COPIED_TEXTS = ("text", "character varying")
CREATED = {
    **{"bool": "boolean", "int8": "smallint", "int16": "smallint", "int32": "integer", "int64": "bigint"},
    **{"uint8": "smallint", "uint16": "integer", "uint32": "bigint", "uint64": "numeric(20,0)", "float": "real"},
    **{"double": "double precision", "string": "text", "binary": "bytea", "date32[day]": "date"},
    **{"time64[us]": "time without time zone", "extension<arrow.uuid>": "uuid", "extension<arrow.json>": "json"},
}
"""The types of a new table's columns, by the names of Arrow's."""
SIGNED = {
    **{"int8": pa.int16(), "uint8": pa.int16(), "uint16": pa.int32(), "uint32": pa.int64()},
    **{"uint64": pa.decimal128(20, 0)},
}
"""What values without a sign are sent as: the driver would send the bits of the largest as they are."""
_WHOLE = ("smallint", "integer", "bigint")
_LAST = "294247-01-01"  # the first day that Arrow's microseconds do not reach


@dataclass(frozen=True)
class Column:
    """A column of PostgreSQL.

    Attributes:
        field: Its name, and the type that its values are read as.
        expression: What is selected.
        compared: What a constant is compared with.
        literal: How a constant is written beside it.
        loses: Whether some of its values are read as NULL.
    """

    field: pa.Field
    expression: str
    compared: str
    literal: Callable[[Any, str], str | None]
    loses: bool = False

    @classmethod
    def of(cls, name: str, declared: str, strict: bool = False) -> Column:
        """A column by its type's name as `format_type` tells it; `strict`: a time without an end is an error."""
        own = quoted(name)
        base = re.sub(r"\(.*?\)", "", declared)

        def column(
            arrow: pa.DataType,
            expression: str = own,
            literal: Callable[[Any, str], str | None] = _none,
            compared: str | None = None,
            loses: bool = False,
        ) -> Column:
            return cls(pa.field(name, arrow), expression, compared or expression, literal, loses)

        if base in _PLAIN:
            return column(_PLAIN[base], literal=_literal(base))
        if base in _TIMES:
            arrow, word = _TIMES[base]
            ends = f"isfinite({own})" if base == "date" else f"{own} > '-infinity' AND {own} < '{_LAST}'"
            if strict:
                # A text of the row's own value is cast, so that the error is that row's and names the value.
                checked = f"CASE WHEN {own} IS NULL OR {ends} THEN {own} ELSE ('not: ' || {own})::{base} END"
                return column(arrow, checked, _time(word), own)
            return column(arrow, f"CASE WHEN {ends} THEN {own} END", _time(word), own, True)
        precision = re.fullmatch(r"numeric\((\d+),(-?\d+)\)", declared)
        if precision is not None and int(precision[1]) <= 38 and 0 <= int(precision[2]) <= int(precision[1]):
            # The driver gives its digits as text, from which DECIMAL is read.
            return column(pa.decimal128(int(precision[1]), int(precision[2])), literal=_literal("numeric"))
        if base == "numeric":
            return column(pa.float64(), f"{own}::float8", _literal("double precision"))
        if base == "uuid":
            return column(pa.uuid(), f"{own}::text")
        if base in ("json", "jsonb"):
            return column(pa.json_(), f"{own}::text")
        if base in _LISTED and "(" not in declared:
            # Another dimension would be lost: casting the array's bounds to it fails, and says so.
            guard = f"CASE WHEN array_ndims({own}) > 1 THEN array_dims({own})::{base} ELSE {own} END"
            return column(_LISTED[base], guard)
        if base == "oid":
            return column(pa.int64(), f"{own}::bigint")
        return column(pa.string(), f"{own}::text", _literal("text"))


def written(declared: str) -> pa.DataType:
    """The Arrow type that values for a column of this type have: what binary COPY knows, or text."""
    base = re.sub(r"\(.*?\)", "", declared)
    if base in _PLAIN:
        return _PLAIN[base]
    if base in _TIMES:
        return _TIMES[base][0]
    kind = Column.of("", declared).field.type
    return kind if pa.types.is_decimal(kind) or base in _LISTED else pa.string()


def cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    return array if array.type == kind else array.cast(kind)


def mended(array: pa.Array, field: pa.Field, source: str) -> pa.Array:
    """An array as the driver gives it, as the field's type."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if array.type == field.type:
        return array
    kind = field.type
    try:
        if isinstance(kind, pa.BaseExtensionType):
            if kind.extension_name == "arrow.uuid" and pa.types.is_string(array.type):
                import uuid

                array = pa.array([None if v is None else uuid.UUID(v).bytes for v in array.to_pylist()], pa.binary(16))
            return pa.ExtensionArray.from_storage(kind, array.cast(kind.storage_type))
        return array.cast(kind)
    except (pa.ArrowInvalid, ValueError) as error:
        raise SourceError(
            f'a value of the column "{field.name}" of the database "{source}" is no {kind}: {_first_line(error)}',
            hint="read it by a native query with a cast, or as text",
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _none(value: Any, operator: str) -> str | None:
    return None


def _literal(base: str) -> Callable[[Any, str], str | None]:
    """How a constant is written, where PostgreSQL compares as DuckDB does."""

    def literal(value: Any, operator: str) -> str | None:
        if base == "boolean":
            return str(value).upper() if isinstance(value, bool) and operator in ("=", "<>") else None
        if isinstance(value, bool):
            return None
        if base in (*_WHOLE, "numeric") and isinstance(value, (int, decimal.Decimal)):
            return f"{value:f}" if isinstance(value, decimal.Decimal) else str(value)
        if base == "double precision" and isinstance(value, float):
            return f"'{value!r}'::float8"
        # Order depends on the collation.
        if base in ("text", "character varying") and isinstance(value, str) and "\0" not in value and operator == "=":
            return text_literal(value)
        return None

    return literal


def _time(word: str) -> Callable[[Any, str], str | None]:
    def literal(value: Any, operator: str) -> str | None:
        if word == "DATE":
            fits = isinstance(value, dt.date) and not isinstance(value, dt.datetime)
        else:
            fits = isinstance(value, dt.datetime) and (value.tzinfo is not None) == (word == "TIMESTAMPTZ")
        return f"{word} '{value.isoformat()}'" if fits else None

    return literal


def text_literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
