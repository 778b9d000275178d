"""Owns how loose values become typed columns, JSON documents and forms among them, and how many there may be."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any

from mindsql.errors import TooLargeError
from mindsql.server.http.faults import RequestError

if TYPE_CHECKING:
    import pyarrow as pa

_NUMBERS = frozenset({int, float})
_NESTED = frozenset({list, dict})


@dataclass(frozen=True)
class BodyLimits:
    """What one body may hold.

    Attributes:
        bytes: As it comes.
        unpacked_bytes: After what is packed in it (XLSX, Parquet) is unpacked.
        rows, columns, cells: Of the table in it.
        depth: How deep lists and objects within a cell may nest.
    """

    bytes: int = 100 << 20
    unpacked_bytes: int = 400 << 20
    rows: int = 1_000_000
    columns: int = 2_000
    cells: int = 20_000_000
    depth: int = 16

    @classmethod
    def of(cls, bytes: int) -> BodyLimits:
        """Where a body may have so many bytes: a server that takes small bodies unpacks small ones."""
        return cls(bytes=bytes, unpacked_bytes=min(cls.unpacked_bytes, 20 * bytes))

    def too_many_rows(self) -> TooLargeError:
        """The error for more than `rows`."""
        return TooLargeError(f"the body has more than {self.rows} rows", hint="send it in parts")

    def too_many_columns(self) -> TooLargeError:
        """The error for more than `columns`."""
        return TooLargeError(f"the body has more than {self.columns} columns")

    def too_much(self) -> TooLargeError:
        """The error for more than `unpacked_bytes`."""
        return TooLargeError(
            f"the body unpacks to more than {self.unpacked_bytes} bytes", hint="send it in parts"
        )

    def too_deep(self) -> TooLargeError:
        """The error for more than `depth`."""
        return TooLargeError(f"the body nests deeper than {self.depth} levels")

    def check(self, rows: int, columns: int) -> None:
        """Raise TooLargeError for a table that is too large."""
        if rows > self.rows:
            raise self.too_many_rows()
        if columns > self.columns:
            raise self.too_many_columns()
        if rows * columns > self.cells:
            raise TooLargeError(f"the body has more than {self.cells} cells", hint="send it in parts")


# JSON ---------------------------------------------------------------------------------------------------------

_CONSTANTS: dict[str, float | None] = {"NaN": None, "Infinity": float("inf"), "-Infinity": float("-inf")}
_DECODER = json.JSONDecoder(parse_constant=_CONSTANTS.__getitem__)
"""Python writes NaN for a missing number, and so it is read."""


def documents(text: str, limits: BodyLimits) -> list[Any]:
    """The JSON values in a text, one or more. Raises RequestError with the place."""
    found, at, end = [], _blank(text, 0), len(text)
    while at < end:
        try:
            value, at = _DECODER.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise RequestError(
                f"no JSON at line {error.lineno}, column {error.colno}: {error.msg}"
            ) from error
        except RecursionError as error:
            raise limits.too_deep() from error
        except ValueError as error:  # a number of too many digits
            raise RequestError(f"no JSON: {str(error).partition(';')[0]}") from error
        found.append(value)
        at = _blank(text, at)
    return found


def _blank(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def from_json(document: Any, limits: BodyLimits) -> pa.Table:
    """One JSON value as rows: a list of objects, an object of lists, an object that is one row.

    What pandas' `to_json` writes is read too: objects of objects, whose inner keys are the rows. `{"data": …}` stands
    for what is in it.
    """
    if isinstance(document, dict) and list(document) == ["data"]:
        inner = document["data"]
        if isinstance(inner, dict) or (
            isinstance(inner, list) and all(isinstance(row, dict) for row in inner)
        ):
            document = inner
    if isinstance(document, list):
        return from_records(document, limits)
    if not isinstance(document, dict):
        raise RequestError("the JSON is no rows", hint='send [{"column": value, …}, …]')
    cells = list(document.values())
    if cells and all(isinstance(value, list) for value in cells):
        return _from_lists(document, limits)
    if cells and all(isinstance(value, dict) for value in cells):
        keys = list(cells[0])
        for name, column in document.items():
            if list(column) != keys:
                raise RequestError(f'the column "{name}" has other rows than the first column')
        return _from_lists({name: list(column.values()) for name, column in document.items()}, limits)
    return from_records([document], limits)


def from_records(records: Sequence[Any], limits: BodyLimits) -> pa.Table:
    """Objects as rows. A key that a row lacks is NULL there."""
    found: dict[str, list[Any]] = {}
    if len(records) > limits.rows:
        raise limits.too_many_rows()
    for number, record in enumerate(records):
        if not isinstance(record, dict):
            raise RequestError(f"row {number + 1} is no object", hint='send [{"column": value, …}, …]')
        for name, value in record.items():
            column = found.get(name)
            if column is None:
                limits.check(len(records), len(found) + 1)
                column = found[name] = []
            if len(column) < number:
                column.extend([None] * (number - len(column)))
            column.append(value)
    for column in found.values():
        column.extend([None] * (len(records) - len(column)))
    return from_columns(list(found), list(found.values()), len(records), limits)


def from_pairs(pairs: Iterable[tuple[str, str]], limits: BodyLimits) -> pa.Table:
    """Names and values of a form, all text: a name that comes n times makes n rows."""
    found: dict[str, list[Any]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value or None)
    return _from_lists(found, limits)


def _from_lists(found: Mapping[str, list[Any]], limits: BodyLimits) -> pa.Table:
    lengths = {name: len(values) for name, values in found.items()}
    rows = max(lengths.values(), default=0)
    for name, length in lengths.items():
        if length != rows:
            most = next(other for other in lengths if lengths[other] == rows)
            raise RequestError(f'the column "{name}" has {length} values, and "{most}" has {rows}')
    return from_columns(list(found), list(found.values()), rows, limits)


# Columns ------------------------------------------------------------------------------------------------------


def from_columns(names: list[str], found: list[list[Any]], rows: int, limits: BodyLimits) -> pa.Table:
    """Columns of `rows` values each, in the order of their names."""
    import pyarrow as pa

    limits.check(rows, len(names))
    if rows and not names:
        raise RequestError("the rows have no columns")
    try:
        arrays = [array(name, values, limits) for name, values in zip(names, found, strict=True)]
        return checked(pa.Table.from_arrays(arrays, names=names), limits)
    except UnicodeEncodeError as error:
        raise RequestError("the name of a column is no text") from error


def array(name: str, values: list[Any], limits: BodyLimits) -> pa.Array:
    """Values as one column. Where texts and other values mix, as in a workbook, all are text.

    Raises:
        RequestError: Values that fit no column.
    """
    import pyarrow as pa

    kinds = set(map(type, values)) - {type(None)}
    if kinds & _NESTED:
        if kinds - _NESTED:
            at = next(number for number, value in enumerate(values, 1) if type(value) in _NESTED)
            raise RequestError(f'row {at}, column "{name}": a list or object among plain values')
        if any(_depth(value, limits.depth) > limits.depth for value in values if value is not None):
            raise limits.too_deep()
    elif kinds == _NUMBERS or (kinds == {int} and _is_wide(values)):
        values = [None if value is None else _float(name, value) for value in values]
    elif len(kinds) > 1:
        values = [None if value is None else _text(value) for value in values]
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
        raise RequestError(f'the column "{name}" cannot be read: {str(error)[:200]}') from error


def _is_wide(values: list[Any]) -> bool:
    return any(value is not None and not -(2**63) <= value < 2**63 for value in values)


def _float(name: str, value: float) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise RequestError(f'the column "{name}" has a number that is too large') from error


def _depth(value: Any, most: int) -> int:
    """How deep a cell nests, looked at no deeper than one beyond `most`."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    if inner is None:
        return 0
    return 1 if most <= 0 else 1 + max((_depth(item, most - 1) for item in inner), default=0)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, datetime | date | time) else str(value)


# Tables -------------------------------------------------------------------------------------------------------


def checked(table: pa.Table, limits: BodyLimits) -> pa.Table:
    """The table, if its names tell its columns apart and it is not too large. Raises RequestError, TooLargeError."""
    limits.check(table.num_rows, table.num_columns)
    seen: dict[str, str] = {}
    for name in table.column_names:
        if not name.strip():
            raise RequestError("a column has no name")
        if name.casefold() in seen:
            hint = f'there is "{seen[name.casefold()]}" already'
            raise RequestError(f'the column "{name}" comes twice', hint=hint)
        seen[name.casefold()] = name
    return table


def appended(tables: Sequence[pa.Table], limits: BodyLimits) -> pa.Table:
    """Tables of the same columns, one after the other."""
    import pyarrow as pa

    first = tables[0]
    for number, table in enumerate(tables[1:], 2):
        if table.column_names != first.column_names:
            raise RequestError(f"file {number} has other columns than the first")
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise RequestError(f"the files do not fit together: {error}") from error
    return checked(table, limits)
