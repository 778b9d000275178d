"""Owns how a version comes to be: its engine trains, its row and artifacts are committed.

Its options are read by `using`, its rows by `training_rows`; what is done when nobody waits for it is `background`'s.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import mindsql_grammar as grammar
from mindsql import queries
from mindsql.catalog import Catalog
from mindsql.commands import verdicts
from mindsql.commands.translating import spread, with_translation
from mindsql.engine import Engine, Storage, Summary, working_for
from mindsql.engine_call import call_create, engine_frame, has_life
from mindsql.errors import (
    Cancelled,
    CatalogError,
    ConflictError,
    EngineError,
    SourceError,
    StatementError,
    UnknownNameError,
)
from mindsql.execution import ExecutionContext, shielded
from mindsql.executor.engines import engine_boundary, trial_outputs
from mindsql.executor.loading import engine_args
from mindsql.frames import TrainingRows, to_pandas
from mindsql.libraries import installed_libraries
from mindsql.schema import Column, Schema
from mindsql.session import PROCESS
from mindsql.snapshot import Model, Version

if TYPE_CHECKING:
    import pyarrow as pa

    from mindsql.session import Session

_TEMPLATE = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_TRIAL_ROWS = 3
_CONFLICT_SECONDS = 0.1

Finish: TypeAlias = Callable[[Catalog, Model, Version], Version]
"""Called inside the last transaction with the complete version: it switches to it, and may give it another number."""


@dataclass
class TrainingSpec:
    """What a version is made of, checked before anything is changed.

    Attributes:
        activate: Whether the version is to answer once it is complete; `if_better`: only with a better score.
        before: The version that answers until then, to compare with.
    """

    project: str
    name: str
    target: str
    engine: str
    handler: str
    cls: type[Engine]
    options: dict[str, Any]
    sealed: dict[str, Any]
    tag: str | None
    activate: bool
    if_better: bool = False
    before: Version | None = None
    query: str | None = None
    background: bool = False
    rows: grammar.Rows | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    data: pa.Table | None = None
    sample: pa.Table | None = None
    schema: Schema = field(default_factory=Schema)


def check_data(spec: TrainingSpec) -> None:
    """Check the columns, and the rows once they are read, against the target and what the engine can do.

    Raises:
        StatementError: They do not fit.
    """
    capabilities = spec.cls.capabilities
    settings = spec.settings
    named = [word for word in ("order_by", "group_by", "window", "horizon") if settings.get(word)]
    if named and not capabilities.supports_time_series:
        word = named[0].replace("_", " ").upper()
        raise StatementError(
            f'the engine "{spec.engine}" makes no time series models, so {word} has no meaning for it',
            hint="leave it out: give lags as columns of the query",
        )
    if spec.rows is None:
        if capabilities.needs_training_data:
            raise StatementError(
                f'the engine "{spec.engine}" needs rows to train on',
                hint="CREATE MODEL … FROM (SELECT …) PREDICT …",
            )
        return
    target = spec.schema.find(spec.target)
    if target is None and not settings.get("anomaly") and spec.cls.needs_target(spec.options):
        raise UnknownNameError.of("column to predict:", spec.target, spec.schema.names)
    if target is not None:
        spec.target = target.name
    if spec.data is not None and spec.data.num_rows == 0:
        raise StatementError(
            "the training query gives no rows", hint="look at what it gives: run it by itself"
        )
    seen: dict[str, str] = {}
    for name in spec.schema.names:
        other = seen.get(name.casefold())
        if other is not None:
            what = f'the column "{name}" twice' if other == name else f'"{other}" and "{name}", one name here'
            raise StatementError(f"the training query gives {what}", hint="name one of them: … AS other")
        seen[name.casefold()] = name
    if len(spec.schema.without(spec.target)) == 0:
        raise StatementError(
            f'the training query gives no column beside "{spec.target}"',
            hint="select the columns to predict from",
        )


def train(
    session: Session,
    spec: TrainingSpec,
    execution: ExecutionContext,
    finish: Finish,
    base: Version | None = None,
    fresh: bool = False,
) -> Version:
    """Train a version and commit it.

    Args:
        session: Where.
        recipe: What, checked.
        execution: The running statement.
        finish: Switches to the complete version.
        base: The version to continue from (FINETUNE).
        fresh: Whether there may be no such model yet.

    Raises:
        EngineError: The engine failed; the attempt stays in the catalog with status `error`.
        MindSQLError: Anything else; nothing is changed.
    """
    version = new_version(spec, "training")
    start = time.perf_counter()
    try:
        version = begin(session, version, fresh)
        return carry_out(session, spec, version, execution, finish, base)
    except (EngineError, SourceError) as error:
        text = error.message + (f" ({error.hint})" if error.hint else "")
        failed = replace(version, status="error", error=text, seconds=time.perf_counter() - start)
        shielded(lambda: _save(session, failed))
        raise
    except BaseException:
        shielded(lambda: forget(session, version))
        raise


def _version(spec: TrainingSpec, status: str) -> Version:
    """The first version of what a recipe says."""
    return Version(
        id=uuid.uuid4().hex,
        project=spec.project,
        model=spec.name,
        number=1,
        status=status,
        engine=spec.engine,
        handler=spec.handler,
        target=spec.target,
        query=spec.query,
        options=spec.sealed,
        settings=spec.settings,
        tag=spec.tag,
        created_at=datetime.now(),
    )


def new_version(spec: TrainingSpec, status: str) -> Version:
    """A version of this process, for `begin`."""
    return replace(_version(spec, status), libraries=installed_libraries(), owner=PROCESS)


def begin(session: Session, version: Version, fresh: bool = False) -> Version:
    """Put a new version in the catalog, with the next number. Raises CatalogError."""
    with session.writing() as catalog:
        # Others may have trained the same model since this statement looked.
        there = catalog.hold(version.project, version.model)
        if there is not None and fresh:
            raise CatalogError(f'the model "{version.model}" exists already')
        if there is not None:
            version = replace(version, number=there.next_number())
        catalog.add_version(version)
    return version


def carry_out(
    session: Session,
    spec: TrainingSpec,
    version: Version,
    execution: ExecutionContext,
    finish: Finish,
    base: Version | None,
) -> Version:
    """Have the engine train a version that was begun, and commit it complete. Raises MindSQLError."""
    start = time.perf_counter()
    files, summary = _call_engine(session, spec, execution, base)
    version = replace(
        version,
        status="complete",
        target=spec.target,
        summary=summary,
        seconds=time.perf_counter() - start,
    )
    if spec.if_better and not verdicts.is_better(version, spec.before):
        spec.activate = False
    summary["notes"] = verdicts.notes(version, spec.before, spec.activate)
    version = execution.wait(execution.submit(lambda: with_translation(session, version, files, spec.sample)))
    while True:
        try:
            version = _commit(session, version, files, finish)
            break
        except ConflictError:
            if not spec.background:
                raise
            # Nobody is there to try again, and what was trained should not be lost to a transaction that will end.
            execution.check()
            time.sleep(_CONFLICT_SECONDS)
    if spec.options.get("trusted"):
        session.shared.trusted.add(version.id)
    return version


def _commit(session: Session, version: Version, files: Mapping[str, bytes], finish: Finish) -> Version:
    with session.writing() as catalog:
        there = catalog.hold(version.project, version.model)
        if there is None or all(other.id != version.id for other in there.versions):
            raise Cancelled(f'"{version.model}" was dropped while it was trained')
        version = catalog.add_artifacts(version, files)
        version = finish(catalog, there, version)
        catalog.save_version(version)
    return version


def _save(session: Session, version: Version) -> None:
    with session.writing() as catalog:
        catalog.save_version(version)


def forget(session: Session, version: Version) -> None:
    """Take a version that was begun out of the catalog, and its model if it has no other."""
    with session.writing() as catalog:
        catalog.drop_versions([version])
        model = catalog.model(version.project, version.model)
        if model is not None and not model.versions:
            catalog.drop_model(model)


def note(session: Session, spec: TrainingSpec, fresh: bool = False) -> Version:
    """Keep a version that is still to be trained, in the place of one noted before. Arguments as of `train`."""
    version = _version(spec, "untrained")
    with session.writing() as catalog:
        there = catalog.hold(spec.project, spec.name)
        if there is not None and fresh:
            raise CatalogError(f'the model "{spec.name}" exists already')
        if there is not None:
            noted = there.untrained()
            version = replace(version, number=noted.number if noted else there.next_number())
            catalog.drop_versions([noted] if noted else [])
        catalog.add_version(version)
    return version


def _call_engine(
    session: Session, spec: TrainingSpec, execution: ExecutionContext, base: Version | None
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Run the engine's `create` or `update`. Returns its files and its summary as JSON."""
    begin = time.monotonic()
    storage = Storage(
        info={
            "name": spec.name,
            "project": spec.project,
            "target": spec.target,
            "using": spec.options,
        },
        progress=lambda current, total, phase: execution.report(
            phase or "training", current, total or None, "steps", begin
        ),
    )
    keywords: dict[str, Any] = {}
    if base is not None:
        before = Storage(info={"name": base.model, "version": base.number})
        for name in session.catalog.artifact_names(base):
            content = session.catalog.artifact(base, name)
            if content is not None:
                before.files[name] = content
        keywords["base_model_storage"] = before
    args = engine_args(spec.target, spec.options, spec.settings)
    args["schema"] = spec.schema
    args["trusted"] = session.settings.trusted and bool(spec.options.get("trusted"))
    rows: Any = None
    count = 0
    if spec.data is not None:
        spec.sample, count = spread(spec.data), spec.data.num_rows
        rows = (TrainingRows if spec.cls.capabilities.takes_arrow else to_pandas)(spec.data)
    spec.data = None  # the engine has the rows now, and need not hold them twice
    execution.report("training", 0, None, "steps", begin)

    asked = execution.context()

    def call() -> tuple[dict[str, bytes], Summary]:
        with engine_boundary(spec.engine, spec.name), working_for(asked):
            engine = spec.cls(
                model_storage=storage,
                engine_storage=queries.engine_storage(session, spec.engine),
                **keywords,
            )
            try:
                if base is None:
                    call_create(engine, spec.target, rows, args)
                else:
                    _continue(engine, rows, args, spec)
                summary = engine.summary()
                if summary is None:
                    summary = _plain_summary(engine, spec, count, args, storage)
                return dict(storage.files), summary
            finally:
                if has_life(engine):
                    engine.close()

    files, summary = execution.wait(execution.submit(call))
    storage.close()
    outputs = _renamed(summary.outputs, spec.target, spec.settings.get("alias"))
    extra = _renamed(summary.extra, spec.target, spec.settings.get("alias"))
    both = [column.name for column in outputs if summary.inputs.find(column.name) is not None]
    if both:
        raise StatementError(
            f'the column "{both[0]}" cannot be an input: the model gives an answer of that name',
            hint="give the column another name in the query: … AS other",
        )
    return files, {
        "inputs": list(summary.inputs.pairs()),
        "extra": [pair for pair in extra.pairs() if summary.inputs.find(pair[0]) is None],
        "outputs": list(outputs.pairs()),
        "task": summary.task,
        "classes": list(summary.classes),
        "rows": summary.rows,
        "rows_left_out": summary.rows_left_out,
        "metrics": dict(summary.metrics),
        "baseline": dict(summary.baseline),
        "accuracy": summary.accuracy,
        "notes": list(summary.notes),
        "left_out": dict(summary.left_out),
        "estimator": summary.estimator,
        "casts": spec.cls.capabilities.casts,
        "row_wise": spec.cls.capabilities.row_wise,
        "accepts_missing": spec.cls.capabilities.accepts_missing,
        # Where asking is dear, equal rows of the whole statement are asked once anyway.
        "repeatable": spec.cls.capabilities.deterministic
        and spec.cls.capabilities.row_wise
        and not spec.cls.capabilities.ask_once,
        "columns": spec.schema.names,
        "files": len(files),
    }


