"""Owns CREATE and DROP of engines, projects and databases, and USE."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import mindsql_grammar as grammar
from mindsql import database
from mindsql.commands import models, views
from mindsql.commands.answers import done
from mindsql.engine import Engine, EngineStorage, working_for
from mindsql.errors import AccessError, CatalogError, StatementError, UnknownNameError
from mindsql.execution import ExecutionContext
from mindsql.executor.engines import engine_boundary
from mindsql.isolation import environments
from mindsql.isolation.options import ISOLATION, ISOLATION_NAMES, OWNERS, isolation_of, sign_programs
from mindsql.options import admit_files, check, secrecy
from mindsql.result import Result
from mindsql.secrets import decrypted, encrypted
from mindsql.snapshot import DEFAULT_PROJECT, EngineEntry, SourceEntry, Version
from mindsql.sources import check_parameters, options

if TYPE_CHECKING:
    from mindsql.session import Session

_PROJECTS = frozenset({"mindsql", "mindsdb"})
"""Engines of CREATE DATABASE that make a project: MindsDB's clients ask for one so."""


def create_engine(
    session: Session, statement: grammar.CreateEngine, parameters: Mapping[str, Any], execution: ExecutionContext
) -> Result:
    """CREATE ML_ENGINE: check the options, let the handler connect, store them."""
    existing = session.snapshot().engine(statement.name)
    if existing is not None and not statement.or_replace:
        if statement.if_not_exists:
            return done(f'the engine "{statement.name}" exists already')
        raise CatalogError(
            f'the engine "{statement.name}" exists already',
            hint=f"write CREATE OR REPLACE ML_ENGINE {statement.name} …",
        )
    real = session.registry.handler_class(statement.handler)
    given = [(o.key, _value(o.value, parameters), (o.span.start, o.span.end)) for o in statement.options]
    known = (*ISOLATION, *real.engine_options)
    options = check(given, known, f'the handler "{statement.handler}"')
    admit_files(options, known, session.database.sandbox)
    if existing is not None and existing.handler.casefold() != statement.handler.casefold():
        _check_unused(session, existing.name)
    stored = encrypted(options, secrecy(real.engine_options))
    clear = {key: value for key, value in decrypted(stored).items() if key not in ISOLATION_NAMES}
    storage = EngineStorage(clear)
    _environment(session, statement.handler, real, options, execution)
    stored = sign_programs(statement.handler.casefold(), real, stored)
    cls = session.registry.load(statement.handler, stored)

    def connect() -> None:
        with engine_boundary(statement.name, statement.handler), working_for(execution.context()):
            engine = cls(engine_storage=storage)
            try:
                engine.create_engine(clear)
            except NotImplementedError:
                return  # a handler that has nothing to connect
            finally:
                engine.close()

    execution.wait(execution.submit(connect))
    with session.writing() as catalog:
        if existing is not None:
            catalog.drop_engine(existing.name)
        catalog.add_engine(EngineEntry(statement.name, statement.handler, stored), storage.files)
    if existing is not None:
        models.unload(session, (version for _, version in _users(session, existing.name)))
    return done(f'the engine "{statement.name}" is created')


def _environment(
    session: Session, handler: str, cls: type[Engine], options: Mapping[str, Any], execution: ExecutionContext
) -> None:
    """Make the environment that an engine needs, if its owner asks. Raises AccessError, EngineError."""
    forbidden = next((name for name in OWNERS if name in options), None)
    if cls.for_owners:
        forbidden = f"the handler {handler}"
    if forbidden is not None and not session.settings.trusted:
        raise AccessError(f"{forbidden} starts programs on this machine: it is for the owner of a local connection")
    isolation = isolation_of(cls, options)
    if isolation is None or isolation.environment is None or not session.settings.trusted:
        return
    recipe = isolation.environment
    if os.sep in recipe.python and not recipe.requires:
        return  # an environment of the user's own
    begin, asked = time.monotonic(), execution.context()

    def make() -> None:
        with working_for(asked):
            environments.install(recipe, handler, lambda step: execution.report(step, 0, None, "steps", begin))

    execution.wait(execution.submit(make))


def create_project(
    session: Session, statement: grammar.CreateProject, parameters: Mapping[str, Any], execution: ExecutionContext
) -> Result:
    """CREATE PROJECT."""
    if session.snapshot().project(statement.name) is not None:
        if statement.if_not_exists:
            return done(f'the project "{statement.name}" exists already')
        raise CatalogError(f'the project "{statement.name}" exists already')
    if session.snapshot().source(statement.name) is not None:
        raise CatalogError(f'a database named "{statement.name}" exists already', hint="choose another name")
    with session.writing() as catalog:
        catalog.add_project(statement.name)
    return done(f'the project "{statement.name}" is created')


