"""Owns the proof that a model's SQL answers as its engine does, on a sample of its rows and on edge values.

Only a translation that passes is stored with its version; a wrong fast answer is worse than a slow one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from sqlglot import expressions as exp

from mindsql import database, duckdb_errors
from mindsql.binder.tree import column, generate, table
from mindsql.database import DuckDBConnection, quote
from mindsql.engine import Translation
from mindsql.errors import MindSQLError
from mindsql.planner.translation import with_model
from mindsql.schema import Column, Schema

if TYPE_CHECKING:
    import pyarrow as pa

TOLERANCE = 1e-9
_SAMPLE_ROWS = 2000
_EDGE_ROWS = 2
_MANY_INPUTS = 50
"""With more inputs, each edge value is tried in one row only."""
_VIEW = "__mindsql_sample"
_EDGES = {
    "number": (
        "NULL",
        "0",
        "-1",
        "1",
        "127",
        "-128",
        "2147483647",
        "1e30",
        "-1e30",
        "'nan'",
        "'inf'",
        "'-inf'",
    ),
    "boolean": ("NULL", "true", "false"),
    "text": ("NULL", "''", "'never seen before'", "'0'", "' 1.5 '", "'nan'", "'it''s \"quoted\" Ünïcode'"),
    "time": ("NULL", "'1900-01-01'", "'2262-01-01'", "'2000-02-29'"),
}


def prove(
    raw: DuckDBConnection,
    translation: Translation,
    inputs: Schema,
    outputs: Schema,
    rows: pa.Table,
    answer: Callable[[pa.RecordBatch, Sequence[str]], Sequence[pa.Array]],
) -> str | None:
    """Compare a translation with its engine.

    Args:
        raw: A connection of DuckDB's that nothing else uses.
        translation: The model as SQL.
        inputs, outputs: The version's columns.
        rows: Rows of the inputs, as the model was trained on them.
        answer: The engine: a batch of inputs and the names of outputs in, one array for each output out.

    Returns:
        None when they agree, else what they differ in.
    """
    names = [item.name for item in outputs if item.name in translation.outputs]
    sample = _sample(raw, inputs, rows)
    raw.register(_VIEW, sample)
    try:
        computed = database.table(raw, query(translation, inputs, outputs, names, _VIEW))
        batch = sample.combine_chunks().to_batches()[0]
        expected = answer(batch, names)
    except MindSQLError as error:
        return f"an edge value fails: {error.message.splitlines()[0]}"
    finally:
        with duckdb_errors.ignored():
            raw.unregister(_VIEW)
    for name, left in zip(names, expected, strict=True):
        row = _first_difference(computed.column(name), left)
        if row is not None:
            inputs_text = {item.name: batch.column(i)[row].as_py() for i, item in enumerate(inputs)}
            return (
                f"{name} is {computed.column(name)[row].as_py()!r} in SQL and {left[row].as_py()!r} "
                f"by the engine for {inputs_text}"
            )
    return None


def query(
    translation: Translation, inputs: Schema, outputs: Schema, names: Sequence[str], source: str
) -> str:
    """The SELECT that computes outputs of a translation over a relation of its inputs."""
    projections = [exp.alias_(column(item.name), item.name, quoted=True) for item in inputs]
    scan = exp.Select(expressions=projections, from_=exp.From(this=table(source)))
    form = {"steps": translation.steps, "outputs": translation.outputs}
    sources = {item.name: item.name for item in inputs}
    # The outputs may have the inputs' names: only they are wanted.
    wanted = {name: f"output {number}" for number, name in enumerate(names)}
    every = with_model(scan, form, inputs, outputs, sources, wanted)
    picked = [exp.alias_(column(inside), name, quoted=True) for name, inside in wanted.items()]
    every.set("expressions", every.expressions[-len(picked) :] if picked else every.expressions)
    return generate(exp.Select(expressions=picked, from_=exp.From(this=exp.Subquery(this=every))))


def _sample(raw: DuckDBConnection, inputs: Schema, rows: pa.Table) -> pa.Table:
    """Rows spread over the table, then each edge value in a few of them, then a row of NULLs."""
    import pyarrow as pa

    step = max(1, rows.num_rows // _SAMPLE_ROWS)
    picked = rows.select(inputs.names).take(list(range(0, rows.num_rows, step))[:_SAMPLE_ROWS])
    raw.register(_VIEW, picked)
    plain = ", ".join(f"CAST({quote(c.name)} AS {c.type}) AS {quote(c.name)}" for c in inputs)
    try:
        base = database.table(raw, f"SELECT {plain} FROM {quote(_VIEW)}").combine_chunks()
    finally:
        raw.unregister(_VIEW)
    edges = {item.type: _edges(raw, item) for item in inputs}
    few = min(base.num_rows, _EDGE_ROWS if len(inputs) <= _MANY_INPUTS else 1)
    ends = list(accumulate((few * len(edges[item.type]) for item in inputs), initial=0))
    tile = pa.array([row % few for row in range(ends[-1])], pa.int32())
    columns = []
    for number, item in enumerate(inputs):
        column = base.column(number).combine_chunks()
        own = edges[item.type]
        repeated = own.take(pa.array([at for at in range(len(own)) for _ in range(few)], pa.int32()))
        others = column.take(tile)
        start, end = ends[number], ends[number + 1]
        parts = [column, others.slice(0, start), repeated, others.slice(end), pa.nulls(1, column.type)]
        columns.append(pa.chunked_array(parts, column.type))
    return pa.Table.from_arrays(columns, names=inputs.names)


def _edges(raw: DuckDBConnection, item: Column) -> pa.Array:
    """The edge values of a type; a value that does not fit it (infinity in an INTEGER) becomes NULL."""
    values = ", ".join(f"(TRY_CAST({value} AS {item.type}))" for value in _EDGES.get(item.family, ("NULL",)))
    return database.table(raw, f"SELECT v FROM (VALUES {values}) AS e(v)").column(0).combine_chunks()


def _first_difference(left: pa.ChunkedArray, right: pa.Array) -> int | None:
    import math

    for row, (one, other) in enumerate(zip(left.to_pylist(), right.to_pylist(), strict=True)):
        if one == other:
            continue
        if isinstance(one, float) and isinstance(other, float):
            if math.isnan(one) and math.isnan(other):
                continue
            if math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
                continue
        return row
    return None
