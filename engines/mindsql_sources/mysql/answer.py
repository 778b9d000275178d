"""Owns the rows of MySQL's text protocol, read into Arrow by columns.

The protocol is described at https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response.html.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pymysql
from numpy.typing import NDArray
from pymysql.cursors import SSCursor

from mindsql.errors import SourceError
from mindsql.source import BATCH_ROWS
from mindsql_sources.mysql.types import Column

_BATCH_BYTES = 16_000_000
_LONGEST = 0xFFFFFF
_Connection = Any  # what is used of it beside PyMySQL's interface has no types


class CutOff(Exception):
    """The stream stopped before its end."""


class Answer:
    """The answer to a query: its columns at once, its rows as they are read from the socket."""

    def __init__(self, connection: _Connection, text: str) -> None:
        cursor: Any = connection.cursor(SSCursor)
        cursor.execute(text)
        result: Any = cursor._result
        # From here on the rows are ours: PyMySQL would read all of them when the cursor is closed.
        result.unbuffered_active = False
        result.connection = None
        cursor.connection = None
        connection._result = None
        self._file: Any = connection._rfile
        fields = result.fields or []
        if not fields:
            raise SourceError("the statement gives no rows")
        self.columns = [Column(field) for field in fields]

    @property
    def ended(self) -> bool:
        """Whether there are no rows at all."""
        return not next(self.batches(), (0,))[0]

    def batches(self) -> Iterator[tuple[int, list[pa.Array]]]:
        """The number of rows, and for each column their texts."""
        rows: list[bytes] = []
        size = 0
        for row in self._rows():
            rows.append(row)
            size += len(row)
            if len(rows) == BATCH_ROWS or size > _BATCH_BYTES:
                yield len(rows), _columns(rows, len(self.columns))
                rows, size = [], 0
        if rows:
            yield len(rows), _columns(rows, len(self.columns))

    def _rows(self) -> Iterator[bytes]:
        parts: list[bytes] = []
        held, at = b"", 0
        while True:
            # A packet: three bytes of length, one of its number, then what it holds.
            while len(held) - at < 4 or len(held) - at < 4 + (held[at] | held[at + 1] << 8 | held[at + 2] << 16):
                more = self._file.read1(1 << 20)
                if not more:
                    raise CutOff("the connection was lost before the last row")
                held, at = held[at:] + more, 0
            length = held[at] | held[at + 1] << 8 | held[at + 2] << 16
            payload = held[at + 4 : at + 4 + length]
            at += 4 + length
            if length == _LONGEST:
                parts.append(payload)
                continue
            if parts:
                payload = b"".join([*parts, payload])
                parts = []
            elif length < 9 and payload[0] == 0xFE:
                return
            elif payload[0] == 0xFF:
                # `0xFF`, two bytes of a code, `#` and five of a state, then the message
                said = payload[9:].decode("utf-8", "replace")
                raise pymysql.OperationalError(int.from_bytes(payload[1:3], "little"), said)
            yield payload


def _columns(rows: list[bytes], count: int) -> list[pa.Array]:
    """The texts of each column, NULL where the protocol has 0xFB."""
    buffer: NDArray[np.uint8] = np.frombuffer(b"".join(rows) + bytes(16), dtype=np.uint8)
    ends = np.cumsum(np.fromiter(map(len, rows), dtype=np.int64, count=len(rows)))
    position = np.concatenate(([0], ends[:-1]))
    found = []
    for _ in range(count):
        first = buffer[position].astype(np.int64)
        missing = first == 0xFB
        length, start = np.where(missing, 0, first), position + 1
        for mark, width in ((0xFC, 2), (0xFD, 3), (0xFE, 8)):
            long = np.flatnonzero(first == mark)
            if len(long):
                length[long] = sum(buffer[position[long] + 1 + k].astype(np.int64) << (8 * k) for k in range(width))
                start[long] += width
        offsets = np.concatenate(([0], np.cumsum(length)))
        data = buffer[np.repeat(start - offsets[:-1], length) + np.arange(offsets[-1])]
        valid = pa.py_buffer(np.packbits(~missing, bitorder="little")) if missing.any() else None
        buffers = [valid, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data)]
        found.append(pa.Array.from_buffers(pa.binary(), len(rows), buffers))
        position = start + length
    if not np.array_equal(position, ends):
        raise CutOff("the rows have another form than their columns")
    return found
