"""Owns how values and sums are written in DuckDB's SQL, such that they read back the same."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from mindsql.schema import family, is_integer
from mindsql_engines.sklearn import columns


class NotTranslatable(Exception):
    """The model has no SQL form, or one that is not worth having."""


def number(value: float) -> str:
    """A DOUBLE. Without an exponent DuckDB would read a DECIMAL."""
    value = float(value)
    if not math.isfinite(value):
        return f"CAST('{value}' AS DOUBLE)"
    written = repr(value)
    if written.endswith(".0"):
        written = written[:-2]
    return written if "e" in written else f"{written}e0"


def minus(value: float) -> str:
    """The end of `x - value`, empty where there is nothing to subtract."""
    if value == 0:
        return ""
    return f" - {number(value)}" if value > 0 else f" + {number(-value)}"


def name(text: str) -> str:
    """A quoted identifier."""
    return '"' + _checked(text).replace('"', '""') + '"'


def quoted(text: str) -> str:
    """A string."""
    return "'" + _checked(text).replace("'", "''") + "'"


def _checked(text: str) -> str:
    if "\0" in text:
        raise NotTranslatable("a text holds the character U+0000")
    return text


def label(value: Any, duckdb_type: str) -> str:
    """A classifier's label in the target's type."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if family(duckdb_type) == "text" and not duckdb_type.upper().startswith("ENUM"):
        return quoted(str(value))
    if is_integer(duckdb_type) or pa.types.is_decimal(columns.arrow_type(duckdb_type)):
        return f"CAST('{value}' AS {duckdb_type})"
    if isinstance(value, float):
        return f"CAST({number(value)} AS {duckdb_type})"
    return f"CAST({quoted(str(value))} AS {duckdb_type})"


def total(terms: Sequence[str]) -> str:
    """A sum whose nesting grows with the logarithm of its length; the order of additions is not the given one."""
    if not terms:
        return "0e0"
    if len(terms) == 1:
        return terms[0]
    if len(terms) <= 4:
        return f"({' + '.join(terms)})"
    half = len(terms) // 2
    return f"({total(terms[:half])} + {total(terms[half:])})"


def items(values: Iterable[float]) -> str:
    """A constant list of DOUBLE."""
    return "[" + ", ".join(number(value) for value in values) + "]"
