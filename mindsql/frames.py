"""Owns how rows are handed to an engine and its answers taken back: as Arrow, or across to pandas and back."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


_SEVERAL = 2
"""A text column is kept as a dictionary while its texts come so many times on average."""


class TrainingRows:
    """The rows that an engine which `takes_arrow` is trained on, column by column.

    Attributes:
        names: The columns, as the training query names them, those that were taken among them.
        count: How many rows there are.
    """

    def __init__(self, table: pa.Table) -> None:
        self.names: list[str] = table.column_names
        self.count: int = table.num_rows
        self._columns = dict(zip(self.names, table.columns, strict=True))

    def take(self, name: str) -> pa.Array:
        """A column, in the Arrow type that DuckDB gives; a text column may be a dictionary. It can be taken once:
        nobody else keeps it in memory."""
        array: pa.Array = self._columns.pop(name).combine_chunks()
        return array


def compact(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    """Batches as a table that takes little memory.

    Texts that repeat become dictionaries. The rest is copied, because DuckDB's memory of a batch is free only when
    none of its columns is used any more.
    """
    import pyarrow as pa

    plain = {index for index, field in enumerate(schema) if not pa.types.is_string(field.type)}
    parts: list[list[pa.Array]] = [[] for _ in schema]
    for batch in batches:
        for index, array in enumerate(batch.columns):
            if index not in plain:
                encoded = array.dictionary_encode()
                if _SEVERAL * len(encoded.dictionary) <= len(array):
                    parts[index].append(encoded)
                    continue
                plain.add(index)
                parts[index] = [part.dictionary_decode() for part in parts[index]]
            parts[index].append(pa.concat_arrays([array]))
    columns = []
    for field, arrays in zip(schema, parts, strict=True):
        kind = arrays[0].type if arrays else field.type
        column = pa.chunked_array(arrays, kind)
        if pa.types.is_dictionary(kind):
            column = column.unify_dictionaries()
            if not pa.types.is_dictionary(field.type):  # the dictionary of an ENUM is the type's own
                column = _narrow(column)
        columns.append(column)
    give_back()
    return pa.table(columns, names=schema.names)


def plain_text(table: pa.Table) -> pa.Table:
    """A table without the dictionaries that `compact` made."""
    import pyarrow as pa

    for index, field in enumerate(table.schema):
        # Those of DuckDB, for an ENUM, have indices without a sign.
        if pa.types.is_dictionary(field.type) and pa.types.is_signed_integer(field.type.index_type):
            table = table.set_column(index, field.name, table.column(index).cast(field.type.value_type))
    return table


def give_back() -> None:
    """Give memory that large rows have left back to the system: Arrow and glibc keep some of it for later."""
    import ctypes

    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    if os.name == "posix":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
        if trim is not None:
            trim(0)


def _narrow(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Dictionaries with indices as short as they can be, with room for one more."""
    import pyarrow as pa

    most = max((len(chunk.dictionary) for chunk in column.chunks), default=0)
    kind = pa.int8() if most < 2**7 - 1 else pa.int16() if most < 2**15 - 1 else pa.int32()
    return pa.chunked_array(
        [pa.DictionaryArray.from_arrays(chunk.indices.cast(kind), chunk.dictionary) for chunk in column.chunks],
        pa.dictionary(kind, pa.string()),
    )


def to_pandas(data: pa.Table | pa.RecordBatch) -> pd.DataFrame:
    """Arrow to pandas as engines expect it: DECIMAL as float, whole numbers with NULLs as float, text as str.

    Column names are kept even when they repeat.
    """
    import pandas as pd
    import pyarrow as pa

    objects: dict[int, list[Any]] = {}
    table = pa.Table.from_batches([data]) if isinstance(data, pa.RecordBatch) else data
    for index, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type):
            table = table.set_column(index, field.name, table.column(index).cast(pa.float64()))
        elif pa.types.is_union(field.type):  # pandas has no such column
            objects[index] = table.column(index).to_pylist()
            table = table.set_column(index, field.name, pa.nulls(table.num_rows))
        elif pa.types.is_dictionary(field.type) and pa.types.is_unsigned_integer(field.type.index_type):
            # An ENUM has unsigned codes, which older releases of pyarrow do not take to pandas.
            signed = pa.dictionary(pa.int64(), field.type.value_type, field.type.ordered)
            table = table.set_column(index, field.name, table.column(index).cast(signed))
    frame: pd.DataFrame = table.to_pandas(date_as_object=False, ignore_metadata=True)
    for index, values in objects.items():
        frame.isetitem(index, pd.Series(values, dtype=object).array)
    return frame


