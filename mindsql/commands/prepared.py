"""Owns PREPARE, EXECUTE and DEALLOCATE of queries that ask a model; all others are DuckDB's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import mindsql_grammar as grammar
from mindsql import database, queries
from mindsql.batches import Batches
from mindsql.binder.binder import used_parameters
from mindsql.commands import writing
from mindsql.commands.answers import done
from mindsql.errors import MindSQLError, StatementError
from mindsql.execution import ExecutionContext
from mindsql.parameters import named
from mindsql.result import Result

if TYPE_CHECKING:
    from mindsql.session import Session

_MOST = 4 << 20
"""Characters of the statements that one session may keep prepared."""


def prepare(
    session: Session, statement: grammar.Prepare, parameters: Mapping[str, Any], execution: ExecutionContext
) -> Result | None:
    """PREPARE. None when nothing in the query is ours."""
    key = statement.name.casefold()
    if not session.names_ours(statement.query_text):
        session.prepared.pop(key, None)
        return None
    if parameters:
        raise StatementError("PREPARE takes no values", hint=f"give them to it: EXECUTE {statement.name} (…)")
    writes = writing.target(session, statement.query, statement.query_text) is not None
    if not writes and not used_parameters(statement.query):
        queries.prepare(session, statement.query, None, {})  # what cannot be planned is refused now
    kept = {**session.prepared, key: statement.query_text}
    if sum(map(len, kept.values())) > _MOST:
        raise StatementError(
            "the prepared statements of this session are too long", hint="DEALLOCATE those that are no longer needed"
        )
    session.prepared = kept
    return done(f'"{statement.name}" is prepared')


def execute(
    session: Session, statement: grammar.Execute, parameters: Mapping[str, Any], execution: ExecutionContext
) -> Result | None:
    """EXECUTE. None when the prepared statement is not ours."""
    text = session.prepared.get(statement.name.casefold())
    if text is None:
        return None
    values = _values(session, statement, parameters)
    try:
        plan = queries.kept_plan(session, text, values)
        if plan is None:
            query = grammar.parse_query(text)
            _check_given(statement, query, values)
            written = writing.write(session, query, text, values, execution)
            if written is not None:
                return written
            plan = queries.prepare(session, query, text, values)
            if plan is None:  # the model was dropped, and a table has its name now
                rows, schema = queries.rows(session, query, values, execution)
                return Result.of(batches=Batches(rows.schema, iter(rows.to_batches())), schema=schema)
        return queries.answer(session, plan, values, execution)
    except MindSQLError as error:
        error.span = None  # its place is in the text of PREPARE
        raise


def prepared_query(
    session: Session, statement: grammar.Execute, parameters: Mapping[str, Any]
) -> tuple[grammar.Query, Mapping[str, Any]] | None:
    """The query that EXECUTE would run, and its values. None when the prepared statement is not ours."""
    text = session.prepared.get(statement.name.casefold())
    if text is None:
        return None
    query, values = grammar.parse_query(text), _values(session, statement, parameters)
    _check_given(statement, query, values)
    return query, values


def _check_given(statement: grammar.Execute, query: grammar.Query, values: Mapping[str, Any]) -> None:
    missing = sorted(used_parameters(query) - set(values))
    if missing:
        name = missing[0]
        value = f"{statement.name}(value, …)" if name[1:].isdigit() else f"{statement.name}({name} := value, …)"
        shown = name[1:] if name[1:].isdigit() else name
        raise StatementError(f"the parameter ${shown} has no value", hint=f"give it: EXECUTE {value}")


def deallocate(
    session: Session, statement: grammar.Deallocate, parameters: Mapping[str, Any], execution: ExecutionContext
) -> Result | None:
    """DEALLOCATE. None when the prepared statement is not ours."""
    if session.prepared.pop(statement.name.casefold(), None) is None:
        return None
    return done(f'"{statement.name}" is no longer prepared')


def _values(session: Session, statement: grammar.Execute, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values of EXECUTE, as DuckDB reads them."""
    if not statement.arguments:
        return {}
    sql = f"SELECT {', '.join(text for _, text in statement.arguments)}"
    wanted = {name: value for name, value in parameters.items() if f"${name}" in sql}
    try:
        if session.settings.inspect is not None:
            session.settings.inspect(session.raw, sql, wanted)
        (row,) = database.rows(session.raw, sql, wanted)
    except MindSQLError as error:
        error.span = None  # its place is in a text that the user has not written
        raise
    return named({name: value for (name, _), value in zip(statement.arguments, row, strict=True)})
