"""Owns how columns and their types are named: a `Column` is a name and a DuckDB type, a `Schema` a tuple of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

Family: TypeAlias = Literal["number", "boolean", "text", "time", "binary", "nested", "other"]

_INTEGERS = frozenset(
    ["TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"]
)
_FAMILIES: dict[str, Family] = {
    **{name: "number" for name in _INTEGERS},
    "FLOAT": "number",
    "DOUBLE": "number",
    "BOOLEAN": "boolean",
    "VARCHAR": "text",
    "UUID": "text",
    "JSON": "text",
    "DATE": "time",
    "TIME": "time",
    "TIMESTAMP": "time",
    "TIMESTAMP_S": "time",
    "TIMESTAMP_MS": "time",
    "TIMESTAMP_NS": "time",
    "TIMESTAMP WITH TIME ZONE": "time",
    "TIME WITH TIME ZONE": "time",
    "BLOB": "binary",
    "BIT": "binary",
}


def family(type_name: str) -> Family:
    """The family of a DuckDB type: types of one family stand for each other without a cast."""
    name = type_name.strip().upper()
    if name.endswith("]") or name.startswith(("STRUCT", "TUPLE", "MAP", "UNION", "LIST")):
        return "nested"
    if name.startswith(("DECIMAL", "NUMERIC")):
        return "number"
    if name.startswith("ENUM"):
        return "text"
    return _FAMILIES.get(name, "other")


def is_integer(type_name: str) -> bool:
    """Whether a DuckDB type holds whole numbers only."""
    return type_name.strip().upper() in _INTEGERS


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name as written and its DuckDB type as DuckDB spells it (`DECIMAL(18,3)`)."""

    name: str
    type: str

    @property
    def family(self) -> Family:
        """The family of the column's type."""
        return family(self.type)


class Schema(tuple[Column, ...]):
    """Columns in order. Names are looked up without regard to case, as in SQL."""

    __slots__ = ()

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> Schema:
        """From `(name, type)` pairs."""
        return cls(Column(name, type_name) for name, type_name in pairs)

    @property
    def names(self) -> list[str]:
        """The columns' names, in order."""
        return [column.name for column in self]

    def find(self, name: str) -> Column | None:
        """The column of that name, or None."""
        folded = name.casefold()
        for column in self:
            if column.name.casefold() == folded:
                return column
        return None

    def without(self, *names: str) -> Schema:
        """The columns that have none of these names."""
        folded = {name.casefold() for name in names}
        return Schema(column for column in self if column.name.casefold() not in folded)

    def pairs(self) -> Iterator[tuple[str, str]]:
        """`(name, type)` pairs, as JSON can hold them."""
        return ((column.name, column.type) for column in self)
