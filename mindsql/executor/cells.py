"""Owns constants and parameters as Arrow values of the types that inputs have."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from mindsql import database
from mindsql.database import DuckDBConnection
from mindsql.errors import StatementError
from mindsql.planner.typing import fits
from mindsql.schema import family, is_integer

if TYPE_CHECKING:
    import pyarrow as pa


def cell(value: Any, type_name: str | None, raw: Callable[[], DuckDBConnection], parameter: bool) -> pa.Scalar:
    """A value as an Arrow scalar.

    Args:
        value: As Python has it.
        type_name: The DuckDB type it is to have; None leaves it to the value.
        raw: A connection for casts that only DuckDB does.
        parameter: Whether it came from outside: a number that its type cannot hold then stays as it is.

    Raises:
        StatementError: No column can hold it.
        MindSQLError: It cannot be cast.
    """
    import pyarrow as pa

    if isinstance(value, uuid.UUID):
        value = str(value)
    try:
        if value is None:
            return pa.scalar(None, database.arrow_type(raw(), type_name)) if type_name is not None else pa.scalar(None)
        if type_name is None or (parameter and _keeps(value, type_name)):
            return _untyped(value)
        kind = type(value)
        if kind is int and is_integer(type_name):
            return pa.scalar(value, database.arrow_type(raw(), type_name))
        if kind in (int, float, Decimal) and type_name == "DOUBLE":
            return pa.scalar(float(value), pa.float64())
        if (kind is bool and type_name == "BOOLEAN") or (kind is str and type_name in ("VARCHAR", "TEXT")):
            return pa.scalar(value)
        if (kind is dt.date and type_name == "DATE") or (
            kind is dt.datetime and type_name == "TIMESTAMP" and value.tzinfo is None
        ):
            return pa.scalar(value, pa.date32() if type_name == "DATE" else pa.timestamp("us"))
    except (pa.ArrowException, OverflowError, TypeError) as error:
        raise StatementError(f"a parameter has a type that no column can hold: {error}") from error
    sql = f"SELECT CAST($value AS {type_name}) AS v"
    return database.table(raw(), sql, {"value": value}).column(0)[0]


def _keeps(value: Any, type_name: str) -> bool:
    """Whether a number stays what it is, as a column of its type could not hold it."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return False
    if is_integer(type_name):
        return not isinstance(value, int) or not fits(value, type_name)
    return family(type_name) == "number" and type_name != "DOUBLE"


def _untyped(value: Any) -> pa.Scalar:
    import pyarrow as pa

    if type(value) is int:
        if -(2**31) <= value < 2**31:  # an INTEGER in DuckDB, too
            return pa.scalar(value, pa.int32())
        if -(2**63) <= value < 2**63:
            return pa.scalar(value, pa.int64())
        # Beyond 64 bits, DuckDB hands out whole numbers as floats, too.
        return pa.scalar(value, pa.uint64()) if 0 <= value < 2**64 else pa.scalar(float(value))
    return value if isinstance(value, pa.Scalar) else pa.scalar(value)
