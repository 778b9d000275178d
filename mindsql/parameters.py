"""Owns what a caller gives for a statement's parameters: values of any library as Python's own, and tables."""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from mindsql.errors import StatementError

Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any] | None

_PLAIN = frozenset(
    {
        bool,
        int,
        float,
        str,
        bytes,
        bytearray,
        type(None),
        datetime.date,
        datetime.datetime,
        datetime.time,
        datetime.timedelta,
        decimal.Decimal,
        uuid.UUID,
    }
)
"""Types whose values mean the same to DuckDB as to us."""
_ROW = ("DataFrame", "LazyFrame", "Table", "RecordBatch")


def are_plain(parameters: Any) -> bool:
    """Whether DuckDB reads parameters as they are. This is asked of every statement that has some."""
    kind = type(parameters)
    if kind is list or kind is tuple:
        return _PLAIN.issuperset(map(type, parameters))
    return kind is dict and _PLAIN.issuperset(map(type, parameters.values()))


def given(parameters: Any) -> Parameters:
    """The parameters of a statement, each a value that DuckDB reads.

    Raises:
        StatementError: It is neither a sequence nor a mapping.
    """
    if isinstance(parameters, Mapping):
        return {name: plain(value) for name, value in parameters.items()}
    if is_table(parameters) or isinstance(parameters, str | bytes) or not hasattr(parameters, "__iter__"):
        raise StatementError(
            f"parameters are a sequence for ? or a mapping for $name, not a value of type {type(parameters).__name__}",
            hint="a single value is given as [value]; to run a statement for each row, executemany(sql, rows)",
        )
    return [plain(each) for each in parameters]


def sets(parameters: Any) -> Any:
    """The sets of parameters of `executemany`: those of a DataFrame or an Arrow table are its rows.

    Raises:
        StatementError: It cannot be iterated.
    """
    kind = type(parameters).__name__
    if kind == "LazyFrame":
        parameters = parameters.collect()
    if hasattr(parameters, "itertuples"):  # pandas
        return parameters.itertuples(index=False, name=None)
    if hasattr(parameters, "iter_rows"):  # polars
        return parameters.iter_rows()
    if is_table(parameters) and hasattr(parameters, "to_pylist"):  # Arrow
        return (list(row.values()) for row in parameters.to_pylist())
    if isinstance(parameters, str | bytes | Mapping) or not hasattr(parameters, "__iter__"):
        raise StatementError(
            f"executemany takes a set of parameters for each run, not a value of type {kind}",
            hint="give a list of rows: [[1, 'a'], [2, 'b']]",
        )
    return parameters


def named(parameters: Parameters) -> Mapping[str, Any]:
    """Parameters by name; positional ones are `p1`, `p2`, …"""
    if parameters is None:
        return {}
    if isinstance(parameters, Mapping):
        return {(f"p{key}" if str(key).isdigit() else str(key)): value for key, value in parameters.items()}
    return {f"p{number}": value for number, value in enumerate(parameters, 1)}


def plain(value: Any) -> Any:
    """A parameter as a value of Python's own: numbers of numpy are numbers, NaT and NA are NULL, and what holds values
    in a row, as a set, an array or a Series does, is a list. A table stays as it is."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    module = kind.__module__.split(".")[0]
    if module == "numpy":
        if value.dtype.str.endswith(("[ns]", "[ps]", "[fs]", "[as]")):
            value = value.astype(f"{value.dtype.kind}8[us]")  # of nanoseconds it would become a whole number
        return _listed(value.tolist()) if value.ndim else value.item()
    if module == "pandas" and kind.__name__ in ("NaTType", "NAType"):
        return None
    if is_table(value):
        return value
    if kind in (list, tuple, set, frozenset):
        return _listed(value)
    if kind.__name__ == "Series" or (module == "pandas" and kind.__name__.endswith("Index")):
        return _listed(value.to_list())
    if module == "pyarrow":
        return value.as_py() if hasattr(value, "as_py") else _listed(value.to_pylist())
    return value


def _listed(values: Any) -> list[Any]:
    return [plain(each) for each in values]


def is_table(value: Any) -> bool:
    """Whether a value is a table, of pandas, polars, Arrow or DuckDB: it can stand in FROM alone."""
    return type(value).__name__ in _ROW or type(value).__name__.endswith("RecordBatchReader")


def without_tables(text: str, parameters: Parameters) -> tuple[str, Parameters, dict[str, Any]]:
    """A statement with a name in place of each parameter that is a table, the others, and the tables by that name.

    Raises:
        StatementError: Such a parameter stands where a table cannot.
    """
    if parameters is None:
        return text, None, {}
    pairs = parameters.items() if isinstance(parameters, Mapping) else enumerate(parameters, 1)
    values = {str(name): value for name, value in pairs}
    tables = {f"${name}": value for name, value in values.items() if is_table(value)}
    if not tables:
        return text, parameters, {}
    import mindsql_grammar as grammar

    pieces, at = [], 0
    for name, start, end, before in grammar.parameters(text):
        table = f"${name}" in tables
        if table and before.upper() not in ("FROM", "JOIN", ",", "("):
            raise StatementError(
                f"the parameter {text[start:end]} is a table, and stands where a value does",
                hint="a table stands in FROM; for the values of one of its columns give the column",
                span=(start, end),
                text=text,
            )
        # Those that stay are named by their numbers: the ones before them may be gone.
        pieces += [text[at:start], f'"${name}"' if table else f"${name}"]
        at = end
    pieces.append(text[at:])
    return "".join(pieces), {name: value for name, value in values.items() if f"${name}" not in tables}, tables
