"""Bodies that are small as they come and large when they are read; limits, and whatever bytes a fuzzer thinks of."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindsql.errors import MindSQLError, TooLargeError
from mindsql.server.http import bodies
from mindsql.server.http.columns import BodyLimits
from mindsql.server.http.faults import RequestError

SMALL = BodyLimits(bytes=1 << 20, unpacked_bytes=4 << 20, rows=1000, columns=50, cells=10_000, depth=8)
TYPES = [*bodies._READERS, "application/json; charset=latin-1", "multipart/form-data; boundary=x", "nonsense"]


def workbook() -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["a", "b"])
    sheet.append([1, "x"])
    sink = io.BytesIO()
    book.save(sink)
    return sink.getvalue()


def xlsx_bomb() -> bytes:
    """A sheet of some kilobytes with a million equal cells."""
    sink = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(workbook())) as old,
        zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for item in old.infolist():
            content = old.read(item)
            if item.filename.endswith("sheet1.xml"):
                row = b'<row><c t="str"><v>' + b"x" * 100 + b"</v></c></row>"
                content = content.replace(b"</sheetData>", row * 100_000 + b"</sheetData>")
            new.writestr(item, content)
    return sink.getvalue()


def parquet_bomb() -> bytes:
    """One text of a megabyte, a thousand times."""
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), pa.array(["x" * 1_000_000]))
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": column}), sink)
    return sink.getvalue()


def parquet_that_lies() -> bytes:
    """One text of 64 MB, and a footer that says it is one byte long."""
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": ["x" * (64 << 20)]}), sink, compression="zstd", use_dictionary=False)
    content = sink.getvalue()
    size = pq.read_metadata(io.BytesIO(content)).row_group(0).column(0).total_uncompressed_size

    def varint(value: int, length: int = 0) -> bytes:
        last = max(length, (value.bit_length() + 6) // 7, 1) - 1
        return bytes(value >> 7 * at & 127 | (128 if at < last else 0) for at in range(last + 1))

    said = varint(2 * size)  # the field after the codec and the paths: a whole number of the compact protocol
    assert content.count(said, len(content) // 2) >= 1
    return content[: len(content) // 2] + content[len(content) // 2 :].replace(said, varint(2, len(said)))


def many_columns() -> bytes:
    return b"{" + b",".join(b'"c%d":1' % i for i in range(100)) + b"}"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (xlsx_bomb(), "application/octet-stream"),
        (parquet_bomb(), "application/vnd.apache.parquet"),
        (parquet_that_lies(), "application/vnd.apache.parquet"),
        (b" " * (2 << 20), "application/json"),
        (b'[{"a":1}' + b',{"a":1}' * 1000 + b"]", "application/json"),
        (many_columns(), "application/json"),
        (b"[" + b",".join(b'{"c%d":1}' % (i % 40) for i in range(900)) + b"]", "application/json"),
        (b'{"a":' + b"[" * 20 + b"]" * 20 + b"}", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b",".join(b"c%d" % i for i in range(100)), "text/csv"),
        (b"a\n" + b"1\n" * 2000, "text/csv"),
        (b"a=1&" * 2000 + b"a=1", "application/x-www-form-urlencoded"),
    ],
    ids=[
        "xlsx",
        "parquet",
        "parquet footer",
        "bytes",
        "rows",
        "columns",
        "cells",
        "depth",
        "nesting",
        "csv columns",
        "csv rows",
        "form",
    ],
)
def test_too_large(content: bytes, kind: str) -> None:
    with pytest.raises(TooLargeError):
        bodies.read(content, kind, SMALL)


def test_types_of_cells() -> None:
    """Where texts and numbers mix all are texts; what a model takes as text is text, zeros in front included."""
    table = bodies.read(b'[{"a": 1, "b": 1, "c": null}, {"a": "x", "b": 2.5}]', "application/json", SMALL)
    assert table is not None
    assert table.to_pydict() == {"a": ["1", "x"], "b": [1.0, 2.5], "c": [None, None]}
    table = bodies.read(b"a,b,c\n007,NA,\n008,2,x\n", "text/csv", SMALL, ["A"])
    assert table is not None
    assert table.to_pydict() == {"a": ["007", "008"], "b": [None, 2], "c": [None, "x"]}
    table = bodies.read(workbook(), "application/x-www-form-urlencoded", SMALL)
    assert table is not None
    assert table.to_pydict() == {"a": [1], "b": ["x"]}


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(TYPES),
    st.one_of(
        st.binary(max_size=200),
        st.text(alphabet='[]{}",:\n\\u0019eE-+.aNnul=&;', max_size=60).map(str.encode),
        st.tuples(
            st.sampled_from([b"PAR1", b"PK\x03\x04", b"--x\r\n", b"[", b'{"a":']), st.binary(max_size=80)
        ).map(b"".join),
    ),
)
def test_any_bytes_are_rows_or_an_error(kind: str, content: bytes) -> None:
    try:
        bodies.read(content, kind, SMALL)
    except MindSQLError as error:
        assert error.http_status in (400, 413, 415)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"data_page_version": "2.0", "compression": "zstd"},
        {"row_group_size": 10, "write_page_checksum": True, "write_page_index": True},
        {"use_dictionary": False, "compression": "none"},
    ],
)
@pytest.mark.parametrize("rows", [0, 1, 900])
def test_parquet_however_it_is_written(options: dict[str, Any], rows: int) -> None:
    table = pa.table({"a": range(rows), "b": [f"x{row % 7}" for row in range(rows)], "c": [None] * rows})
    table = table.cast(pa.schema([("a", pa.int64()), ("b", pa.string()), ("c", pa.float64())]))
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    read = bodies.read(sink.getvalue(), "application/vnd.apache.parquet", SMALL)
    assert read is not None
    assert read.to_pylist() == table.to_pylist()


def test_parquet_of_differences() -> None:
    """Each text repeats the one before: a short page is any amount of text, and its size is told nowhere."""
    sink = io.BytesIO()
    texts = pa.table({"a": ["x" * 100_000 + str(row) for row in range(100)]})
    pq.write_table(texts, sink, use_dictionary=False, column_encoding={"a": "DELTA_BYTE_ARRAY"})
    assert len(sink.getvalue()) < 50_000
    with pytest.raises(RequestError, match="differences from each other"):
        bodies.read(sink.getvalue(), "application/vnd.apache.parquet", SMALL)
