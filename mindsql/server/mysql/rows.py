"""Owns the rows of one result on their way out: fetched some thousand at a time, in text or binary form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import tzinfo
from itertools import islice
from typing import TYPE_CHECKING, Any

from mysql_mimic.charset import CharacterSet
from mysql_mimic.packets import make_binary_resultrow

from mindsql.errors import TooLargeError
from mindsql.result import Result
from mindsql.server.mysql.stream import Stream
from mindsql.server.mysql.types import Columns

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH = 2048
_MOST_VALUE = 2**24 - 2**16


class PacketRows:
    """A result that is being sent.

    Args:
        binary: Whether the statement was prepared.
        most: The rows there may be; None for any number.
        wanted: The rows that the client wants (`sql_select_limit`); the others are left.

    Attributes:
        sent: The rows so far.
        more: Whether there may be more.
    """

    def __init__(
        self,
        result: Result,
        *,
        charset: CharacterSet,
        zone: tzinfo,
        binary: bool,
        most: int | None,
        wanted: int,
    ) -> None:
        self.columns = Columns(result.schema, charset, zone)
        self.sent = 0
        self.more = True
        self._binary = binary
        self._most = most
        self._wanted = wanted
        self._rows = _batches(result)

    def begin(self, stream: Stream, head: Sequence[bytes]) -> None:
        """Keep the head and the first rows in the stream, or neither: what fails at once, fails as a whole."""
        rows = self._fetch()
        stream.put(head)
        self._keep(rows, stream)

    def put(self, stream: Stream) -> None:
        """Fetch rows and keep them in the stream; it blocks.

        Raises:
            TooLargeError: There are more than there may be, or a value does not go into a packet.
            MindSQLError: The statement failed.
        """
        self._keep(self._fetch(), stream)

    def _fetch(self) -> Sequence[Sequence[Any]]:
        rows = next(self._rows, [])[: self._wanted - self.sent]
        self.sent += len(rows)
        self.more = bool(rows) and self.sent < self._wanted
        if self._most is not None and self.sent > self._most:
            raise TooLargeError(
                f"the result has more than {self._most} rows", hint="ask for fewer, with LIMIT"
            )
        self._check_sizes(rows)
        return rows

    def _keep(self, rows: Sequence[Sequence[Any]], stream: Stream) -> None:
        encoders = self.columns.encoders
        if self._binary:
            stream.put([make_binary_resultrow(row, encoders) for row in rows])
        else:
            stream.put_rows(rows, encoders)

    def _check_sizes(self, rows: Sequence[Sequence[Any]]) -> None:
        long = [place for place, kind in enumerate(self.columns.types) if kind.length > 1000]
        share = _MOST_VALUE // (4 * max(1, len(long)))
        for place in long:
            if any(isinstance(row[place], (str, bytes)) and len(row[place]) > share for row in rows):
                name = self.columns.encoders[place].name
                raise TooLargeError(
                    f'a value of "{name}" is too large for one packet', hint="ask for a part, with substring"
                )


def _batches(result: Result) -> Iterator[Sequence[Sequence[Any]]]:
    if any("INTERVAL" in column.type for column in result.schema):
        # As Python values intervals would lose their months; Arrow keeps them.
        batches = result.reader(_BATCH)
        rows = (row for b in batches for row in zip(*(_values(c) for c in b.columns), strict=True))
        while batch := list(islice(rows, _BATCH)):
            yield batch
        return
    while fetched := result.fetchmany(_BATCH):
        yield fetched


def _values(column: pa.Array) -> list[Any]:
    values: list[Any] = column.to_pylist(maps_as_pydicts="lossy")
    return values
