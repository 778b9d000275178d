"""Owns what a request body may be: bytes and a content type in, an Arrow table out.

What it is follows from its content and its type. Formats that can run programs when they are read (pickle) or that
nobody needs (xls, html, sas, …) are not among them.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qsl

from mindsql.errors import MemoryLimitError, TooLargeError
from mindsql.server.http import columns
from mindsql.server.http.columns import BodyLimits
from mindsql.server.http.faults import MediaTypeError, RequestError
from mindsql.server.http.pages import pages

if TYPE_CHECKING:
    import pyarrow as pa

_INDEX = re.compile(r"__index_level_\d+__")
_PARQUET, _ZIP = b"PAR1", b"PK\x03\x04"
_EMPTY_CELLS = ["", "NA", "N/A", "NaN", "nan", "NULL", "null", "#N/A"]
_WITHOUT_BREAKS = "curl -d takes the line breaks out: curl --data-binary @file -H 'Content-Type: text/csv'"
_KNOWN = "JSON, NDJSON, CSV, XLSX, Parquet, or a form with files of these"


@dataclass(frozen=True)
class _Body:
    """A body to be read: `text` names the columns, folded, whose cells are text whatever they look like."""

    content: bytes
    parameters: Mapping[str, str]
    limits: BodyLimits
    text: Collection[str] = ()

    def decoded(self) -> str:
        """The content as text, without a byte order mark."""
        charset = self.parameters.get("charset", "utf-8")
        try:
            codec = codecs.lookup(charset)
            return self.content.decode("utf-8-sig" if codec.name == "utf-8" else codec.name)
        except LookupError:
            raise MediaTypeError(f"the charset {charset!r} is not known", hint="send UTF-8") from None
        except UnicodeDecodeError as error:
            raise RequestError(
                f"the body is no {charset} at byte {error.start + 1}", hint="send UTF-8"
            ) from error


_Reader: TypeAlias = "Callable[[_Body], pa.Table]"


def read(content: bytes, content_type: str, limits: BodyLimits, text: Collection[str] = ()) -> pa.Table | None:
    """Read a body.

    Args:
        content: All of it.
        content_type: The header, with its parameters; empty when there was none.
        limits: What it may hold.
        text: Columns whose cells are text also where they look like numbers (CSV, XLSX).

    Returns:
        Rows in their order, None when there is no body.

    Raises:
        MediaTypeError: A body of a kind that is not read (415).
        RequestError: It is not what it says it is; the message has the place (400).
        TooLargeError: It holds too much (413).
    """
    if len(content) > limits.bytes:
        raise TooLargeError(f"the body has more than {limits.bytes} bytes", hint="send it in parts")
    if not content.strip():
        return None
    media, parameters = _content_type(content_type)
    body = _Body(content, parameters, limits, frozenset(name.casefold() for name in text))
    reader = _READERS.get(media)
    if reader is None:
        raise MediaTypeError(f"bodies of type {media!r} are not read", hint=f"send {_KNOWN}")
    return reader(body)


def _content_type(header: str) -> tuple[str, dict[str, str]]:
    """`text/csv; charset=utf-8` as type and parameters, names in lower case."""
    from python_multipart.multipart import parse_options_header

    media, parameters = parse_options_header(header)
    return media.decode("latin-1").lower(), {
        key.decode("latin-1").lower(): value.decode("latin-1") for key, value in parameters.items()
    }


# JSON ---------------------------------------------------------------------------------------------------------


def _json(body: _Body) -> pa.Table:
    """A list of objects, an object of lists, one object, or one of these under the only key `data`."""
    documents = columns.documents(body.decoded(), body.limits)
    if len(documents) > 1:
        raise RequestError(
            "the body holds several JSON values",
            hint="lines of objects are application/x-ndjson; rows go into one list",
        )
    return columns.from_json(documents[0], body.limits)


def _ndjson(body: _Body) -> pa.Table:
    """An object per row."""
    return columns.from_records(columns.documents(body.decoded(), body.limits), body.limits)


def _any_json(body: _Body) -> pa.Table:
    """JSON or NDJSON; curl's -d takes the line breaks out of the latter, so objects may follow each other directly."""
    documents = columns.documents(body.decoded(), body.limits)
    if len(documents) == 1:
        return columns.from_json(documents[0], body.limits)
    return columns.from_records(documents, body.limits)


# Tables -------------------------------------------------------------------------------------------------------


