"""Owns SHOW: each is a SELECT from a system table, with LIKE and WHERE as its conditions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

import mindsql_grammar as grammar
from mindsql import database
from mindsql.binder.tree import generate
from mindsql.database import literal
from mindsql.engine import Task
from mindsql.errors import UnknownNameError
from mindsql.execution import ExecutionContext
from mindsql.result import Result
from mindsql.snapshot import PROJECT_ALIASES, Snapshot
from mindsql.system import values

if TYPE_CHECKING:
    from mindsql.session import Session

_SYSTEM = ("models", "loaded models", "ml_engines", "handlers", "estimators", "databases", "projects", "views")
_PICKED = {
    "models": "name, version, status, engine, estimator, predict AS target, "
    "system.main.round(accuracy, 4) AS accuracy",
    "loaded models": "name, version, engine, runs_in, pid, memory // 1_048_576 AS megabytes, calls, since",
    "estimators": "name, task, accepts_missing, as_sql, finetune, description",
}
"""What SHOW shows of a table, as fits a terminal; `information_schema` has all."""
_OF_PROJECT = ("models", "loaded models", "views")


def show(
    session: Session, statement: grammar.Show, parameters: Mapping[str, Any], execution: ExecutionContext
) -> Result | None:
    """SHOW MODELS, LOADED MODELS, ML_ENGINES, HANDLERS, DATABASES, PROJECTS, TABLES, VIEWS."""
    snapshot = session.snapshot()
    terms: list[str] = []
    if statement.what in _SYSTEM:
        query = session.system_table("information_schema", statement.what.replace(" ", "_"), as_text=True)
        assert query is not None
        if statement.what == "databases":
            aliases = [literal(alias) for alias in PROJECT_ALIASES if alias not in snapshot.projects]
            terms += [f"name <> {alias}" for alias in aliases]
        if statement.source is not None:
            terms.append(f"project = {literal(_project(snapshot, '.'.join(statement.source)))}")
            if statement.what not in _OF_PROJECT:
                raise UnknownNameError(f"SHOW {statement.what.upper()} takes no FROM")
    elif statement.source is None and statement.like is None and statement.where is None:
        return None  # SHOW TABLES alone is DuckDB's
    else:
        query = _tables(session, snapshot, ".".join(statement.source) if statement.source else None)
    if statement.like is not None:
        terms.append(f"name ILIKE {literal(statement.like)}")
    if statement.where is not None:
        terms.append(f"({generate(statement.where)})")
    if statement.task is not None:
        terms.append(f"task = {literal(_task(statement.task))}")
    where = f" WHERE {' AND '.join(terms)}" if terms else ""
    picked = _PICKED.get(statement.what, "*")
    database.open_result(session.raw, f"SELECT {picked} FROM ({query}) AS t{where} ORDER BY ALL")
    return Result.of(raw=session.raw, close=execution.close)


def _task(name: str) -> str:
    tasks = [task for task in get_args(Task) if task != "other"]
    if name not in tasks:
        raise UnknownNameError.of("task", name, tasks)
    return name


def _project(snapshot: Snapshot, name: str) -> str:
    project = snapshot.project(name)
    if project is None:
        raise UnknownNameError.of("project", name, snapshot.projects)
    return project


def _tables(session: Session, snapshot: Snapshot, place: str | None) -> str:
    """Tables, views and models of a project, a source or a schema of DuckDB, as a query."""
    columns = [("name", "VARCHAR"), ("type", "VARCHAR")]
    project = session.project if place is None else snapshot.project(place)
    rows: list[tuple[str, str]] = []
    if project is not None:
        rows += [(m.name, "MODEL") for m in snapshot.models if m.project == project]
        rows += [(v.name, "VIEW") for v in snapshot.views if v.project == project]
        if place is not None:
            return values(columns, rows)
    if place is not None and snapshot.source(place) is not None:
        return values(columns, [(name, "BASE TABLE") for name in session.source(place).tables()])
    where = "table_schema IN (SELECT unnest(current_schemas(true)))"
    if place is not None:
        parts = place.split(".")
        known = database.rows(
            session.raw,
            "SELECT database_name FROM system.main.duckdb_databases() "
            "UNION SELECT schema_name FROM system.main.duckdb_schemas()",
        )
        if parts[-1] not in {name for (name,) in known}:
            raise UnknownNameError.of(
                "database",
                place,
                [*snapshot.projects, *(s.name for s in snapshot.sources), *(name for (name,) in known)],
            )
        here = literal(parts[-1])
        where = f"(table_schema = {here} OR table_catalog = {here}) AND table_schema <> 'mindsql'"
    tables = f"SELECT table_name, table_type FROM information_schema.tables WHERE {where}"
    return f"{values(columns, rows)} UNION ALL {tables}"
