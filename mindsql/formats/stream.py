"""Owns the layouts that write each row as it comes: csv and line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from mindsql.formats.cells import NULL, pad, printable, width_of
from mindsql.formats.rows import Rows, chunks, types_of
from mindsql.formats.types import Type
from mindsql.formats.values import text_writer

_UNQUOTED = {"BOOLEAN", "DATE", "TIMESTAMP", "UUID"}


def write_csv(result: Rows, stream: TextIO) -> None:
    """The lines of `csv_parts`."""
    stream.writelines(csv_parts(result))


def csv_parts(result: Rows) -> Iterator[str]:
    """RFC 4180 quoting, a header, lines ending in a line feed. NULL is empty, an empty string is `""`."""
    yield ",".join(map(_quoted, result.columns)) + "\n"
    kinds = types_of(result)
    for chunk in chunks(result):
        columns = [
            _csv_column(kind, values) for kind, values in zip(kinds, zip(*chunk, strict=True), strict=True)
        ]
        if len(columns) == 1:
            # A line with nothing on it would be skipped by every reader.
            columns = [[cell or '""' for cell in columns[0]]]
        yield "\n".join(map(",".join, zip(*columns, strict=True))) + "\n"


def _csv_column(kind: Type, values: Iterable[Any]) -> list[str]:
    write = text_writer(kind)
    if kind.is_number or kind.name in _UNQUOTED:
        return ["" if value is None else write(value) for value in values]
    return ["" if value is None else _quoted(write(value)) for value in values]


def _quoted(text: str) -> str:
    if not text or '"' in text or "," in text or "\n" in text or "\r" in text:
        return '"' + text.replace('"', '""') + '"'
    return text


def write_line(result: Rows, stream: TextIO) -> None:
    """A line `column = value` per column, an empty line between rows."""
    names = [printable(name) for name in result.columns]
    width = max(map(width_of, names), default=0)
    heads = [pad(name, width, right=True) + " = " for name in names]
    writers = [text_writer(kind) for kind in types_of(result)]
    between = ""
    for chunk in chunks(result):
        for row in chunk:
            cells = (
                head + (NULL if value is None else printable(write(value))) + "\n"
                for head, write, value in zip(heads, writers, row, strict=True)
            )
            stream.write(between + "".join(cells))
            between = "\n"
