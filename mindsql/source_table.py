"""Owns how DuckDB reads a source's table: as a pyarrow Dataset, which is told columns and filters each time it runs.

What DuckDB hands over as a filter it takes out of its own plan, so the whole filter is applied here again to what the
source gives. Filters are read by their public form, Substrait (https://substrait.io).
"""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.dataset

from mindsql import duckdb_errors
from mindsql.source import (
    BATCH_ROWS,
    AllOf,
    AnyOf,
    Comparison,
    Condition,
    IsNull,
    OneOf,
    Rows,
    Source,
    Top,
)

_OPERATORS: dict[str, Any] = {"equal": "=", "not_equal": "<>", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
_EPOCH = dt.datetime(1970, 1, 1)


class SourceTable(pyarrow.dataset.Dataset):  # type: ignore[misc]  # pyarrow has no types
    """A table of a source, as DuckDB reads it."""

    def __init__(
        self,
        source: Source,
        parts: tuple[str, ...],
        schema: pa.Schema,
        told: Callable[[str], None],
        top: Top | None = None,
    ) -> None:
        # The base class has a constructor of its own kind only, and is not used but for its name.
        self._told = told
        self._source = source
        self._parts = parts
        self._columns = schema
        self._top = top

    @property
    def schema(self) -> pa.Schema:
        """Its columns, which DuckDB asks for when it binds."""
        return self._columns

    def scanner(self, columns: Sequence[str] | None = None, filter: Any = None, **_: Any) -> _Scan:
        """What one run of a query reads of it."""
        names = list(columns) if columns is not None else self._columns.names
        return _Scan(self._source, self._parts, self._columns, names, filter, self._told, self._top)


class _Scan:
    """One run: the source is asked when the reader is made."""

    def __init__(
        self,
        source: Source,
        parts: tuple[str, ...],
        schema: pa.Schema,
        columns: list[str],
        condition: Any,
        told: Callable[[str], None],
        top: Top | None,
    ) -> None:
        self._told = told
        self._top = top
        self._source = source
        self._parts = parts
        self._schema = schema
        self._columns = columns
        self._filter = condition

    def to_reader(self) -> pa.RecordBatchReader:
        """The rows, read as they are asked for."""
        wanted = pa.schema([self._schema.field(name) for name in self._columns])
        return pa.RecordBatchReader.from_batches(wanted, self._batches(wanted))

    def _batches(self, wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
        with duckdb_errors.carried():
            read: list[str] = []
            if self._filter is None:
                count = self._source.count(self._parts) if not self._columns else None
                if count is not None:
                    self._told(f"{self._source.name}: count(*)")
                    yield from counted(count)
                    return
                rows = self._first() or self._source.scan(self._parts, self._columns, ())
            else:
                where, read = conditions(self._filter, self._schema)
                rows = self._source.scan(self._parts, list(dict.fromkeys([*self._columns, *read])), where)
            again = f"  (filtered again by {', '.join(read)})" if read else ""
            self._told(f"{self._source.name}: {rows.text or 'its rows'}{again}")
            yield from filtered(rows, self._filter, wanted)


    def _first(self) -> Rows | None:
        """The rows that a query with ORDER BY and LIMIT wants."""
        if self._top is None:
            return None
        wanted = self._top.column.casefold()
        column = next((name for name in self._schema.names if name.casefold() == wanted), None)
        if column is None:
            return None
        return self._source.top(self._parts, self._columns, replace(self._top, column=column))


def counted(rows: int) -> Iterator[pa.RecordBatch]:
    """So many rows without columns."""
    for start in range(0, rows, BATCH_ROWS):
        yield empty(min(BATCH_ROWS, rows - start))


def empty(rows: int) -> pa.RecordBatch:
    """A batch of so many rows without columns."""
    return pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))


