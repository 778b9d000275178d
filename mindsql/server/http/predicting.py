"""Owns asking a model for the rows of a request; single rows of the plainest kind are `gather`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mindsql_grammar as grammar
from mindsql.server.http.stored import POSTED
from mindsql.server.service import RemoteSession
from mindsql.snapshot import Version

if TYPE_CHECKING:
    import pyarrow as pa

_PLAIN = frozenset({"number", "boolean", "text", "time"})


def predict(session: RemoteSession, version: Version, rows: pa.Table, output: str | None = None) -> pa.ChunkedArray:
    """A model's answers, one for each row, in order. Blocks.

    Args:
        session: Whose right to ask is checked.
        version: The model's version that answers.
        rows: Its inputs, as `inputs.fit` gives them.
        output: Which of its outputs; the target when not said.

    Raises:
        MindSQLError: What SELECT raises.
    """
    import pyarrow as pa

    wanted = grammar.quote(output or version.outputs[0].name)
    model = f"{grammar.quote_name((version.project, version.model))}.{version.number}"
    try:
        if rows.num_rows == 0:
            return pa.chunked_array([pa.array([], pa.null())])
        if rows.num_rows == 1 and all(column.family in _PLAIN for column in version.inputs):
            return _one(session, version, f"SELECT {wanted} FROM {model}", rows)
        session.connection.register(POSTED, rows)
        try:
            text = f"SELECT m.{wanted} FROM {POSTED} AS t JOIN {model} AS m"
            return session.execute(text).arrow().column(0)
        finally:
            session.connection.unregister(POSTED)
    finally:
        session.end()


def _one(session: RemoteSession, version: Version, select: str, rows: pa.Table) -> pa.ChunkedArray:
    """One row by WHERE: its text is the same for each row with the same NULLs, so its plan is made once."""
    values = [column[0].as_py() for column in rows.columns]
    terms, parameters = [], {}
    for number, (column, value) in enumerate(zip(rows.column_names, values, strict=True)):
        name = grammar.quote(column)
        if value is None:
            terms.append(f"{name} IS NULL")
        else:
            terms.append(f"{name} = $p{number}")
            parameters[f"p{number}"] = value
    where = f" WHERE {' AND '.join(terms)}" if terms else ""
    return session.execute(f"{select}{where}", parameters or None).arrow().column(0)
