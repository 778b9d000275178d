"""Owns how one value is written as text: in DuckDB's own spelling."""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from mindsql.formats.types import Type

Writer = Callable[[Any], str]
"""A value that is not NULL to its text."""

# What a string inside a LIST or STRUCT must not hold without quotes.
_SPECIAL = frozenset("()[]{},=:;'\"\\")


def text_writer(kind: Type) -> Writer:
    """How values of a type are written as text: as `CAST(… AS VARCHAR)` does in DuckDB."""
    if scalar := _SCALARS.get(kind.name):
        return scalar
    if nested := _NESTED_TEXT.get(kind.name):
        return nested(kind)
    return str if kind.is_number or kind.name in ("ENUM", "UUID") else _guess


def boolean(value: bool) -> str:
    """`true` or `false`."""
    return "true" if value else "false"


def _float32(value: float) -> str:
    """The shortest digits that give the same 32-bit number."""
    if value != value or value in (float("inf"), float("-inf")):
        return repr(value)
    packed = struct.pack("f", value)
    for digits in range(1, 9):
        short = float(f"{value:.{digits}g}")
        if struct.pack("f", short) == packed:
            return repr(short)
    return repr(float(f"{value:.9g}"))


def _decimal(value: Decimal) -> str:
    return f"{value:f}"


def _blob(value: bytes) -> str:
    return "".join(chr(b) if 32 <= b < 127 and b not in (34, 39, 92) else f"\\x{b:02X}" for b in value)


def _bit(value: str | bytes) -> str:
    if isinstance(value, str):
        return value
    # As Arrow has it: the number of padding bits, then the bits.
    return "".join(f"{byte:08b}" for byte in value[1:])[value[0] :]


def _fraction(value: Any) -> str:
    """`.5` of a second, to the nanosecond where the value has them, nothing for a whole second."""
    nanoseconds = value.microsecond * 1000 + getattr(value, "nanosecond", 0)
    return f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""


def _clock(value: Any) -> str:
    return f"{value.hour:02d}:{value.minute:02d}:{value.second:02d}{_fraction(value)}"


def _offset(value: Any) -> str:
    """`+02`, `-03:30`: the time zone as DuckDB writes it."""
    offset = value.utcoffset()
    if offset is None:
        return ""
    seconds = int(offset.total_seconds())
    sign, seconds = ("-" if seconds < 0 else "+"), abs(seconds)
    text = f"{sign}{seconds // 3600:02d}"
    if seconds % 3600:
        text += f":{seconds % 3600 // 60:02d}"
    if seconds % 60:
        text += f":{seconds % 60:02d}"
    return text


def _date(value: Any) -> str:
    # Dates that Python cannot hold arrive as text.
    return value if isinstance(value, str) else f"{value.year:04d}-{value.month:02d}-{value.day:02d}"


def _time(value: Any) -> str:
    return value if isinstance(value, str) else _clock(value) + _offset(value)


def _timestamp(value: Any) -> str:
    return value if isinstance(value, str) else f"{_date(value)} {_clock(value)}{_offset(value)}"


def _interval(value: Any) -> str:
    """`1 year 2 months 3 days 04:05:06.7`, from a month-day-nanosecond triple or from a timedelta."""
    if isinstance(value, dt.timedelta):
        months, days = 0, value.days
        micros = value.seconds * 1_000_000 + value.microseconds
    else:
        months, days, nanoseconds = value
        micros = int(nanoseconds / 1000)
    years = int(months / 12)
    counts = ((years, "year"), (months - years * 12, "month"), (days, "day"))
    parts = [f"{count} {unit}{'' if abs(count) == 1 else 's'}" for count, unit in counts if count]
    if micros or not parts:
        sign, micros = ("-" if micros < 0 else ""), abs(micros)
        seconds, rest = divmod(micros, 1_000_000)
        clock = f"{sign}{seconds // 3600:02d}:{seconds % 3600 // 60:02d}:{seconds % 60:02d}"
        parts.append(clock + (f".{rest:06d}".rstrip("0") if rest else ""))
    return " ".join(parts)


