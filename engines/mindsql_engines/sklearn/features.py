"""Owns which role each column plays: number, boolean, category, text, date, or left out and why."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from mindsql.schema import family, is_integer
from mindsql_engines.sklearn import columns

Role: TypeAlias = Literal["number", "boolean", "category", "text", "date", "left out"]

FEW_VALUES = 40
"""A text column with no more values is a category whatever the number of rows."""
MANY_VALUES = 250
"""A text column with no more values is a category when each comes `REPEATED` times on average."""
REPEATED = 20
MOSTLY = 0.95
"""A text column in which this share of rows are numbers, of more than a few values, is one of numbers."""
IDENTIFIER_ROWS = 20
"""Fewer rows cannot show that a column identifies them."""

_KEY_NAME = re.compile(r"(^|_)(id|uuid|guid|key|index|rownum|rowid)$|[a-z](Id|ID)$", re.IGNORECASE)


@dataclass(frozen=True)
class Feature:
    """A column of the training rows.

    Attributes:
        name, type: As in the training query, the type as DuckDB spells it.
        role: What it is used as.
        reason: Why it is left out, or not used as its type says.
    """

    name: str
    type: str
    role: Role
    reason: str = ""

    @property
    def used(self) -> bool:
        """Whether the model needs the column."""
        return self.role != "left out"


def choose(arrays: dict[str, pa.Array], types: dict[str, str], wanted: list[str] | None) -> list[Feature]:
    """The role of every column.

    Args:
        arrays: The training rows by column name.
        types: Their DuckDB types.
        wanted: Columns that the user listed, which are then kept if they can be; None for all.
    """
    features = []
    for name, array in arrays.items():
        feature = _unsupported(name, types[name]) or _role(name, types[name], array)
        if wanted is not None and feature.reason.startswith("identifier"):
            feature = replace(feature, role=_kept_role(feature.type), reason="")
        features.append(feature)
    if not any(feature.used for feature in features):
        # Rather a weak column than no model at all.
        features = [
            replace(f, role=_kept_role(f.type), reason="") if f.reason.startswith("identifier") else f
            for f in features
        ]
    return features


def unsupported(duckdb_type: str) -> str:
    """Why columns of a type cannot be features; empty when they can."""
    kind = family(duckdb_type)
    if kind in ("nested", "binary", "other") or duckdb_type.upper() == "TIME WITH TIME ZONE":
        return f"type {duckdb_type} is not supported"
    return ""


def _unsupported(name: str, duckdb_type: str) -> Feature | None:
    reason = unsupported(duckdb_type)
    return Feature(name, duckdb_type, "left out", reason) if reason else None


def _kept_role(duckdb_type: str) -> Role:
    return "number" if family(duckdb_type) == "number" else "text"


def _role(name: str, duckdb_type: str, array: pa.Array) -> Feature:
    def out(reason: str) -> Feature:
        return Feature(name, duckdb_type, "left out", reason)

    kind = family(duckdb_type)
    if kind == "text":
        return _text_role(name, duckdb_type, array)
    if kind == "time":
        micros, missing = columns.moments(array, name)
        present: Any = micros[~missing]
    else:
        values = columns.numbers(array, name)
        missing = np.isnan(values)
        present = values[~missing] if missing.any() else values
    if not len(present):
        return out("all values are NULL")
    low, high = present.min(), present.max()
    if low == high and len(present) == len(array):
        return out("constant")
    if kind == "time":
        return Feature(name, duckdb_type, "date")
    if kind == "boolean":
        return Feature(name, duckdb_type, "boolean")
    if is_integer(duckdb_type) and len(present) == len(array) >= IDENTIFIER_ROWS:
        gapless = high - low + 1 == len(array)
        if (gapless or _KEY_NAME.search(name)) and len(np.unique(present)) == len(array):
            return out("identifier-like: a different whole number in every row")
    return Feature(name, duckdb_type, "number")


def _text_role(name: str, duckdb_type: str, array: pa.Array) -> Feature:
    def found(role: Role, reason: str = "") -> Feature:
        return Feature(name, duckdb_type, role, reason)

    encoded = columns.texts(array)
    if not pa.types.is_dictionary(encoded.type):
        encoded = encoded.dictionary_encode()
    present = encoded.drop_null()
    rows = len(present)
    distinct = len(present.indices.unique())
    if not rows:
        return found("left out", "all values are NULL")
    if distinct == 1 and rows == len(array):
        return found("left out", "constant")
    if duckdb_type.upper().startswith("ENUM"):
        return found("category")
    if distinct > FEW_VALUES and np.isfinite(columns.parsed(present)).mean() >= MOSTLY:
        return found("number", "text that holds numbers; any other text counts as NULL")
    words = _words(present.dictionary)
    if distinct == rows >= IDENTIFIER_ROWS and (words < 1.5 or duckdb_type.upper() == "UUID"):
        return found("left out", "identifier-like: a different text in every row")
    if distinct <= FEW_VALUES or (distinct <= MANY_VALUES and rows >= REPEATED * distinct):
        return found("category")
    return found("text")


def _words(values: pa.Array) -> float:
    sample: list[Any] = values.slice(0, 1000).to_pylist()
    return sum(len(str(value).split()) for value in sample if value is not None) / max(1, len(sample))