def filtered(rows: Rows, condition: Any, wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows for which a filter holds, with the wanted columns."""
    for batch in closing(rows):
        for kept in [batch] if condition is None else _plain(batch).filter(condition).to_batches():
            if kept.num_rows:
                yield _shaped(kept, wanted)


def closing(rows: Rows) -> Iterator[pa.RecordBatch]:
    """The batches; who stops reading them ends the query that makes them."""
    try:
        yield from rows.batches
    finally:
        close = getattr(rows.batches, "close", None)
        if close is not None:
            close()


def _plain(batch: pa.RecordBatch) -> pa.Table:
    """As a table, since a batch may not be left without rows in every pyarrow; filters know no extension types."""
    arrays = [a.storage if isinstance(a, pa.ExtensionArray) else a for a in batch.columns]
    return pa.Table.from_arrays(arrays, names=batch.schema.names)


def _shaped(batch: pa.RecordBatch, wanted: pa.Schema) -> pa.RecordBatch:
    arrays = []
    for field in wanted:
        array = batch.column(field.name)
        if array.type != field.type:
            extension = isinstance(field.type, pa.BaseExtensionType)
            array = pa.ExtensionArray.from_storage(field.type, array) if extension else array.cast(field.type)
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, schema=wanted)


# Filters ----------------------------------------------------------------------------------------------------------


def conditions(expression: Any, schema: pa.Schema) -> tuple[list[Condition], list[str]]:
    """What of a filter a source can be told, as conditions that all hold, and the columns that the filter reads."""
    from pyarrow.substrait import serialize_expressions
    from substrait.proto import ExtendedExpression

    plain = pa.schema(
        [f.with_type(f.type.storage_type) if isinstance(f.type, pa.BaseExtensionType) else f for f in schema]
    )
    message = ExtendedExpression.FromString(bytes(serialize_expressions([expression], ["f"], plain)))
    reader = _Reader(message, schema.names)
    found = reader.condition(message.referred_expr[0].expression)
    parts = found.parts if isinstance(found, AllOf) else (found,) if found is not None else ()
    return list(parts), sorted(reader.read)


class _Reader:
    """Reads a Substrait expression. What it cannot tell is None, and left to whoever filters afterwards."""

    def __init__(self, message: Any, names: list[str]) -> None:
        self._functions = {e.extension_function.function_anchor: e.extension_function.name for e in message.extensions}
        self._names = names
        self.read: set[str] = set()

    def condition(self, node: Any) -> Condition | None:
        kind = node.WhichOneof("rex_type")
        if kind == "scalar_function":
            call = node.scalar_function
            name = self._functions[call.function_reference].partition(":")[0]
            return self._call(name, [argument.value for argument in call.arguments])
        if kind == "if_then":  # DuckDB's IN: if the column is not NULL, then it is one of these
            self._walk(node.if_then.ifs[0])
            return self._one_of(node.if_then.ifs[0].then)
        if kind == "singular_or_list":
            return self._one_of(node)
        self._walk(node)
        return None

    def _call(self, name: str, arguments: list[Any]) -> Condition | None:
        if name in ("and", "or"):
            parts = [self.condition(argument) for argument in arguments]
            known = tuple(part for part in parts if part is not None)
            if name == "or":
                return AnyOf(known) if len(known) == len(parts) else None
            flat: list[Condition] = []
            for part in known:
                flat += part.parts if isinstance(part, AllOf) else (part,)
            return AllOf(tuple(flat)) if flat else None
        if name in ("is_null", "is_not_null"):
            column = self._column(arguments[0])
            return IsNull(column, name == "is_not_null") if column is not None else None
        if name in _OPERATORS:
            column, value = self._column(arguments[0]), _value(arguments[1])
            if column is not None and value is not None:
                return Comparison(column, _OPERATORS[name], value)
        for argument in arguments:
            self._walk(argument)
        return None

    def _one_of(self, node: Any) -> Condition | None:
        if node.WhichOneof("rex_type") != "singular_or_list":
            self._walk(node)
            return None
        column = self._column(node.singular_or_list.value)
        values = tuple(_value(option) for option in node.singular_or_list.options)
        return OneOf(column, values) if column is not None and None not in values else None

    def _column(self, node: Any) -> str | None:
        """The column that a reference names; None for a field of a struct, and for anything else."""
        if node.WhichOneof("rex_type") != "selection":
            self._walk(node)
            return None
        field = node.selection.direct_reference.struct_field
        name = self._names[field.field]
        self.read.add(name)
        return None if field.HasField("child") else name

    def _walk(self, message: Any) -> None:
        """Note the columns that a part reads which is not understood."""
        if message.DESCRIPTOR.name == "FieldReference":
            self.read.add(self._names[message.direct_reference.struct_field.field])
            return
        for field, value in message.ListFields():
            if field.message_type is not None:
                for item in [value] if hasattr(value, "ListFields") else value:
                    self._walk(item)


def _value(node: Any) -> Any:
    """A literal as Python's value; None for what is none, and for NULL."""
    from google.protobuf.wrappers_pb2 import UInt64Value

    if node.WhichOneof("rex_type") != "literal":
        return None
    kind = node.literal.WhichOneof("literal_type")
    if kind is None or kind == "null":
        return None
    value = getattr(node.literal, kind)
    if kind in ("boolean", "i8", "i16", "i32", "i64", "fp64", "string", "binary"):
        return value
    if kind == "user_defined" and value.value.type_url.endswith(f"/{UInt64Value.DESCRIPTOR.full_name}"):
        # Substrait has no whole numbers without a sign, and Arrow writes them so.
        return UInt64Value.FromString(value.value.value).value
    if kind == "decimal":
        number = int.from_bytes(value.value, "little", signed=True)
        with decimal.localcontext(prec=60):
            return decimal.Decimal(number).scaleb(-value.scale)
    try:
        if kind == "date":
            return (_EPOCH + dt.timedelta(days=value)).date()
        if kind in ("timestamp", "timestamp_tz"):
            moment = _EPOCH + dt.timedelta(microseconds=value)
            return moment if kind == "timestamp" else moment.replace(tzinfo=dt.UTC)
    except OverflowError:  # a year that Python does not have
        return None
    return None
