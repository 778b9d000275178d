"""Owns JSON: how each type is written in it, and the formats json and jsonl."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from json.encoder import encode_basestring
from typing import Any, TextIO

from mindsql.formats.rows import CHUNK, Rows, chunks, types_of
from mindsql.formats.types import Type
from mindsql.formats.values import Writer, boolean, pairs, text_writer


def write_json(result: Rows, stream: TextIO) -> None:
    """An array with an object per row, one row a line."""
    between = "[\n"
    for line in _objects(result):
        stream.write(between + line)
        between = ",\n"
    stream.write("[]\n" if between == "[\n" else "\n]\n")


def write_jsonl(result: Rows, stream: TextIO) -> None:
    """An object per row, one row a line."""
    stream.writelines(jsonl_parts(result))


def jsonl_parts(result: Rows) -> Iterator[str]:
    """The lines of jsonl, some thousand at a time."""
    objects = _objects(result)
    while lines := list(islice(objects, CHUNK)):
        yield "\n".join(lines) + "\n"


def rows_parts(result: Rows) -> Iterator[str]:
    """Each row as an array, some thousand rows at a time, with commas between them."""
    writers = [_or_null(json_writer(kind)) for kind in types_of(result)]
    for chunk in chunks(result):
        columns = [map(write, column) for write, column in zip(writers, zip(*chunk, strict=True), strict=True)]
        yield ",\n".join("[" + ", ".join(cells) + "]" for cells in zip(*columns, strict=True))


def _objects(result: Rows) -> Iterator[str]:
    writers = [json_writer(kind) for kind in types_of(result)]
    keys = [encode_basestring(name) + ": " for name in unique(result.columns)]
    for chunk in chunks(result):
        for row in chunk:
            cells = (
                key + ("null" if value is None else write(value))
                for key, write, value in zip(keys, writers, row, strict=True)
            )
            yield "{" + ", ".join(cells) + "}"


def unique(names: list[str]) -> list[str]:
    """The names with `_1`, `_2`, … on those that came before: an object has each key once."""
    taken, given = set(names), set[str]()
    result = []
    for name in names:
        number, key = 0, name
        while key in given or (number and key in taken):
            number += 1
            key = f"{name}_{number}"
        given.add(key)
        result.append(key)
    return result


def json_writer(kind: Type) -> Writer:
    """How values of a type are written as JSON.

    Numbers stay numbers with all their digits; NaN and infinities, which JSON has not, are `null`; a column
    of type JSON goes in as it is; dates, times, blobs and the rest are strings as text formats spell them.
    """
    if kind.name in ("FLOAT", "DOUBLE", "DECIMAL"):
        number = text_writer(kind)
        return lambda value: number(value) if value - value == 0 else "null"
    if kind.name == "JSON":
        return lambda value: str(value).replace("\r", " ").replace("\n", " ")
    if kind.name == "BOOLEAN":
        return boolean
    if kind.name == "VARCHAR":
        return encode_basestring
    if kind.is_number:
        return str
    if nested := _NESTED_JSON.get(kind.name):
        return nested(kind)
    text = text_writer(kind)
    return lambda value: encode_basestring(text(value))


def _or_null(write: Writer) -> Writer:
    return lambda value: "null" if value is None else write(value)


def _list_json(kind: Type) -> Writer:
    item = _or_null(json_writer(kind.inner[0]))
    return lambda value: "[" + ", ".join(item(v) for v in value) + "]"


def _struct_json(kind: Type) -> Writer:
    names = [encode_basestring(name) + ": " for name in kind.fields]
    items = [_or_null(json_writer(inner)) for inner in kind.inner]

    def write(value: dict[str, Any]) -> str:
        parts = (name + item(part) for name, item, part in zip(names, items, value.values(), strict=True))
        return "{" + ", ".join(parts) + "}"

    return write


def _tuple_json(kind: Type) -> Writer:
    items = [_or_null(json_writer(inner)) for inner in kind.inner]

    def write(value: Any) -> str:
        parts = value.values() if isinstance(value, dict) else value
        return "[" + ", ".join(item(part) for item, part in zip(items, parts, strict=True)) + "]"

    return write


def _map_json(kind: Type) -> Writer:
    key, item = text_writer(kind.inner[0]), _or_null(json_writer(kind.inner[1]))
    return lambda value: (
        "{" + ", ".join(f"{encode_basestring(key(k))}: {item(v)}" for k, v in pairs(value)) + "}"
    )


_NESTED_JSON: dict[str, Callable[[Type], Writer]] = {
    "LIST": _list_json,
    "STRUCT": _struct_json,
    "TUPLE": _tuple_json,
    "MAP": _map_json,
}
