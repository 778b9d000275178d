"""Owns how conditions become SQL: by hand, for the constants and operators that a dialect compares as DuckDB does.

Whatever is not written here is left out, and done afterwards by whoever asked. So the text may let through more rows
than the conditions, and never fewer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from mindsql.source import AnyOf, Comparison, Condition, IsNull, OneOf, Top

Literal = Callable[[Any, str], str | None]
"""A constant and the operator that it stands beside, to the constant's SQL; None where the two do not go over."""


def quoted(name: str) -> str:
    """A name in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def is_ordered(kind: pa.DataType) -> bool:
    """Whether values of an Arrow type have one order everywhere: numbers and times."""
    of = pa.types
    return bool(of.is_integer(kind) or of.is_decimal(kind) or of.is_floating(kind) or of.is_temporal(kind))


def first_rows(begin: str, top: Top, expression: Callable[[str], str]) -> str:
    """A SELECT of the first rows by a column, and of as many that are NULL in it.

    Args:
        begin: The SELECT up to its FROM.
        top: What is wanted.
        expression: What a column is ordered by.
    """
    column, order = expression(top.column), "DESC" if top.descending else "ASC"
    known = f"({begin} WHERE {column} IS NOT NULL ORDER BY {column} {order} LIMIT {top.limit})"
    return f"{known} UNION ALL ({begin} WHERE {column} IS NULL LIMIT {top.limit})"


@dataclass(frozen=True)
class Dialect:
    """What a dialect can be told of the columns of one table.

    Attributes:
        literals: How a constant is written beside each column.
        expressions: What stands for a column whose own name would compare otherwise.
        made_null: The columns some of whose values are read as NULL, so that IS NULL cannot be told there.
        quote: How a name is written.
    """

    literals: Mapping[str, Literal]
    expressions: Mapping[str, str] = field(default_factory=dict)
    made_null: frozenset[str] = frozenset()
    quote: Callable[[str], str] = quoted

    def text(self, conditions: Sequence[Condition]) -> str:
        """The conditions that can be told, joined by AND; an empty text when none can."""
        return " AND ".join(text for text in map(self._one, conditions) if text is not None)

    def _one(self, condition: Condition) -> str | None:
        if isinstance(condition, Comparison):
            value = self._literal(condition.column, condition.value, condition.operator)
            return None if value is None else f"{self._column(condition.column)} {condition.operator} {value}"
        if isinstance(condition, OneOf):
            values = [self._literal(condition.column, value, "=") for value in condition.values]
            known = [value for value in values if value is not None]
            if len(known) < len(values) or not known:
                return None
            return f"{self._column(condition.column)} IN ({', '.join(known)})"
        if isinstance(condition, IsNull):
            if condition.negated:
                return f"{self.quote(condition.column)} IS NOT NULL"
            return None if condition.column in self.made_null else f"{self.quote(condition.column)} IS NULL"
        parts = [self._one(part) for part in condition.parts]
        told = [part for part in parts if part is not None]
        if isinstance(condition, AnyOf):
            return f"({' OR '.join(told)})" if len(told) == len(parts) else None
        return f"({' AND '.join(told)})" if told else None

    def _literal(self, column: str, value: Any, operator: str) -> str | None:
        literal = self.literals.get(column)
        return None if literal is None else literal(value, operator)

    def _column(self, name: str) -> str:
        return self.expressions.get(name, self.quote(name))
