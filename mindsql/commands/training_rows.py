"""Owns the rows of a training: which a statement or a version means, how they are read, and a sample of them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import mindsql_grammar as grammar
from mindsql import queries
from mindsql.execution import ExecutionContext
from mindsql.frames import compact
from mindsql.schema import Schema
from mindsql.snapshot import Version

if TYPE_CHECKING:
    import pyarrow as pa

    from mindsql.session import Session


def read_rows(
    session: Session,
    rows: grammar.Rows | None,
    parameters: Mapping[str, Any],
    execution: ExecutionContext,
    small: bool = False,
    most: int | None = None,
) -> tuple[pa.Table | None, Schema]:
    """The training rows, as a `compact` table if it shall be `small`. Raises what the query raises.

    Of more than `most` rows DuckDB keeps a sample while they stream.
    """
    import pyarrow as pa

    if rows is None:
        return None, Schema()
    if most is not None:
        rows = _sampled(rows, most)
    execution.report("reading rows", 0, None, "rows", time.monotonic())
    if rows.native is not None:
        source = session.source(rows.native.source[0])
        read = source.read(rows.native.text)
        schema = source.describe(rows.native.text)
        if small:
            return compact(read.batches, read.schema), schema
        return pa.Table.from_batches(list(read.batches), read.schema), schema
    assert rows.query is not None
    session.attach_sources(rows.text)
    return queries.rows(session, rows.query, parameters, execution, small)


def own_rows(session: Session, rows: grammar.Rows | None) -> grammar.Rows | None:
    """The rows of a statement; those FROM a project are a query of ours, not one of a source."""
    if rows is None or rows.native is None or session.snapshot().own_query(rows.native.source) is None:
        return rows
    text = _from_source(rows.native)
    return grammar.Rows(query=grammar.parse_query(text), text=text)


def stored_rows(version: Version) -> grammar.Rows | None:
    """The training rows of a version, as they were asked for."""
    if version.query is None:
        return None
    source = version.settings.get("source")
    if source is not None:
        return grammar.Rows(native=grammar.Native(tuple(source), version.query), text=version.query)
    return grammar.Rows(query=grammar.parse_query(version.query), text=version.query)


def _sampled(rows: grammar.Rows, most: int) -> grammar.Rows:
    text = rows.text if rows.native is None else _from_source(rows.native)
    text = f"SELECT * FROM ({text}\n) AS every TABLESAMPLE reservoir({most} ROWS) REPEATABLE (1)"
    return grammar.Rows(query=grammar.parse_query(text), text=text)


def _from_source(native: grammar.Native) -> str:
    return f"SELECT * FROM {grammar.quote_name(native.source)} ({native.text})"
