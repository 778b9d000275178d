"""Owns CREATE MODEL, RETRAIN, FINETUNE, SET active and DROP MODEL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import mindsql_grammar as grammar
from mindsql import queries
from mindsql.catalog import Catalog
from mindsql.commands import background, names
from mindsql.commands.answers import done, table
from mindsql.commands.training import (
    Finish,
    TrainingSpec,
    check_data,
    note,
    train,
)
from mindsql.commands.training_rows import own_rows, read_rows, stored_rows
from mindsql.commands.using import read_options
from mindsql.duckdb_errors import read_only_error
from mindsql.errors import CatalogError, StatementError, UnknownNameError
from mindsql.execution import ExecutionContext, apart
from mindsql.executor.engines import engine_boundary
from mindsql.result import Result
from mindsql.schema import family
from mindsql.snapshot import Model, Version

if TYPE_CHECKING:
    from mindsql.session import Session

_COLUMNS = [
    ("name", "VARCHAR"),
    ("project", "VARCHAR"),
    ("version", "INTEGER"),
    ("status", "VARCHAR"),
    ("accuracy", "DOUBLE"),
    ("rows", "BIGINT"),
    ("seconds", "DOUBLE"),
]
_ANOMALY_TARGET = "outlier"


def create(
    session: Session, statement: grammar.CreateModel, parameters: Mapping[str, Any], execution: ExecutionContext
) -> Result:
    """CREATE MODEL: check, read the rows, train, commit."""
    project, name = names.split(session, statement.name)
    snapshot = session.snapshot()
    old = snapshot.model(project, name)
    failed = old is not None and all(v.status == "error" for v in old.versions)
    if old is not None and not failed and not statement.or_replace:
        if statement.if_not_exists:
            return done(f'the model "{name}" exists already')
        raise CatalogError(
            f'the model "{name}" exists already',
            hint=f"RETRAIN {name} adds a version; CREATE OR REPLACE MODEL {name} makes it anew",
        )
    if snapshot.view(project, name) is not None:
        raise CatalogError(f'"{name}" is a view', hint="choose another name")
    if session.is_table(name):
        raise CatalogError(
            f'a table or view named "{name}" exists already, and would hide the model',
            hint="choose another name",
        )
    _check_writable(session)
    engine, handler, cls, options, sealed, every = read_options(session, statement.options, parameters)
    spec = TrainingSpec(
        project=project,
        name=name,
        target=statement.target or _ANOMALY_TARGET,
        engine=engine,
        handler=handler,
        cls=cls,
        options=options,
        sealed=sealed,
        tag=every.get("tag"),
        activate=True,
        background=every["background"],
        rows=own_rows(session, statement.rows),
        settings={
            key: value
            for key, value in {
                "alias": statement.alias,
                "anomaly": statement.anomaly or None,
                "order_by": list(statement.order_by) or None,
                "group_by": list(statement.group_by) or None,
                "window": statement.window,
                "horizon": statement.horizon,
                "cache": every.get("cache") or None,
                "strict": every.get("strict"),
                "max_rows": every.get("max_rows"),
            }.items()
            if value is not None
        },
    )
    if every.get("train") is False:
        if old is not None:
            raise CatalogError(
                f'the model "{name}" exists already', hint=f"RETRAIN {name} USING train = false"
            )
        _name_rows(spec)
        return _row(note(session, spec, fresh=True))
    _read(session, spec, parameters, execution)

    def finish(catalog: Catalog, there: Model, version: Version) -> Version:
        others = [v for v in there.versions if v.id != version.id]
        at_work = [v for v in others if v.status in ("generating", "training")]
        catalog.drop_versions(v for v in others if v not in at_work)
        if all(v.number != 1 for v in at_work):
            version = replace(version, number=1)
        catalog.set_active(project, version.model, version.number)
        return version

    if old is not None:
        spec.name = old.name
    fresh = old is None and not statement.or_replace
    return _train(session, "CREATE MODEL", spec, parameters, execution, finish, fresh=fresh)


def retrain(
    session: Session, statement: grammar.Retrain, parameters: Mapping[str, Any], execution: ExecutionContext
) -> Result:
    """RETRAIN: a new version from the stored query or a new one, with options merged over the old."""
    return _new_version(session, statement, parameters, execution)


def finetune(
    session: Session, statement: grammar.Finetune, parameters: Mapping[str, Any], execution: ExecutionContext
) -> Result:
    """FINETUNE: a new version that continues the active one on new rows only."""
    return _new_version(session, statement, parameters, execution)


def _new_version(
    session: Session,
    statement: grammar.Retrain | grammar.Finetune,
    parameters: Mapping[str, Any],
    execution: ExecutionContext,
) -> Result:
    continues = isinstance(statement, grammar.Finetune)
    target = None if isinstance(statement, grammar.Finetune) else statement.target
    rows = own_rows(session, statement.rows)
    model = names.model(session, statement.name)
    base = model.version() if model.active is not None else model.versions[-1]
    if continues and model.active is None:
        model.version()  # says why there is nothing to continue
    noted = None if continues else model.untrained()
    base = noted or base
    _check_writable(session)
    engine, handler, cls, options, sealed, every = read_options(session, statement.options, parameters, base)
    dropped = ("source",) if target in (None, base.target) else ("source", "alias")
    spec = TrainingSpec(
        project=model.project,
        name=model.name,
        target=target or base.target,
        engine=engine,
        handler=handler,
        cls=cls,
        options=options,
        sealed=sealed,
        tag=every.get("tag", base.tag),
        activate=every.get("active", True) and every.get("activate") != "never",
        if_better=every.get("activate") == "if_better",
        before=model.version() if model.active is not None else None,
        background=every["background"],
        rows=rows if rows is not None else stored_rows(base),
        settings={
            **{key: value for key, value in base.settings.items() if key not in dropped},
            **{key: every[key] for key in ("cache", "strict", "max_rows") if key in every},
        },
    )
    stored = spec.rows.query if rows is None and spec.rows is not None else None
    if stored is not None and "$" in (base.query or "") and not parameters:
        raise StatementError(
            f'the query of "{model.name}" has parameters, and their values were not kept',
            hint=f"RETRAIN {model.name} FROM (SELECT …)",
        )
    if every.get("train") is False:
        if continues:
            raise StatementError("FINETUNE takes no train = false", hint="leave it out")
        _name_rows(spec)
        return _row(note(session, spec))
    _read(session, spec, parameters, execution)
    if continues:
        _check_same_columns(base, spec)

    def finish(catalog: Catalog, _: Model, version: Version) -> Version:
        if spec.activate or model.active is None:
            catalog.set_active(model.project, model.name, version.number)
        catalog.drop_versions([noted] if noted else [])
        return version

    kind = "FINETUNE" if continues else "RETRAIN"
    return _train(session, kind, spec, parameters, execution, finish, base if continues else None)


def _train(
    session: Session,
    kind: str,
    spec: TrainingSpec,
    parameters: Mapping[str, Any],
    execution: ExecutionContext,
    finish: Finish,
    base: Version | None = None,
    fresh: bool = False,
) -> Result:
    if base is None:
        storage = queries.engine_storage(session, spec.engine)
        with engine_boundary(spec.engine, spec.name):
            args = {"using": dict(spec.options), "target": spec.target}
            apart(lambda: spec.cls.create_validation(spec.target, args=args, handler_storage=storage))
    replaced = session.snapshot().model(spec.project, spec.name)

    def switch(catalog: Catalog, there: Model, version: Version) -> Version:
        complete = finish(catalog, there, version)
        if replaced is not None:
            unload(session, replaced.versions)
        return complete

    if spec.background:
        return _row(background.start(session, kind, spec, parameters, switch, base, fresh))
    return _row(train(session, spec, execution, switch, base, fresh))


def unload(session: Session, versions: Iterable[Version]) -> None:
    """Let go of versions that will not be asked any more, or seldom: one that is will be loaded again."""
    if session.shared.models is not None:
        session.shared.models.forget(version.id for version in versions)


def _check_same_columns(base: Version, spec: TrainingSpec) -> None:
    """New rows must have the columns of the old ones, of the same kinds. Raises StatementError."""
    wanted = [(item.name, item.type) for item in base.inputs]
    if base.outputs and spec.schema.find(spec.target) is not None:
        wanted.append((spec.target, base.outputs[0].type))
    for name, kind in wanted:
        found = spec.schema.find(name)
        if found is None:
            raise UnknownNameError(
                f'the new rows lack the column "{name}"', hint=f"they have: {', '.join(spec.schema.names)}"
            )
        if found.family not in (family(kind), "other"):
            raise StatementError(
                f'the column "{name}" of the new rows is {found.type}, and the model was trained on {kind}',
                hint=f"CAST it, or RETRAIN {spec.name} FROM (…)",
            )


def _check_writable(session: Session) -> None:
    if session.database.read_only:
        raise read_only_error()


def _read(session: Session, spec: TrainingSpec, parameters: Mapping[str, Any], execution: ExecutionContext) -> None:
    rows = spec.rows
    if spec.background and not background.sees_own(session, rows):
        spec.schema = background.columns(session, rows, parameters)
    else:
        spec.data, spec.schema = read_rows(
            session,
            rows,
            parameters,
            execution,
            spec.cls.capabilities.takes_arrow,
            spec.settings.get("max_rows"),
        )
    _name_rows(spec)
    check_data(spec)


def _name_rows(spec: TrainingSpec) -> None:
    rows = spec.rows
    if rows is not None:
        spec.query = rows.text
        if rows.native is not None:
            spec.settings["source"] = list(rows.native.source)


def _row(version: Version) -> Result:
    summary = version.summary
    return table(
        _COLUMNS,
        [
            (
                version.model,
                version.project,
                version.number,
                version.status,
                summary.get("accuracy"),
                summary.get("rows", 0),
                round(version.seconds or 0.0, 3),
            )
        ],
        summary.get("notes", ()),
    )


def set_active(
    session: Session, statement: grammar.SetActive, parameters: Mapping[str, Any], execution: ExecutionContext
) -> Result:
    """SET active m.N: that version answers from now on."""
    model = names.model(session, statement.name)
    version = model.version(statement.version)
    with session.writing() as catalog:
        catalog.set_active(model.project, model.name, version.number)
    return done(f'version {version.number} of "{model.name}" is active')


def drop(session: Session, statement: grammar.Drop) -> Result:
    """DROP MODEL m[.N]."""
    try:
        model = names.model(session, statement.name)
    except UnknownNameError:
        if statement.if_exists:
            return done(f'there is no model "{".".join(statement.name)}"')
        raise
    if statement.version is None:
        _drop(session, model, model.versions)
        return done(f'the model "{model.name}" is dropped')
    found = [version for version in model.versions if version.number == statement.version]
    if not found:
        if statement.if_exists:
            return done(f'the model "{model.name}" has no version {statement.version}')
        model.version(statement.version)
    if statement.version == model.active:
        raise CatalogError(
            f'version {statement.version} of "{model.name}" is active',
            hint=f"SET active {model.name}.<other> first, or DROP MODEL {model.name}",
        )
    _drop(session, model, found)
    return done(f'version {statement.version} of "{model.name}" is dropped')


def _drop(session: Session, model: Model, versions: Sequence[Version]) -> None:
    """Drop versions, with the model if these are all that it has; their trainings in the background are stopped."""
    at_work = session.shared.jobs.unfinished().keys() & {version.id for version in versions}
    if at_work and session.in_transaction:
        raise CatalogError(
            f'"{model.name}" is being trained in the background, and a ROLLBACK could not take up its training again',
            hint="DROP MODEL outside the transaction",
        )
    with session.writing() as catalog:
        if len(versions) == len(model.versions):
            catalog.drop_model(model)
        else:
            catalog.drop_versions(versions)
    if not session.in_transaction:
        unload(session, versions)
    for key in at_work:
        session.shared.jobs.cancel(key, f'"{model.name}" was dropped while it was trained')
