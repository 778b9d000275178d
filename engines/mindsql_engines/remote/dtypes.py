"""Owns `dtype_dict`: the types it knows, the DuckDB types they stand for, and which values fit them."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mindsql.engine import Option, row_number
from mindsql.errors import DataError, StatementError, UnknownNameError
from mindsql.schema import Column, Schema, family, is_integer

DTYPES: dict[str, str] = {
    "integer": "BIGINT",
    "float": "DOUBLE",
    "categorical": "VARCHAR",
    "text": "VARCHAR",
    "date": "DATE",
    "datetime": "TIMESTAMP",
    "boolean": "BOOLEAN",
    "array": "DOUBLE[]",
}
_OTHER_NAMES = {
    "int": "integer", "long": "integer", "bigint": "integer", "double": "float", "number": "float",
    "numeric": "float", "string": "text", "varchar": "text", "short_text": "text", "rich_text": "text",
    "bool": "boolean", "binary": "boolean", "timestamp": "datetime", "category": "categorical", "tags": "array",
}  # fmt: skip

DTYPE_DICT = Option(
    "dtype_dict",
    "object",
    aliases=("data_dtype",),
    description='the columns of the model and their types: {"rooms": "integer", "place": "categorical"}',
)
OUTPUTS = Option(
    "outputs",
    "object",
    description='what the answer holds beside the prediction, and its types: {"confidence": "float"}',
)


def read(given: Mapping[str, Any] | None, what: str = "dtype_dict") -> dict[str, str]:
    """A mapping of columns to types, types by their first name. Raises StatementError."""
    found: dict[str, str] = {}
    for name, dtype in (given or {}).items():
        word = str(dtype).casefold()
        word = _OTHER_NAMES.get(word, word)
        if word not in DTYPES:
            raise UnknownNameError.of(f'type of "{name}" in {what}:', str(dtype), DTYPES)
        if any(name.casefold() == other.casefold() for other in found):
            raise StatementError(f'{what} names "{name}" twice')
        found[name] = word
    return found


def of_duckdb(type_name: str) -> str:
    """The type of dtype_dict that a DuckDB type stands for."""
    if is_integer(type_name):
        return "integer"
    name = type_name.strip().upper()
    kinds = {"number": "float", "boolean": "boolean", "text": "text", "nested": "array"}
    if name == "DATE":
        return "date"
    return "datetime" if name.startswith("TIMESTAMP") else kinds.get(family(type_name), "categorical")


def schema(dtypes: Mapping[str, str], rows: Schema) -> Schema:
    """The columns as DuckDB types: a category keeps the type it has in the rows, if there are rows."""
    columns = []
    for name, dtype in dtypes.items():
        known = rows.find(name)
        columns.append(
            Column(name, known.type if known is not None and dtype == "categorical" else DTYPES[dtype])
        )
    return Schema(columns)


def sendable(values: Sequence[Any], dtype: str, name: str, first: int = 0) -> list[Any]:
    """Values as JSON holds them. NULL, NaN and infinity are null.

    Args:
        values: Python values of a column.
        dtype: Its type, one of `DTYPES`.
        name: Its name, for the error.
        first: The row of the first value, for the error.

    Raises:
        DataError: A value does not fit; it names row and column.
    """
    fit = FITS[dtype]
    found: list[Any] = []
    for value in values:
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            found.append(None)
            continue
        try:
            found.append(fit(value))
        except (ValueError, TypeError, OverflowError) as error:
            raise DataError(
                f'row {row_number(first + len(found))}, column "{name}": {plain(value)!r:.80} is no {dtype}',
                hint=f'CAST it in the query, or give "{name}" another type in dtype_dict',
            ) from error
    return found


def _integer(value: Any) -> int:
    if isinstance(value, bool):
        raise ValueError
    number = int(value)
    if not isinstance(value, str) and number != value:
        raise ValueError
    return number


def _float(value: Any) -> float | None:
    if isinstance(value, bool):
        raise ValueError
    number = float(value)
    return number if math.isfinite(number) else None


def _text(value: Any) -> str:
    if isinstance(value, (bytes, list, dict)):
        raise ValueError
    return value if isinstance(value, str) else str(plain(value))


def _boolean(value: Any) -> bool:
    if isinstance(value, str):
        value = {"true": 1, "false": 0, "1": 1, "0": 0}.get(value.casefold())
    if value not in (0, 1):
        raise ValueError
    return bool(value)


def _date(value: Any) -> str:
    if isinstance(value, str):
        value = dt.datetime.fromisoformat(value)
    if isinstance(value, dt.datetime):
        if value.time() != dt.time():
            raise ValueError
        return value.date().isoformat()
    if not isinstance(value, dt.date):
        raise ValueError
    return value.isoformat()


def _datetime(value: Any) -> str:
    if isinstance(value, str):
        value = dt.datetime.fromisoformat(value)
    if isinstance(value, dt.datetime):
        return value.isoformat()
    if isinstance(value, dt.date):
        return dt.datetime(value.year, value.month, value.day).isoformat()
    raise ValueError


def _array(value: Any) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise ValueError
    return [plain(item) for item in value]


def plain(value: Any) -> Any:
    """A value of any kind as JSON holds it."""
    import base64
    from decimal import Decimal

    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value)


FITS: dict[str, Callable[[Any], Any]] = {
    "integer": _integer,
    "float": _float,
    "categorical": plain,
    "text": _text,
    "date": _date,
    "datetime": _datetime,
    "boolean": _boolean,
    "array": _array,
}
"""Type → what makes a value of it as JSON holds it, or raises ValueError, TypeError or OverflowError."""
