"""Owns the types and constructors of DB-API 2.0 (PEP 249): what `description` says, and what parameters are made of."""

from __future__ import annotations

import datetime as dt

from mindsql.schema import Family, family


class TypeObject:
    """A kind of column: equal to the DuckDB types that belong to it, as `description` names them."""

    def __init__(self, name: str, *families: Family) -> None:
        self._name = name
        self._families = frozenset(families)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return family(other) in self._families
        return self is other

    def __hash__(self) -> int:
        return hash(self._name)

    def __repr__(self) -> str:
        return self._name


STRING = TypeObject("STRING", "text")
BINARY = TypeObject("BINARY", "binary")
NUMBER = TypeObject("NUMBER", "number", "boolean")
DATETIME = TypeObject("DATETIME", "time")
ROWID = TypeObject("ROWID")

Date = dt.date
Time = dt.time
Timestamp = dt.datetime
Binary = bytes


def DateFromTicks(ticks: float) -> dt.date:
    """The local date of a time in seconds since 1970."""
    return dt.date.fromtimestamp(ticks)


def TimeFromTicks(ticks: float) -> dt.time:
    """The local time of day of a time in seconds since 1970."""
    return dt.datetime.fromtimestamp(ticks).time()


def TimestampFromTicks(ticks: float) -> dt.datetime:
    """The local date and time of a time in seconds since 1970."""
    return dt.datetime.fromtimestamp(ticks)