def _continue(engine: Engine, rows: Any, args: dict[str, Any], spec: TrainingSpec) -> None:
    """FINETUNE. Raises StatementError when the engine has no such method."""
    try:
        engine.update(rows, args)
    except NotImplementedError:
        raise StatementError(
            f'the engine "{spec.engine}" cannot continue a model', hint=f"RETRAIN {spec.name}"
        ) from None


def _plain_summary(
    engine: Engine, spec: TrainingSpec, count: int, args: dict[str, Any], storage: Storage
) -> Summary:
    """For an engine that says nothing of itself: inputs from the rows, outputs from a trial prediction."""
    target = spec.schema.find(spec.target)
    if spec.sample is None:
        columns = storage.columns_get() or _named_columns(args.get("using") or {})
        if not columns:
            raise EngineError(
                f'the engine "{spec.engine}" does not say which inputs its model takes',
                hint="name them in USING (question_column = 'question', prompt_template = '… {{question}}'), or have "
                "the engine implement summary() or call model_storage.columns_set",
            )
        answer = target or Column(spec.target, "VARCHAR")
        return Summary(Schema.of(columns.items()).without(spec.target), Schema([answer]))
    inputs = spec.schema.without(spec.target)
    trial = engine_frame(engine, spec.sample.select(inputs.names).slice(0, _TRIAL_ROWS))
    outputs = trial_outputs(engine, spec.target, target, trial, {**args, "predict_params": {}})
    return Summary(inputs, outputs, rows=count)


def _named_columns(using: Mapping[str, Any]) -> dict[str, str]:
    """The inputs that options name, as those of handlers for generative models do: `question_column = 'question'`,
    and `{{question}}` in a template."""
    names: dict[str, str] = {}
    for key, value in using.items():
        if isinstance(value, str):
            found = [value] if key.endswith("_column") else _TEMPLATE.findall(value)
            names.update(dict.fromkeys(found, "VARCHAR"))
    return names


def _renamed(outputs: Schema, target: str, alias: str | None) -> Schema:
    """PREDICT y AS z: y, y_confidence become z, z_confidence."""
    if alias is None:
        return outputs
    return Schema(
        Column(alias + c.name[len(target) :], c.type)
        if c.name == target or c.name.startswith(target + "_")
        else c
        for c in outputs
    )