def _csv(body: _Body, delimiter: str = ",") -> pa.Table:
    """With a header. Empty cells are NULL, and so is NA in a column of numbers."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv

    content = body.decoded().encode()
    head = content[: content.find(b"\n") + 1] or content
    if head.count(delimiter.encode()) >= body.limits.columns:
        raise body.limits.too_many_columns()
    names = [name for line in _first_line(head, delimiter) for name in line]
    as_text = {name: pa.string() for name in names if name.casefold() in body.text}
    try:
        table = csv.read_csv(
            io.BytesIO(content),
            # One block: types are inferred from the first.
            csv.ReadOptions(block_size=len(content) + 1, use_threads=False),
            csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            csv.ConvertOptions(column_types=as_text, null_values=_EMPTY_CELLS),
        )
    except pa.ArrowInvalid as error:
        raise RequestError(f"the CSV cannot be read: {str(error).splitlines()[0][:300]}") from error
    for place, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            cells = table.column(place)
            cells = pc.if_else(pc.equal(cells, ""), pa.scalar(None, pa.string()), cells)
            table = table.set_column(place, field, cells)
    return columns.checked(table, body.limits)


def _first_line(head: bytes, delimiter: str) -> list[list[str]]:
    import csv

    try:
        return list(csv.reader([head.decode().rstrip("\r\n")], delimiter=delimiter))
    except csv.Error as error:
        raise RequestError(f"the CSV cannot be read: its header: {error}") from error


def _tsv(body: _Body) -> pa.Table:
    return _csv(body, "\t")


def _xlsx(body: _Body) -> pa.Table:
    """The first sheet of a workbook; its first row names the columns."""
    from mindsql.server.http import workbooks

    return workbooks.read(body.content, body.limits)


def _parquet(body: _Body) -> pa.Table:
    """Flat columns only: what nested ones unpack to cannot be told beforehand."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    limits = body.limits
    try:
        source = pa.BufferReader(body.content)
        meta = pq.read_metadata(source)
        if meta.num_rows > limits.rows:
            raise limits.too_many_rows()
        if meta.num_columns > limits.columns:
            raise limits.too_many_columns()
        size = 0
        for page in pages(body.content, meta):
            size += page.unpacked
            if size > limits.unpacked_bytes:
                raise limits.too_much()
            if page.shared_prefixes:
                raise RequestError(
                    "the Parquet file keeps texts as differences from each other (DELTA_BYTE_ARRAY)",
                    hint="write it with another encoding, such as the default one",
                )
        schema = meta.schema.to_arrow_schema()
        nested = next((field.name for field in schema if pa.types.is_nested(field.type)), None)
        if nested is not None:
            raise RequestError(f'the column "{nested}" is nested', hint="send it as NDJSON")
        # Texts that repeat are stored once: they are counted before they are written out.
        texts = [field.name for field in schema if _is_bytes(field.type)]
        file = pq.ParquetFile(pa.BufferReader(body.content), read_dictionary=texts)
        batches, size = [], 0
        for batch in file.iter_batches(batch_size=16384, use_threads=False):
            size += sum(_unpacked(column) for column in batch.columns)
            if size > limits.unpacked_bytes:
                raise limits.too_much()
            batches.append(batch)
        table = pa.Table.from_batches(batches, file.schema_arrow).cast(schema.remove_metadata())
        return columns.checked(table.drop_columns(_unnamed_index(schema)), limits)
    except pa.ArrowMemoryError as error:
        raise MemoryLimitError("the rows need more memory than there is", hint="send them in parts") from error
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        if "malloc" in str(error):
            raise MemoryLimitError("the rows need more memory than there is", hint="send them in parts") from error
        raise RequestError(f"the Parquet file cannot be read: {str(error).splitlines()[0][:300]}") from error


def _unnamed_index(schema: pa.Schema) -> list[str]:
    """The columns in which pandas has kept an index without a name: row numbers, and no column of the user's
    (https://arrow.apache.org/docs/python/pandas.html#handling-pandas-indexes)."""
    indexes = (schema.pandas_metadata or {}).get("index_columns", [])
    return [name for name in indexes if isinstance(name, str) and _INDEX.fullmatch(name) and name in schema.names]


def _is_bytes(kind: pa.DataType) -> bool:
    from pyarrow import types

    return any(
        test(kind)
        for test in (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary)
    )