_SCALARS: dict[str, Writer] = {
    "BOOLEAN": boolean,
    "DOUBLE": repr,
    "FLOAT": _float32,
    "DECIMAL": _decimal,
    "BLOB": _blob,
    "BIT": _bit,
    "DATE": _date,
    "TIME": _time,
    "TIME_NS": _time,
    "TIME WITH TIME ZONE": _time,
    "TIMESTAMP": _timestamp,
    "TIMESTAMP_S": _timestamp,
    "TIMESTAMP_MS": _timestamp,
    "TIMESTAMP_NS": _timestamp,
    "TIMESTAMP WITH TIME ZONE": _timestamp,
    "INTERVAL": _interval,
    "VARCHAR": str,
}


def _quoted(text: str) -> str:
    """A string inside a LIST, MAP or STRUCT: in quotes only where it would be misread without."""
    plain = text and text.strip() == text and text.upper() != "NULL" and not _SPECIAL.intersection(text)
    if plain:
        return text
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _inside(kind: Type) -> Writer:
    """How a value is written inside a LIST, MAP or STRUCT, NULL included."""
    write = text_writer(kind)
    if kind.name in ("LIST", "MAP", "STRUCT", "TUPLE") or kind.is_number or kind.name == "BOOLEAN":
        return lambda value: "NULL" if value is None else write(value)
    return lambda value: "NULL" if value is None else _quoted(write(value))


def _list_text(kind: Type) -> Writer:
    item = _inside(kind.inner[0])
    return lambda value: "[" + ", ".join(item(v) for v in value) + "]"


def _struct_text(kind: Type) -> Writer:
    names = ["'" + name.replace("\\", "\\\\").replace("'", "\\'") + "': " for name in kind.fields]
    items = [_inside(inner) for inner in kind.inner]

    def write(value: dict[str, Any]) -> str:
        parts = (name + item(part) for name, item, part in zip(names, items, value.values(), strict=True))
        return "{" + ", ".join(parts) + "}"

    return write


def _tuple_text(kind: Type) -> Writer:
    items = [_inside(inner) for inner in kind.inner]

    def write(value: Any) -> str:
        parts = value.values() if isinstance(value, dict) else value
        return "(" + ", ".join(item(part) for item, part in zip(items, parts, strict=True)) + ")"

    return write


def pairs(value: Any) -> Iterable[tuple[Any, Any]]:
    """The pairs of a MAP: a dict, a list of pairs, or (keys that cannot be hashed) two lists by name."""
    if isinstance(value, dict):
        keys, values = value.get("key"), value.get("value")
        if len(value) == 2 and isinstance(keys, list) and isinstance(values, list):
            return zip(keys, values, strict=True)
        return value.items()
    return [tuple(pair) for pair in value]


def _map_text(kind: Type) -> Writer:
    key, item = (_inside(inner) for inner in kind.inner)
    return lambda value: "{" + ", ".join(f"{key(k)}={item(v)}" for k, v in pairs(value)) + "}"


# bool before int and datetime before date: each is the other's subclass.
_BY_CLASS: tuple[tuple[type, Writer], ...] = (
    (bool, boolean),
    (int, str),
    (str, str),
    (float, repr),
    (Decimal, _decimal),
    (bytes, _blob),
    (dt.datetime, _timestamp),
    (dt.date, _date),
    (dt.time, _time),
    (dt.timedelta, _interval),
)


def _guess(value: Any) -> str:
    """For types that only their values tell: UNION, VARIANT and those to come."""
    for cls, write in _BY_CLASS:
        if isinstance(value, cls):
            return write(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join("NULL" if v is None else _guess(v) for v in value) + "]"
    if isinstance(value, dict):
        pairs = (f"'{k}': " + ("NULL" if v is None else _guess(v)) for k, v in value.items())
        return "{" + ", ".join(pairs) + "}"
    return str(value)


_NESTED_TEXT: dict[str, Callable[[Type], Writer]] = {
    "LIST": _list_text,
    "STRUCT": _struct_text,
    "TUPLE": _tuple_text,
    "MAP": _map_text,
}
