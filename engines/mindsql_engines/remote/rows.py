"""Owns rows on their way to a server: as values that JSON holds, or as Arrow, both checked against their dtypes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mindsql_engines.remote import dtypes

if TYPE_CHECKING:
    import pyarrow as pa

Columns = dict[str, list[Any]]
"""Values that JSON holds, by column."""


class Rows:
    """Some rows of a table.

    Args:
        batch: The rows.
        types: Column → dtype.
        first: The number of the first row, for errors.
    """

    def __init__(self, batch: pa.RecordBatch, types: Mapping[str, str], first: int = 0) -> None:
        self._batch = batch
        self._types = types
        self._first = first

    def __len__(self) -> int:
        count: int = self._batch.num_rows
        return count

    def columns(self) -> Columns:
        """Values by column. Raises DataError."""
        return {name: self._values(name) for name in self._batch.schema.names}

    def table(self) -> pa.Table:
        """The rows in the types of their dtypes: dates and times in microseconds. Raises DataError,
        pyarrow.ArrowException."""
        import pyarrow as pa

        names = self._batch.schema.names
        return pa.Table.from_arrays([self._array(name) for name in names], names=names)

    def _values(self, name: str) -> list[Any]:
        values = self._batch.column(name).to_pylist()
        return dtypes.sendable(values, self._types[name], name, self._first)

    def _array(self, name: str) -> pa.Array:
        import pyarrow as pa
        import pyarrow.compute as pc

        array, dtype, check = self._batch.column(name), self._types[name], pa.types
        wanted = {
            "integer": pa.int64(), "float": pa.float64(), "text": pa.string(), "boolean": pa.bool_(),
            "array": pa.list_(pa.float64()),
        }.get(dtype)  # fmt: skip
        # What is of its kind already need not become Python values.
        if dtype in ("text", "boolean", "categorical") and array.type in (pa.string(), pa.bool_()):
            if wanted in (None, array.type):
                return array
        elif dtype == "integer" and check.is_integer(array.type):
            return array.cast(wanted)
        elif dtype == "float" and (check.is_integer(array.type) or check.is_floating(array.type)):
            numbers = array.cast(wanted, safe=False)
            return pc.if_else(pc.is_finite(numbers), numbers, None)
        if dtype in ("date", "datetime"):
            return pa.array(self._values(name), pa.string()).cast(pa.timestamp("us"))
        return pa.array(self._values(name), wanted)
