"""Owns what the pages of a Parquet file say of themselves: how large each is when it is unpacked.

The footer tells that, too, but nothing holds it to the truth; Arrow takes memory for what a page's own header says.
Headers are Thrift's compact protocol (https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md),
their fields those of `PageHeader` in https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

_UNPACKED, _PACKED = 2, 3
_DATA, _DATA_V2 = 5, 8
_ENCODING = {_DATA: 2, _DATA_V2: 4}
_DELTA_BYTE_ARRAY = 7
_DEEPEST = 8


class Page(NamedTuple):
    """A page: its bytes when it is unpacked, and whether its values are then still written as differences of texts,
    so that a short page may hold any amount of text."""

    unpacked: int
    shared_prefixes: bool


def pages(content: bytes, meta: Any) -> Iterator[Page]:
    """Every page of a file.

    Args:
        content: The file.
        meta: Its `pyarrow.parquet.FileMetaData`.

    Raises:
        ValueError: A header is none.
    """
    for group in map(meta.row_group, range(meta.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            if not column.num_values:
                continue  # it has no pages, or none that are read
            at = column.data_page_offset
            if column.has_dictionary_page and 0 < column.dictionary_page_offset < at:
                at = column.dictionary_page_offset
            end = min(len(content), at + column.total_compressed_size)
            while 0 <= at < end:
                reader = _Reader(content, at)
                header = reader.struct()
                unpacked, packed = header.get(_UNPACKED), header.get(_PACKED)
                if not isinstance(unpacked, int) or not isinstance(packed, int) or unpacked < 0 or packed < 0:
                    raise ValueError("a page does not tell its size")
                encodings = [header[kind].get(field) for kind, field in _ENCODING.items() if kind in header]
                yield Page(unpacked, _DELTA_BYTE_ARRAY in encodings)
                at = reader.at + packed


class _Reader:
    """Reads structs of the compact protocol."""

    def __init__(self, content: bytes, at: int) -> None:
        self._content = content
        self.at = at

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """The fields of a struct by their numbers: whole numbers and structs; None for what has no use here."""
        if depth > _DEEPEST:
            raise ValueError("a page's header is nested too deeply")
        fields: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) != 0:
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            fields[number] = self._value(head & 15, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2):  # a boolean is its own type
            return None
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._zigzag()
        if kind == 7:
            self.at += 8
            return None
        if kind == 8:
            length = self._varint()
            self.at += length
            return None
        if kind == 12:
            return self.struct(depth + 1)
        raise ValueError("a page's header holds what no such header has")  # lists, sets and maps

    def _byte(self) -> int:
        if not 0 <= self.at < len(self._content):
            raise ValueError("a page's header is cut off")
        self.at += 1
        return self._content[self.at - 1]

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 128 and shift < 63:
            value |= (byte & 127) << shift
            shift += 7
        return value | byte << shift

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
