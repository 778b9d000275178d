"""Owns the forms in which predictions leave: `list`, `records`, `csv`, `arrow`."""

from __future__ import annotations

import io
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import Response

from mindsql.server.http.answers import ARROW, CSV, JSON, NDJSON
from mindsql.server.http.answers import form as media_type

if TYPE_CHECKING:
    import pyarrow as pa

FORMS = ("list", "records", "csv", "arrow")
MEDIA = {"records": NDJSON, "csv": CSV, "arrow": ARROW}


def wished(accept: str | None) -> str:
    """The form to answer in when the query string names none."""
    return {ARROW: "arrow", CSV: "csv", NDJSON: "records"}.get(media_type(accept) or "", "list")


def predictions(
    rows: pa.Table, fitted: pa.Table, target: str, answers: pa.ChunkedArray, form: str
) -> Response:
    """An answer to posted rows.

    Args:
        rows: As they were posted.
        fitted: Those of their columns that the model takes, typed.
        target: The name of the predicted column; it takes the place of a posted one.
        answers: One for each row.
        form: One of `FORMS`; all but `list` carry the rows with the predictions.
    """
    if form == "list":
        return Response(dumps(answers.to_pylist()), media_type=JSON)
    table = rows
    known = {name.casefold(): name for name in fitted.column_names}
    for place, name in enumerate(rows.column_names):
        if name.casefold() in known:
            table = table.set_column(place, name, fitted.column(known[name.casefold()]))
    same = [name for name in table.column_names if name.casefold() == target.casefold()]
    table = table.drop_columns(same).append_column(target, answers)
    if form == "records":
        return Response(dumps(table.to_pylist()), media_type=JSON)
    return Response(_csv(table) if form == "csv" else _arrow(table), media_type=MEDIA[form])


def _csv(table: pa.Table) -> bytes:
    import pyarrow as pa
    from pyarrow import csv

    for place, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):
            texts = [
                None if cell is None else dumps(cell).decode() for cell in table.column(place).to_pylist()
            ]
            table = table.set_column(place, field.name, pa.array(texts, pa.string()))
    sink = io.BytesIO()
    csv.write_csv(table, sink)
    return sink.getvalue()


def _arrow(table: pa.Table) -> bytes:
    import pyarrow as pa

    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def dumps(value: Any) -> bytes:
    """JSON: decimals keep their digits, what JSON has no form for is text."""
    return orjson.dumps(value, default=_default)


def _default(value: Any) -> Any:
    return orjson.Fragment(str(value)) if isinstance(value, Decimal) and value.is_finite() else str(value)
