"""Owns how rows leave a result without loss: plain values where they are exact, Arrow where they are not.

A result hands over Python values, which is quickest and keeps nearly every type whole. Two kinds do not
survive: an INTERVAL becomes a timedelta (a month becomes thirty days) and nanoseconds are cut. Results that
hold those are read through Arrow, unless a type that only plain values keep (TIMETZ, BIT, …) is beside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from mindsql.formats.types import Type, parse

if TYPE_CHECKING:
    from typing import TypeAlias

    Reader: TypeAlias = Any  # pyarrow.RecordBatchReader; pyarrow ships no types

Row = Sequence[Any]
CHUNK = 2048

_NEEDS_ARROW = frozenset({"INTERVAL", "TIMESTAMP_NS", "TIME_NS"})
_NEEDS_VALUES = frozenset({"TIME WITH TIME ZONE", "BIT", "BIGNUM", "VARIANT", "UNION", "GEOMETRY"})


class Rows(Protocol):
    """What the formats need of a result."""

    @property
    def columns(self) -> list[str]:
        """Column names."""

    @property
    def types(self) -> list[str]:
        """DuckDB type names."""

    def fetchmany(self, size: int = ..., /) -> list[Any]:
        """The next rows, an empty list at the end."""

    def reader(self) -> Reader:
        """The rows as Arrow record batches."""


def types_of(result: Rows) -> list[Type]:
    """The types of a result's columns."""
    return [parse(name) for name in result.types]


def chunks(result: Rows) -> Iterator[list[Row]]:
    """The rows of a result, some thousand at a time."""
    names = {part.name for kind in types_of(result) for part in kind.walk()}
    if names & _NEEDS_ARROW and not names & _NEEDS_VALUES:
        yield from _arrow_chunks(result)
        return
    while rows := result.fetchmany(CHUNK):
        yield rows


def _arrow_chunks(result: Rows) -> Iterator[list[Row]]:
    for batch in result.reader():
        for start in range(0, batch.num_rows, CHUNK):
            part = batch.slice(start, CHUNK)
            columns = [_values(column) for column in part.columns]
            yield list(zip(*columns, strict=True))


def _values(column: Any) -> list[Any]:
    import pyarrow as pa

    if column.type == pa.time64("ns"):
        return [_trimmed(text) for text in column.cast(pa.string()).to_pylist()]
    if column.type == pa.timestamp("ns"):
        return [_trimmed(text) for text in column.cast(pa.string()).to_pylist()]
    try:
        return list(column.to_pylist())
    except OverflowError:
        # A date that Python cannot hold: infinity, before year 1 or after 9999.
        return list(column.cast(pa.string()).to_pylist())


def _trimmed(text: str | None) -> str | None:
    """`10:00:00.123000000` as `10:00:00.123`."""
    return text.rstrip("0").rstrip(".") if text is not None and "." in text else text