def _unpacked(column: pa.Array) -> int:
    """The bytes of a column when each cell stands for itself."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths = pc.binary_length(column.dictionary).take(column.indices)
    return int(pc.sum(lengths.cast(pa.int64())).as_py() or 0)


# Forms --------------------------------------------------------------------------------------------------------


def _form(body: _Body) -> pa.Table:
    """What a browser's form sends; also whatever curl -d sends, which always claims this type."""
    found = _by_content(body)
    if found is not None:
        return found(body)
    text = body.decoded()
    if "\n" in text.strip() and "=" not in text.split("\n", 1)[0]:
        return _csv(body)
    try:
        pairs = parse_qsl(
            text,
            keep_blank_values=True,
            strict_parsing=True,
            max_num_fields=body.limits.cells,
            errors="strict",
        )
    except (ValueError, UnicodeDecodeError) as error:
        raise RequestError(f"the body is neither JSON nor a form: {error}", hint=_WITHOUT_BREAKS) from error
    return columns.from_pairs(pairs, body.limits)


def _files(body: _Body) -> pa.Table:
    """The files of a multipart form, one after the other."""
    import python_multipart

    pairs: list[tuple[str, str]] = []
    tables: list[pa.Table] = []

    def text(value: bytes | None) -> str:
        return (value or b"").decode("utf-8", "replace")

    def field(one: Any) -> None:
        pairs.append((text(one.field_name), text(one.value)))

    def file(one: Any) -> None:
        one.file_object.seek(0)
        kind = getattr(one, "content_type", None) or ""
        tables.append(_file(text(one.file_name), kind, one.file_object.read(), body))

    boundary = body.parameters.get("boundary")
    if not boundary:
        raise RequestError("the form's type names no boundary")
    quoted = boundary.replace("\\", "\\\\").replace('"', '\\"')
    headers = {"Content-Type": f'multipart/form-data; boundary="{quoted}"'.encode("latin-1")}
    try:
        parser = python_multipart.create_form_parser(
            headers,
            field,
            file,
            config={"MAX_MEMORY_FILE_SIZE": body.limits.bytes, "MAX_BODY_SIZE": body.limits.bytes},
        )
        parser.write(body.content)
        parser.finalize()
    except (python_multipart.exceptions.FormParserError, UnicodeDecodeError) as error:
        raise RequestError(f"the form cannot be read: {error}") from error
    if not tables and not pairs:
        raise RequestError("the form is empty, or not complete")
    if not tables:
        return columns.from_pairs(pairs, body.limits)
    if pairs:
        raise RequestError(
            f'the form field "{pairs[0][0]}" stands beside a file', hint="options belong into the URL"
        )
    return columns.appended(tables, body.limits)


def _file(name: str, content_type: str, content: bytes, form: _Body) -> pa.Table:
    """One file of a form: what it is says its name, else its type, else its content."""
    suffix = PurePath(name).suffix.lower()
    media, parameters = _content_type(content_type)
    body = _Body(content, parameters, form.limits, form.text)
    reader = _SUFFIXES.get(suffix) if suffix else _READERS.get(media or "")
    if reader is None:
        raise MediaTypeError(f'files like "{name}" are not read', hint=f"send {_KNOWN}")
    if not content.strip():
        raise RequestError(f'the file "{name}" is empty')
    return reader(body)


def read_file(name: str, content: bytes, limits: BodyLimits) -> pa.Table:
    """The rows of a file; what it is says its name. Raises as `read` does."""
    return _file(name, "", content, _Body(content, {}, limits))


def _by_content(body: _Body) -> _Reader | None:
    """The reader for content that can be told by how it begins."""
    if body.content.startswith(_PARQUET):
        return _parquet
    if body.content.startswith(_ZIP):
        return _xlsx
    begin = body.content[:64].removeprefix(codecs.BOM_UTF8).lstrip()
    return _any_json if begin[:1] in (b"[", b"{") else None


def _unnamed(body: _Body) -> pa.Table:
    """A body without a telling type."""
    found = _by_content(body)
    if found is None:
        raise MediaTypeError("the body's type cannot be told", hint="say it: Content-Type: text/csv")
    return found(body)


_SHEET = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_READERS: dict[str, _Reader] = {
    "application/json": _json,
    "text/json": _json,
    **dict.fromkeys(
        ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/jsonlines"), _ndjson
    ),
    "text/csv": _csv,
    "application/csv": _csv,
    "text/tab-separated-values": _tsv,
    _SHEET: _xlsx,
    **dict.fromkeys(
        ("application/vnd.apache.parquet", "application/parquet", "application/x-parquet"), _parquet
    ),
    "application/x-www-form-urlencoded": _form,
    "multipart/form-data": _files,
    **dict.fromkeys(("", "application/octet-stream", "text/plain"), _unnamed),
}
_SUFFIXES: dict[str, _Reader] = {
    ".json": _any_json,
    ".ndjson": _ndjson,
    ".jsonl": _ndjson,
    ".csv": _csv,
    ".tsv": _tsv,
    ".xlsx": _xlsx,
    ".parquet": _parquet,
}
