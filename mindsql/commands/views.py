"""Owns CREATE VIEW and DROP VIEW for views that name a model or a source; all others are DuckDB's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import mindsql_grammar as grammar
from mindsql import queries
from mindsql.commands import names
from mindsql.commands.answers import done
from mindsql.errors import CatalogError, StatementError
from mindsql.execution import ExecutionContext
from mindsql.planner import plan
from mindsql.result import Result
from mindsql.snapshot import View

if TYPE_CHECKING:
    from mindsql.session import Session


def create(
    session: Session, statement: grammar.CreateView, parameters: Mapping[str, Any], execution: ExecutionContext
) -> Result | None:
    """CREATE VIEW. None when nothing in it is ours."""
    bound = queries.binder(session, parameters).bind(statement.query)
    old = _old(session, statement)
    if bound is None and old is None:
        return None
    if bound is not None:
        plan(bound)  # a view that cannot be planned is refused now, not when it is read
    else:
        session.describe(parameters)(statement.query_text)
    if "$" in statement.query_text and parameters:
        raise StatementError("a view cannot have parameters", hint="write the values into its text")
    project, name = names.split(session, statement.name)
    if old is not None and not statement.or_replace:
        if statement.if_not_exists:
            return done(f'the view "{name}" exists already')
        raise CatalogError(f'the view "{name}" exists already', hint=f"CREATE OR REPLACE VIEW {name} AS …")
    if session.snapshot().model(project, name) is not None or session.is_table(name):
        raise CatalogError(f'"{name}" is the name of a model or table already', hint="choose another name")
    with session.writing() as catalog:
        if old is not None:
            catalog.drop_view(old)
        catalog.add_view(View(project, name, statement.query_text))
    return done(f'the view "{name}" is created')


def _old(session: Session, statement: grammar.CreateView) -> View | None:
    try:
        return session.snapshot().view(*names.split(session, statement.name))
    except StatementError:
        return None  # a name in a schema of DuckDB's


def drop(session: Session, statement: grammar.Drop) -> Result | None:
    """DROP VIEW. None when the view is not ours."""
    try:
        project, name = names.split(session, statement.name)
    except StatementError:
        return None
    view = session.snapshot().view(project, name)
    if view is None:
        return None
    with session.writing() as catalog:
        catalog.drop_view(view)
    return done(f'the view "{view.name}" is dropped')
