"""Owns which role each column plays: number, boolean, category, text, date, vector, or left out and why.

A column is left out only when nothing can be learnt from it. What merely looks like a key is kept, and said.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from mindsql.schema import family, is_integer
from mindsql_engines.sklearn import columns, spelling
from mindsql_engines.sklearn.spelling import Spelling

Role: TypeAlias = Literal["number", "boolean", "category", "text", "date", "vector", "left out"]

FEW_VALUES = 40
"""A text column with no more values is a category whatever the number of rows."""
MANY_VALUES = 250
"""A text column with no more values is a category when each comes `REPEATED` times on average."""
REPEATED = 5
IDENTIFIER_ROWS = 20
"""Fewer rows cannot show that a column identifies them."""

_EVERY_ROW = "a different text in every row"
_KEY_NAME = re.compile(r"(^|_)(id|uuid|guid|key|index|rownum|rowid)$|[a-z](Id|ID)$", re.IGNORECASE)


@dataclass(frozen=True)
class Feature:
    """A column of the training rows.

    Attributes:
        name, type: As in the training query, the type as DuckDB spells it.
        role: What it is used as.
        reason: Why it is left out, or not used as its type says.
        spelling: How its numbers or dates are written, when they are text.
    """

    name: str
    type: str
    role: Role
    reason: str = ""
    spelling: Spelling | None = None

    @property
    def used(self) -> bool:
        """Whether the model needs the column."""
        return self.role != "left out"


def choose(
    arrays: columns.Inputs, types: dict[str, str], wanted: list[str] | None, unwanted: Collection[str] = ()
) -> list[Feature]:
    """The role of every column.

    Args:
        arrays: The training rows.
        types: Their DuckDB types.
        wanted: Columns that the user listed, which are then kept if they can be; None for all.
        unwanted: Columns that the user excluded.
    """
    features = []
    for name in arrays:
        if name in unwanted:
            features.append(Feature(name, types[name], "left out", "excluded"))
            continue
        feature = _unsupported(name, types[name]) or _role(name, types[name], arrays)
        if wanted is not None and feature.reason == _EVERY_ROW:
            feature = replace(feature, role="text", reason="")
        features.append(feature)
    if not any(feature.used for feature in features):
        # Rather a weak column than no model at all.
        features = [replace(f, role="text", reason="") if f.reason == _EVERY_ROW else f for f in features]
    return features


def looks_like_key(name: str, duckdb_type: str, array: pa.Array) -> bool:
    """Whether a column of whole numbers is, by its name and its values, a key of the rows."""
    if not (is_integer(duckdb_type) and _KEY_NAME.search(name) and len(array) >= IDENTIFIER_ROWS):
        return False
    return bool(array.null_count == 0 and len(array.unique()) == len(array))


def unsupported(duckdb_type: str) -> str:
    """Why columns of a type cannot be features; empty when they can."""
    kind = family(duckdb_type)
    if columns.is_vector(duckdb_type):
        return ""
    if kind in ("nested", "binary", "other") or duckdb_type.upper() == "TIME WITH TIME ZONE":
        return f"type {duckdb_type} is not supported"
    return ""


def _unsupported(name: str, duckdb_type: str) -> Feature | None:
    reason = unsupported(duckdb_type)
    return Feature(name, duckdb_type, "left out", reason) if reason else None


def _role(name: str, duckdb_type: str, arrays: columns.Inputs) -> Feature:
    array = arrays[name]

    def out(reason: str) -> Feature:
        return Feature(name, duckdb_type, "left out", reason)

    kind = family(duckdb_type)
    if kind == "text":
        return _text_role(name, duckdb_type, array)
    if columns.is_vector(duckdb_type):
        if array.null_count == len(array):
            return out("all values are NULL")
        if not columns.width_of(array):
            return out("its lists are not all of one length")
        return Feature(name, duckdb_type, "vector")
    if kind == "time":
        micros, missing = columns.moments(array, name)
        present: Any = micros[~missing]
    else:
        present = arrays.numbers(name)
        if len(present) and np.isnan(present.min()):
            present = present[~np.isnan(present)]
    if not len(present):
        return out("all values are NULL")
    if present[0] == present[-1] and present.min() == present.max() and len(present) == len(array):
        return out("constant")
    if kind == "time":
        return Feature(name, duckdb_type, "date")
    if kind == "boolean":
        return Feature(name, duckdb_type, "boolean")
    key = f"looks like a key of the rows; exclude = ['{name}'] leaves it out"
    return Feature(name, duckdb_type, "number", key if looks_like_key(name, duckdb_type, array) else "")


def _text_role(name: str, duckdb_type: str, array: pa.Array) -> Feature:
    def found(role: Role, reason: str = "", spelt: Spelling | None = None) -> Feature:
        return Feature(name, duckdb_type, role, reason, spelt)

    encoded = columns.texts(array)
    if not pa.types.is_dictionary(encoded.type):
        encoded = encoded.dictionary_encode()
    present = encoded.drop_null()
    rows = len(present)
    values = present.indices.unique()
    distinct = len(values)
    if not rows:
        return found("left out", "all values are NULL")
    if distinct == 1 and rows == len(array):
        return found("left out", "constant")
    if duckdb_type.upper().startswith("ENUM"):
        return found("category")
    if duckdb_type.upper() != "UUID":
        used = present.dictionary.take(values.slice(0, spelling.LOOKED_AT)).to_pylist()
        spelt = spelling.recognise(used)
        if spelt is not None and spelt.kind == "date":
            return found("date", f"text that holds dates, read as {spelt.words}; any other text counts as NULL", spelt)
        if spelt is not None and (distinct > FEW_VALUES or not spelt.plain):
            how = f" {spelt.words}" if spelt.words else ""
            return found("number", f"text that holds numbers{how}; any other text counts as NULL", spelt)
    words = _words(present.dictionary)
    if distinct == rows >= IDENTIFIER_ROWS and (words < 1.5 or duckdb_type.upper() == "UUID"):
        return found("left out", _EVERY_ROW)
    if distinct <= FEW_VALUES or (distinct <= MANY_VALUES and rows >= REPEATED * distinct):
        return found("category")
    return found("text")


def _words(values: pa.Array) -> float:
    sample: list[Any] = values.slice(0, 1000).to_pylist()
    return sum(len(str(value).split()) for value in sample if value is not None) / max(1, len(sample))
