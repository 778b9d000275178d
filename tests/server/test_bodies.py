"""Bodies that are small as they come and large when they are read; limits, and whatever bytes a fuzzer thinks of."""

from __future__ import annotations

import io
import zipfile

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindsql.errors import MindSQLError, TooLargeError
from mindsql.server.http import bodies
from mindsql.server.http.columns import Limits

SMALL = Limits(bytes=1 << 20, unpacked_bytes=4 << 20, rows=1000, columns=50, cells=10_000, depth=8)
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


def many_columns() -> bytes:
    return b"{" + b",".join(b'"c%d":1' % i for i in range(100)) + b"}"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (xlsx_bomb(), "application/octet-stream"),
        (parquet_bomb(), "application/vnd.apache.parquet"),
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
