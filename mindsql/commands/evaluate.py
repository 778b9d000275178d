"""Owns EVALUATE: a metric over a query's `actual` and `prediction`, or a model over rows it has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import mindsql_grammar as grammar
from mindsql import metrics, queries
from mindsql.commands import names
from mindsql.commands.answers import table
from mindsql.commands.training_rows import read_rows, stored_rows
from mindsql.engine import Option
from mindsql.errors import DataError, StatementError
from mindsql.execution import ExecutionContext
from mindsql.options import typed
from mindsql.result import Result
from mindsql.snapshot import DEFAULT_PROJECT

if TYPE_CHECKING:
    import pyarrow as pa

    from mindsql.session import Session

_SEEN = (
    "these are the rows of the training query: of rows that a model was trained on it answers better than of others",
)
_DECIMALS = Option("n_decimals", "integer", minimum=0, description="digits after the point")


def evaluate(
    session: Session, statement: grammar.Evaluate, parameters: Mapping[str, Any], execution: ExecutionContext
) -> Result:
    """EVALUATE. Without the word MODEL, a name is a model if there is one, else a metric."""
    is_model = statement.is_model
    if is_model is None:
        snapshot = session.snapshot()
        name = statement.name[-1]
        is_model = len(statement.name) > 1 or any(
            snapshot.model(project, name) is not None for project in (session.project, DEFAULT_PROJECT)
        )
        if not is_model and metrics.find(name) is None:
            raise metrics.unknown(name, [m.name for m in snapshot.models])
    if is_model:
        return _model(session, statement, parameters, execution)
    return _metric(session, statement, parameters, execution)


def _metric(
    session: Session, statement: grammar.Evaluate, parameters: Mapping[str, Any], execution: ExecutionContext
) -> Result:
    metric = metrics.require(statement.name[-1])
    if statement.rows is None:
        raise StatementError(
            f"EVALUATE {statement.name[-1]} needs a query",
            hint=f"EVALUATE {statement.name[-1]} FROM (SELECT … AS actual, … AS prediction FROM …)",
        )
    options = {option.key.casefold(): option.value for option in statement.options}
    decimals = options.pop(_DECIMALS.name, None)
    data = _rows(session, statement.rows, parameters, execution)
    folded = {name.casefold(): name for name in data.column_names}
    for wanted in ("actual", "prediction"):
        if wanted not in folded:
            raise StatementError(
                f'the query of EVALUATE gives no column "{wanted}"',
                hint=f"name it: SELECT … AS {wanted}; it gives: {', '.join(data.column_names)}",
            )
    actual, prediction = data.column(folded["actual"]), data.column(folded["prediction"])
    if actual.null_count or prediction.null_count:
        raise DataError(
            f"{actual.null_count} actual and {prediction.null_count} predicted values are NULL",
            hint="leave them out: WHERE … IS NOT NULL",
        )
    if not len(actual):
        raise DataError("the query of EVALUATE gives no rows")
    left, right = actual.to_pylist(), prediction.to_pylist()
    note = metrics.check_labels(metric, left, right)
    value = metrics.score(metric, left, right, options)
    if decimals is not None:
        value = round(value, typed(_DECIMALS, decimals))
    return table([(statement.name[-1], "DOUBLE")], [(value,)], (note,) if note else ())


def _model(
    session: Session, statement: grammar.Evaluate, parameters: Mapping[str, Any], execution: ExecutionContext
) -> Result:
    if statement.options:
        raise StatementError(
            f"EVALUATE of a model takes no USING {statement.options[0].key}",
            span=(statement.options[0].span.start, statement.options[0].span.end),
        )
    model = names.model(session, statement.name)
    version = model.version(statement.version)
    summary = version.summary
    columns = [("metric", "VARCHAR"), ("score", "DOUBLE")]
    if statement.rows is None:
        held = summary.get("metrics") or {}
        if not held:
            raise StatementError(
                f'the model "{model.name}" kept no scores of its training',
                hint=f"EVALUATE {model.name} FROM (SELECT … rows it has not seen …)",
            )
        baseline = summary.get("baseline") or {}
        return table(
            [*columns, ("baseline", "DOUBLE")],
            [(name, value, baseline.get(name)) for name, value in held.items()],
        )
    execution.check()
    task = version.task
    if not metrics.for_task(task):
        raise StatementError(f'the model "{model.name}" has no task with a score: its task is {task}')
    target = grammar.quote(version.target)
    output = grammar.quote(version.outputs[0].name)
    explain = version.outputs.find(f"{version.outputs[0].name}_explain") if task == "classification" else None
    rows = statement.rows
    source = (
        f"{grammar.quote_name(rows.native.source)} ({rows.native.text})"
        if rows.native is not None
        else f"({rows.text})"
    )
    beside = f", m.{grammar.quote(explain.name)} AS explain" if explain is not None else ""
    text = (
        f"SELECT t.{target} AS actual, m.{output} AS prediction{beside} FROM {source} AS t "
        f"JOIN {grammar.quote_name((model.project, model.name))}.{version.number} AS m"
    )
    session.attach_sources(rows.text)
    query = grammar.parse_query(text)
    data, schema = queries.rows(session, query, parameters, execution)
    if schema[0].family not in (schema[1].family, "other"):
        raise DataError(
            f'the column "{version.target}" of the rows is {schema[0].type}, and the model answers {schema[1].type}',
            hint=f"CAST({version.target} AS {schema[1].type})",
        )
    known = data.filter(data.column("actual").is_valid())
    if not known.num_rows:
        raise DataError(f'no row of the query has a "{version.target}" to compare with')
    unknown = known.column("prediction").null_count
    if unknown:
        raise DataError(
            f"{unknown} of {known.num_rows} predictions are NULL, and NULL is no answer to score",
            hint="leave these rows out of the query",
        )
    actual, prediction = known.column("actual").to_pylist(), known.column("prediction").to_pylist()
    scores = [(metric.name, metrics.score(metric, actual, prediction, {})) for metric in metrics.for_task(task)]
    found = metrics.probabilities(known.column("explain").to_pylist()) if explain is not None else None
    if found is not None:
        classes, matrix = found
        for name in ("log_loss", "roc_auc"):
            with suppress(DataError):  # some values only
                scores.append((name, metrics.score(metrics.METRICS[name], actual, matrix, {}, classes)))
    scores.append(("rows", float(known.num_rows)))
    return table(columns, scores, _SEEN if stored_rows(version) == rows else ())


def _rows(session: Session, rows: grammar.Rows, parameters: Mapping[str, Any], execution: ExecutionContext) -> pa.Table:
    data, _ = read_rows(session, rows, parameters, execution)
    assert data is not None
    return data
