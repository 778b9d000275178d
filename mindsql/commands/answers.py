"""Owns the small results that commands give: a few rows, or a message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mindsql.batches import Batches
from mindsql.result import Result
from mindsql.schema import Schema


def table(
    columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[Any]], notes: Sequence[str] = ()
) -> Result:
    """A result of a few rows, and notes.

    Columns are `(name, DuckDB type)`; types are those that Arrow infers to the same."""
    import pyarrow as pa

    arrow = {
        "VARCHAR": pa.string(),
        "DOUBLE": pa.float64(),
        "INTEGER": pa.int32(),
        "BIGINT": pa.int64(),
        "BOOLEAN": pa.bool_(),
        "TIMESTAMP": pa.timestamp("us"),
    }
    schema = pa.schema([(name, arrow[type_name]) for name, type_name in columns])
    arrays = [
        pa.array([row[index] for row in rows], type=schema.field(index).type) for index in range(len(columns))
    ]
    batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
    return Result.of(batches=Batches(schema, iter([batch])), schema=Schema.of(columns), notes=notes)


def counted(rows: int) -> Result:
    """The result of a statement that has changed so many rows, -1 if that is not known."""
    result = table([("Count", "BIGINT")], [(rows if rows >= 0 else None,)])
    result.kind, result.rowcount = "count", rows
    return result


def frame(data: Any) -> Result:
    """A result from a DataFrame that an engine gave."""
    import pyarrow as pa

    columns = []
    rows = data.astype(object).where(data.notna(), None).values.tolist()
    for name in data.columns:
        inferred = pa.Array.from_pandas(data[name]).type if len(data) else pa.string()
        kind = (
            "BOOLEAN"
            if pa.types.is_boolean(inferred)
            else "BIGINT"
            if pa.types.is_integer(inferred)
            else "DOUBLE"
            if pa.types.is_floating(inferred)
            else "VARCHAR"
        )
        columns.append((str(name), kind))
    for row in rows:
        for index, (_, kind) in enumerate(columns):
            if kind == "VARCHAR" and row[index] is not None:
                row[index] = str(row[index])
    return table(columns, rows)


def done(message: str) -> Result:
    """A result without rows."""
    return Result.of(kind="done", message=message, schema=Schema())
