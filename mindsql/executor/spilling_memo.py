"""Owns the answers to rows that one statement has seen: none is forgotten, and memory does not grow with the table. The
latest are in memory, all others in a temporary file."""

from __future__ import annotations

import tempfile
import threading
from contextlib import suppress
from typing import IO, TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

KEY_BYTES = 16
_IN_MEMORY = 4 << 20


class _Part(NamedTuple):
    """Keys, and the answers to them."""

    keys: pa.Array
    answers: pa.RecordBatch


class _Place(NamedTuple):
    """A part in the file: where its keys start, how many they are, and the bytes of the answers behind them."""

    start: int
    rows: int
    size: int


class SpillingMemo:
    """Answers by key, where a key is a digest of `KEY_BYTES` bytes. Threads may share it."""

    def __init__(self) -> None:
        self._parts: list[_Part] = []
        self._places: list[_Place] = []
        self._file: IO[bytes] | None = None
        self._end = 0
        self._closed = False
        self._lock = threading.Lock()

    def close(self) -> None:
        """Forget everything, from now on too: a call left behind by a stopped statement may still come."""
        with self._lock:
            self._closed = True
            self._parts.clear()
            self._places.clear()
            if self._file is not None:
                self._file.close()

    def put(self, keys: pa.Array, answers: list[pa.Array]) -> None:
        """Keep the answers to some keys, one array for each output."""
        import pyarrow as pa

        batch = pa.RecordBatch.from_arrays(answers, names=[str(number) for number in range(len(answers))])
        with self._lock:
            if self._closed:
                return
            self._parts.append(_Part(keys, batch))
            while len(self._parts) > 1 and sum(k.nbytes + a.nbytes for k, a in self._parts) > _IN_MEMORY:
                # Without room in the file they are forgotten, which only means that they are asked for again.
                with suppress(OSError):
                    self._write(self._parts.pop(0))

    def get(self, keys: pa.Array) -> tuple[np.ndarray, list[pa.Array]]:
        """Of some distinct keys, the places of those that are known, and the answers to these, in this order."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        places: list[np.ndarray] = []
        found: list[pa.RecordBatch] = []
        with self._lock:
            both: list[_Part | _Place] = [*self._parts, *self._places]
            for part in both:
                known = part.keys if isinstance(part, _Part) else self._keys(part)
                at = pc.index_in(known, value_set=keys)
                rows = np.flatnonzero(at.is_valid().to_numpy(zero_copy_only=False))
                if len(rows):
                    answers = part.answers if isinstance(part, _Part) else self._answers(part)
                    places.append(at.drop_null().to_numpy())
                    found.append(answers.take(pa.array(rows)))
        if not found:
            return np.empty(0, np.int64), []
        columns = zip(*(batch.columns for batch in found), strict=True)
        return np.concatenate(places).astype(np.int64), [pa.concat_arrays(list(arrays)) for arrays in columns]

    def _write(self, part: _Part) -> None:
        import pyarrow as pa

        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the statement
        rows = len(part.keys)
        keys = part.keys.buffers()[1].slice(part.keys.offset * KEY_BYTES, rows * KEY_BYTES)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, part.answers.schema) as stream:
            stream.write_batch(part.answers)
        answers = sink.getvalue()
        self._file.seek(self._end)
        self._file.write(keys)
        self._file.write(answers)
        self._file.flush()
        self._places.append(_Place(self._end, rows, answers.size))
        self._end += keys.size + answers.size

    def _keys(self, place: _Place) -> pa.Array:
        return key_array(self._read(place.start, place.rows * KEY_BYTES))

    def _answers(self, place: _Place) -> pa.RecordBatch:
        import pyarrow as pa

        return pa.ipc.open_stream(
            self._read(place.start + place.rows * KEY_BYTES, place.size)
        ).read_next_batch()

    def _read(self, start: int, size: int) -> bytes:
        assert self._file is not None
        self._file.seek(start)
        return self._file.read(size)


def key_array(data: bytes) -> pa.Array:
    """Keys that lie one after the other as an Arrow array."""
    import pyarrow as pa

    buffers = [None, pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.binary(KEY_BYTES), len(data) // KEY_BYTES, buffers)
