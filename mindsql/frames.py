"""Owns the crossing between Arrow and pandas: what an engine's `predict(df)` is given, and what it gives back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def to_pandas(data: pa.Table | pa.RecordBatch) -> pd.DataFrame:
    """Arrow to pandas as engines expect it: DECIMAL as float, whole numbers with NULLs as float, text as str.

    Column names are kept even when they repeat.
    """
    import pyarrow as pa

    table = pa.Table.from_batches([data]) if isinstance(data, pa.RecordBatch) else data
    for index, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type):
            table = table.set_column(index, field.name, table.column(index).cast(pa.float64()))
    frame: pd.DataFrame = table.to_pandas(date_as_object=False, ignore_metadata=True)
    return frame


def to_arrow(values: Any, wanted: pa.DataType) -> pa.Array:
    """A column of an engine's answer as an Arrow array of the wanted type. Raises pyarrow.ArrowException."""
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
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_string(wanted) and not pa.types.is_large_string(array.type):
        return array.cast(pa.string())
    return array.cast(wanted)