def _written(value: Any) -> Any:
    """A dict or a list as JSON."""
    import json

    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, (dict, list)) else value


def to_arrow(values: Any, wanted: pa.DataType) -> pa.Array:
    """A column of an engine's answer as an Arrow array of the wanted type. Raises pyarrow.ArrowException."""
    import pyarrow as pa

    try:
        return _converted(values, wanted)
    except (pa.ArrowException, OverflowError, TypeError):
        plain = pa.types.is_integer(wanted) or pa.types.is_floating(wanted) or pa.types.is_boolean(wanted)
        if plain or isinstance(values, pa.Array | pa.ChunkedArray):
            raise
        # Arrow guesses a type before it casts: a dict is a struct to it, and no map; a great number is too great.
        try:
            return pa.array([_as_arrow_reads(value, wanted) for value in list(values)], wanted)
        except (pa.ArrowException, OverflowError, TypeError, ValueError):
            pass
        raise


def _as_arrow_reads(value: Any, wanted: pa.DataType) -> Any:
    """A value of Python's in the form in which Arrow takes it for a type."""
    import pyarrow as pa
    from pyarrow import types

    absent = isinstance(value, float) and value != value and not types.is_floating(wanted)
    if value is None or absent or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if types.is_map(wanted):
        pairs = value.items() if isinstance(value, Mapping) else value
        return [(_as_arrow_reads(k, wanted.key_type), _as_arrow_reads(v, wanted.item_type)) for k, v in pairs]
    if types.is_list(wanted) or types.is_large_list(wanted) or types.is_fixed_size_list(wanted):
        return [_as_arrow_reads(each, wanted.value_type) for each in value]
    if types.is_struct(wanted) and isinstance(value, Mapping):
        if not value.keys() <= {field.name for field in wanted}:
            raise TypeError("a field that the type does not have")  # Arrow would drop it without a word
        return {field.name: _as_arrow_reads(value.get(field.name), field.type) for field in wanted}
    if isinstance(value, int) and not isinstance(value, bool):
        # What no whole number of Arrow's holds travels as a decimal or as text.
        if types.is_decimal(wanted):
            return Decimal(value)
        return str(value) if types.is_string(wanted) and value.bit_length() > 63 else value
    if types.is_interval(wanted) and isinstance(value, timedelta):
        return pa.MonthDayNano([0, value.days, (value.seconds * 1_000_000 + value.microseconds) * 1000])
    if types.is_time(wanted) and isinstance(value, str):
        return time.fromisoformat(value)
    return value


def _converted(values: Any, wanted: pa.DataType) -> pa.Array:
    import pyarrow as pa

    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.Array):
        array = values
    else:
        array = pa.Array.from_pandas(values)
        if isinstance(array, pa.ChunkedArray):
            array = array.combine_chunks()
    if array.type == wanted:
        return array
    if pa.types.is_string(wanted) and pa.types.is_nested(array.type):  # an explanation as a dict: JSON
        return pa.array([_written(value) for value in array.to_pylist()], pa.string())
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_string(wanted) and not pa.types.is_large_string(array.type):
        return array.cast(pa.string())
    return array.cast(wanted)


def moments(texts: Any, type_name: str) -> Any:
    """Texts as moments.

    Args:
        texts: A pyarrow.Array or ChunkedArray of text.
        type_name: The DuckDB type of the column they are for: DATE, TIME, TIMESTAMP …. What has no time zone is UTC.

    Returns:
        An array of date32, time64, or timestamp with or without a zone.

    Raises:
        pyarrow.ArrowInvalid: A text is no moment.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    clock = type_name.startswith("TIME") and not type_name.startswith("TIMESTAMP")
    if clock:
        local = pc.replace_substring_regex(texts.cast(pa.string()), r"[+-]\d\d(?::\d\d){0,2}$", "")
        texts = pc.binary_join_element_wise("1970-01-01", local, " ")
    elif "ZONE" in type_name:
        try:
            return texts.cast(pa.timestamp("us", "UTC"))
        except pa.ArrowInvalid:
            return pc.assume_timezone(texts.cast(pa.timestamp("us")), "UTC")
    found = texts.cast(pa.timestamp("us"))
    if clock:
        return found.cast(pa.time64("us"))
    return found.cast(pa.date32(), safe=False) if type_name == "DATE" else found
