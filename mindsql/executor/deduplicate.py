"""Owns equal rows within a batch: where many repeat, the model is asked for each of them once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

FEWEST = 1024
"""Shorter batches are not looked at; as many rows of a batch tell whether to look at the others."""
PAYS = 0.5
"""Asking for the distinct rows pays when they are no larger a share of all."""
_MOST_KEYS = 1 << 62


class Deduplicator:
    """Looks for equal rows on behalf of one statement. The first batch that has few of them ends it: a table with few
    in one place has few in others."""

    def __init__(self) -> None:
        self._pays = True

    def find(self, batch: pa.RecordBatch) -> tuple[pa.Array, pa.Array] | None:
        """The first of each group of equal rows, and for each row the place of its group among them; None when asking
        for all rows is as good."""
        if not self._pays or batch.num_rows < FEWEST:
            return None
        found = _distinct(batch) if _may_pay(batch) else None
        self._pays = found is not None
        return found


def _may_pay(batch: pa.RecordBatch) -> bool:
    """A guess by some rows: among them are fewer different ones than if half of the batch were different."""
    some = batch.slice(0, FEWEST)
    keys = _keys(some)
    expected = some.num_rows * (1 - some.num_rows / (4 * PAYS * batch.num_rows))
    return keys is not None and len(keys.unique()) <= max(expected, PAYS * some.num_rows)


def _distinct(batch: pa.RecordBatch) -> tuple[pa.Array, pa.Array] | None:
    import numpy as np
    import pyarrow as pa

    keys = _keys(batch)
    if keys is None:
        return None
    encoded = keys.dictionary_encode()
    if len(encoded.dictionary) > PAYS * batch.num_rows:
        return None
    place = encoded.indices.to_numpy()
    first = np.empty(len(encoded.dictionary), np.int64)
    first[place[::-1]] = np.arange(batch.num_rows)[::-1]
    return pa.array(first), encoded.indices


def _keys(batch: pa.RecordBatch) -> pa.Array | None:
    """A number for each row, the same for rows whose values are the same to the last bit; None when some value
    cannot be compared so."""
    import numpy as np
    import pyarrow as pa

    keys = np.zeros(batch.num_rows, np.int64)
    count = 1
    for column in batch.columns:
        if pa.types.is_nested(column.type):
            return None
        if pa.types.is_floating(column.type):  # 0.0 and -0.0 are equal, and a model may tell them apart
            column = column.view(f"int{column.type.bit_width}")
        try:
            encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid):  # a type that Arrow makes no dictionary of
            return None
        size = len(encoded.dictionary) + 1
        if count * size > _MOST_KEYS:
            packed = pa.array(keys).dictionary_encode()
            keys, count = packed.indices.to_numpy().astype(np.int64), len(packed.dictionary)
        codes = encoded.indices.cast(pa.int64()).fill_null(size - 1).to_numpy(zero_copy_only=False)
        keys = keys * size + codes
        count *= size
    return pa.array(keys)
