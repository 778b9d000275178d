"""Owns how rows become the text of MySQL's INSERT statements: a column at a time, by Arrow."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from mindsql.errors import DataError


def rows_of(batch: pa.RecordBatch) -> pa.Array:
    """Each row as `(value, …)`."""
    columns = [_literals(array, field.name) for array, field in zip(batch.columns, batch.schema, strict=True)]
    joined = pc.binary_join_element_wise(*columns, ",") if len(columns) > 1 else columns[0]
    return pc.binary_join_element_wise("(", joined, ")", "")


def statements(begin: str, batches: Iterator[pa.RecordBatch], most: int) -> Iterator[tuple[str, int]]:
    """INSERT statements of no more than about `most` bytes, and how many rows each has.

    Args:
        begin: What stands before the rows, up to VALUES.
        batches, most: The rows, and the length.
    """
    for batch in batches:
        if not batch.num_rows:
            continue
        rows = rows_of(batch)
        per = max(1, int(most / max(1.0, pc.mean(pc.binary_length(rows)).as_py())))
        for start in range(0, len(rows), per):
            part = rows.slice(start, per)
            yield f"{begin} {','.join(part.to_pylist())}", len(part)


def _literals(array: pa.Array, name: str) -> pa.Array:
    kind = array.type
    if pa.types.is_boolean(kind):
        found = pc.if_else(array, "1", "0")
    elif pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        found = array.cast(pa.string())
    elif pa.types.is_floating(kind):
        if not pc.all(pc.is_finite(array), skip_nulls=True).as_py() and len(array) > array.null_count:
            raise DataError(
                f'the column "{name}" holds a number that is not finite, which MySQL has not',
                hint=f'write NULL instead: CASE WHEN isfinite("{name}") THEN "{name}" END',
            )
        found = array.cast(pa.string())
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        found = pa.array([None if value is None else f"X'{value.hex()}'" for value in array.to_pylist()], pa.string())
    else:
        if pa.types.is_timestamp(kind) and kind.tz:
            array = array.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us"))
        texts = array.cast(pa.string())
        for written, escaped in (("\\", "\\\\"), ("'", "''")):
            texts = pc.replace_substring(texts, written, escaped)
        found = pc.binary_join_element_wise("'", texts, "'", "")
    return pc.fill_null(found, "NULL")