def create_database(
    session: Session, statement: grammar.CreateDatabase, parameters: Mapping[str, Any], execution: ExecutionContext
) -> Result:
    """CREATE DATABASE: check the parameters, open the source once, store it."""
    if statement.engine.casefold() in _PROJECTS:
        project = grammar.CreateProject(statement.name, statement.if_not_exists, span=statement.span)
        return create_project(session, project, parameters, execution)
    existing = session.snapshot().source(statement.name)
    if existing is not None and not statement.or_replace:
        if statement.if_not_exists:
            return done(f'the database "{statement.name}" exists already')
        raise CatalogError(
            f'the database "{statement.name}" exists already', hint=f"DROP DATABASE {statement.name} first"
        )
    if session.snapshot().project(statement.name) is not None:
        raise CatalogError(f'a project named "{statement.name}" exists already', hint="choose another name")
    raw = session.raw
    if existing is None and database.rows(
        raw,
        "SELECT 1 FROM system.main.duckdb_databases() "
        f"WHERE system.main.lower(database_name) = {database.literal(statement.name.lower())}",
    ):
        raise CatalogError(f'DuckDB has a database named "{statement.name}" open', hint="choose another name")
    given = {key: _value(value, parameters) for key, value in statement.parameters.items()}
    checked = check_parameters(statement.engine, given, session.registry.sources)
    secret = secrecy(options(statement.engine, session.registry.sources))
    entry = SourceEntry(statement.name, statement.engine, encrypted(checked, secret))
    if existing is not None:
        session.forget_source(statement.name)
    with session.writing() as catalog:
        if existing is not None:
            catalog.drop_source(statement.name)
        catalog.add_source(entry)
    try:
        session.source(statement.name)
    except BaseException:
        with session.writing() as catalog:
            catalog.drop_source(statement.name)
            if existing is not None:
                catalog.add_source(existing)
        raise
    return done(f'the database "{statement.name}" is created')


def _value(value: Any, parameters: Mapping[str, Any]) -> Any:
    if isinstance(value, grammar.Parameter):
        name = f"p{value.name}" if value.name.isdigit() else value.name
        if name not in parameters:
            raise StatementError(f"the parameter ${value.name} has no value")
        return parameters[name]
    return value


def use(
    session: Session,
    statement: grammar.Use,
    parameters: Mapping[str, Any],
    execution: ExecutionContext,
) -> Result | None:
    """USE: a project becomes the current one; a database or schema of DuckDB is DuckDB's affair."""
    if len(statement.name) == 1:
        project = session.snapshot().project(statement.name[0])
        if project is not None:
            session.project = project
            session.plans.clear()
            return done(f'the current project is "{project}"')
        if session.snapshot().source(statement.name[0]) is not None:
            session.source(statement.name[0])
        else:
            _check_schema(session, statement.name[0])
    return None


def _check_schema(session: Session, name: str) -> None:
    """Raise UnknownNameError if DuckDB has no database and no schema of that name."""
    names = (
        "SELECT database_name FROM system.main.duckdb_databases() "
        "UNION SELECT schema_name FROM system.main.duckdb_schemas()"
    )
    if name.casefold() not in (known.casefold() for (known,) in database.rows(session.raw, names)):
        sources = [source.name for source in session.snapshot().sources]
        known = [*session.snapshot().projects, *sources, *database.attached(session.raw)]
        raise UnknownNameError.of("project or database", name, known)


def drop(
    session: Session, statement: grammar.Drop, parameters: Mapping[str, Any], execution: ExecutionContext
) -> Result | None:
    """DROP MODEL, ML_ENGINE, PROJECT, DATABASE or VIEW."""
    if statement.kind == "model":
        return models.drop(session, statement)
    if statement.kind == "view":
        return views.drop(session, statement)
    name = ".".join(statement.name)
    return {"ml_engine": _drop_engine, "project": _drop_project, "database": _drop_database}[statement.kind](
        session, name, statement.if_exists
    )


def _drop_engine(session: Session, name: str, if_exists: bool) -> Result:
    snapshot = session.snapshot()
    entry = snapshot.engine(name)
    if entry is None:
        if if_exists:
            return done(f'there is no engine "{name}"')
        if name in session.registry:
            raise StatementError(
                f'"{name}" is a handler, and comes with its package', hint="pip uninstall that package"
            )
        raise UnknownNameError.of("engine", name, [e.name for e in snapshot.engines])
    _check_unused(session, name)
    with session.writing() as catalog:
        catalog.drop_engine(name)
    return done(f'the engine "{name}" is dropped')


def _check_unused(session: Session, engine: str) -> None:
    users = sorted({model for model, _ in _users(session, engine)})
    if users:
        raise CatalogError(f'the engine "{engine}" is used by: {", ".join(users)}', hint="drop these models first")


def _users(session: Session, engine: str) -> list[tuple[str, Version]]:
    """The versions that an engine answers for, each with its model's name."""
    return [
        (model.name, version)
        for model in session.snapshot().models
        for version in model.versions
        if version.engine.casefold() == engine.casefold()
    ]


def _drop_project(session: Session, name: str, if_exists: bool) -> Result:
    snapshot = session.snapshot()
    project = snapshot.project(name)
    if project is None:
        if if_exists:
            return done(f'there is no project "{name}"')
        raise UnknownNameError.of("project", name, snapshot.projects)
    if project == DEFAULT_PROJECT:
        raise CatalogError(f'the project "{project}" cannot be dropped: it is the default one')
    held = [m.name for m in snapshot.models if m.project == project]
    held += [v.name for v in snapshot.views if v.project == project]
    if held:
        raise CatalogError(
            f'the project "{project}" is not empty: {", ".join(held)}', hint="drop these first"
        )
    with session.writing() as catalog:
        catalog.drop_project(project)
    if session.project == project:
        session.project = DEFAULT_PROJECT
    return done(f'the project "{project}" is dropped')


def _drop_database(session: Session, name: str, if_exists: bool) -> Result:
    snapshot = session.snapshot()
    if snapshot.source(name) is None and snapshot.project(name) is not None:
        return _drop_project(session, name, if_exists)
    if snapshot.source(name) is None:
        if if_exists:
            return done(f'there is no database "{name}"')
        raise UnknownNameError.of("database", name, [s.name for s in snapshot.sources])
    session.forget_source(name)
    with session.writing() as catalog:
        catalog.drop_source(name)
    return done(f'the database "{name}" is dropped')
