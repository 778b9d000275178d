"""Owns EXPLAIN [ANALYZE] of a query with models; of other queries it is DuckDB's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import mindsql_grammar as grammar
from mindsql import queries
from mindsql.cluster.shipping import distribution
from mindsql.commands.answers import table
from mindsql.commands.prepared import prepared_query
from mindsql.database import quote
from mindsql.errors import StatementError
from mindsql.execution import ExecutionContext
from mindsql.executor.elsewhere import Elsewhere
from mindsql.executor.pipeline import BATCH_ROWS
from mindsql.planner import Operator
from mindsql.planner import explain as explain_plan
from mindsql.result import Result

if TYPE_CHECKING:
    from mindsql.session import Session

_COLUMNS = [("explain_key", "VARCHAR"), ("explain_value", "VARCHAR")]


def explain(
    session: Session, statement: grammar.Explain, parameters: Mapping[str, Any], execution: ExecutionContext
) -> Result | None:
    """EXPLAIN: the plan as text. ANALYZE runs it and adds each operator's rows, batches, seconds and engine calls."""
    query = statement.statement
    if isinstance(query, grammar.Execute):
        found = prepared_query(session, query, parameters)
        if found is None:
            return None
        query, parameters = found
    if not isinstance(query, grammar.Query):
        if isinstance(query, grammar.DuckDB):
            return None
        raise StatementError(
            "EXPLAIN shows the plan of a query",
            hint="EXPLAIN SELECT …; a CREATE MODEL's own query can be explained",
        )
    plan = queries.prepare(session, query, None, parameters)
    if plan is None:
        return None
    if not statement.analyze:
        elsewhere = distribution(session, plan, parameters, execution)
        text = explain_plan(elsewhere.plan if elsewhere is not None else plan, placed=_placed(elsewhere))
        return table(_COLUMNS, [("plan", _named(session, text))])
    run = queries.start(session, plan, parameters, execution, measure=True)
    answer = Result.of(
        raw=run.answer.raw, batches=run.answer.batches, schema=plan.schema or None, streams=run.answer.streams
    )
    rows = sum(batch.num_rows for batch in answer.reader()) if plan.schema else len(answer.fetchall())
    figures = run.figures or {}
    finish = figures.get(id(run.plan.root))
    if finish is not None:
        finish.rows, finish.batches = rows, -(-rows // BATCH_ROWS)
    text = explain_plan(run.plan, lambda operator: str(figures.get(id(operator), "")), _placed(run.executor.elsewhere))
    execution.close()
    return table(_COLUMNS, [("plan", "\n".join([_named(session, text), *session.told, f"rows: {rows}"]))])


def _placed(elsewhere: Elsewhere | None) -> Callable[[Operator], str]:
    return elsewhere.place if elsewhere is not None else lambda operator: ""


def _named(session: Session, text: str) -> str:
    """A plan with the names that tables of sources have for the user."""
    for name, shown in session.shown.items():
        text = text.replace(quote(name), shown)
    return text
