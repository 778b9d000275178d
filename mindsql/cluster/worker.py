"""Owns what a worker of a cluster does with a part: the same stages as everywhere, over that part's rows."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, lru_cache
from typing import Any

from sqlglot import expressions as exp

from mindsql import database
from mindsql.batches import Batches
from mindsql.binder.tree import column, table
from mindsql.cluster.job import FILE, Answer, Copy, Job, Part, ShippedModel, libraries
from mindsql.engine import Engine, EngineStorage, working_for
from mindsql.errors import EngineError, InternalError, MindSQLError, StatementError
from mindsql.execution import ExecutionContext
from mindsql.executor.engines import LoadedModel, ModelCache
from mindsql.executor.executor import Executor
from mindsql.executor.loading import loaded
from mindsql.executor.pipeline import OperatorMetrics
from mindsql.planner.division import chain
from mindsql.planner.operators import Operator, Output, Plan, Scan, walk
from mindsql.registry import Registry
from mindsql.sandbox import Sandbox
from mindsql.session import Session, open_session
from mindsql.settings import Settings

_FRAME = "__mindsql_part"
_MODELS = ModelCache()
"""A worker process lives for many parts."""


def answer(job: Job, part: Part, fetch: Callable[[Any], Mapping[str, bytes]]) -> Answer:
    """Answer a part.

    Args:
        job: What to do.
        part: With which rows.
        fetch: Brings a model's artifacts from where they are in the cluster's store.
    """
    begin = time.perf_counter()
    try:
        found = _answer(job, part, fetch)
    except MindSQLError as error:
        hint = error.hint or f"it was in {part}"
        return Answer(error=(type(error).__name__, error.message, hint))
    found.seconds = time.perf_counter() - begin
    return found


def _answer(job: Job, part: Part, fetch: Callable[[Any], Mapping[str, bytes]]) -> Answer:
    _check_libraries(job)
    session = _session(job.sandbox, job.settings)
    execution = ExecutionContext(network=job.network, arrow=job.copy is None)
    try:
        for name, rows in job.tables.items():
            session.raw.register(name, rows)
        _take(job.top, part)
        executor = Executor(
            raw=session.raw,
            cursor=session.cursor,
            in_transaction=False,
            load=lambda model: _load(job.models[model.version.id], session.raw, fetch, execution),
            read_native=_no_source,
        )
        run = executor.run(_plan(job, part), job.parameters, execution, measure=True)
        if job.copy is not None:
            assert run.answer.raw is not None
            count = int((run.answer.raw.fetchone() or (0,))[0])
            path = _path(job.copy, part)
            os.replace(f"{path}.{os.getpid()}", path)
            found = Answer(file=path, count=count)
        else:
            assert run.answer.batches is not None
            rows = _table(run.answer.batches)
            found = Answer(rows=rows, count=rows.num_rows)
        figures = run.figures or {}
        found.figures = [figures.get(id(operator), OperatorMetrics()) for operator in chain(job.top)]
        return found
    finally:
        execution.close()
        for name in job.tables:
            session.raw.unregister(name)


def _check_libraries(job: Job) -> None:
    here = libraries()
    for name, wanted in job.libraries.items():
        if here[name] != wanted:
            raise StatementError(
                f"a node of the cluster has {name} {here[name]}, and this process {wanted}",
                hint="install the same versions on every node",
            )


def _take(top: Operator, part: Part) -> None:
    """Have the scan read the part's rows."""
    (scan,) = (operator for operator in walk(top) if isinstance(operator, Scan))
    for node in list(scan.tree.find_all(exp.Literal)):
        if node.is_string and node.name == FILE:
            relation = node.find_ancestor(exp.Table)
            assert relation is not None
            node.replace(exp.Literal.string(part.file))
            if part.first is not None:
                number = column("file_row_number", relation.alias or None)
                between = exp.Between(
                    this=number, low=exp.Literal.number(part.first), high=exp.Literal.number(part.last)
                )
                select = relation.find_ancestor(exp.Select)
                assert select is not None
                select.where(between, copy=False)
            return
    raise InternalError("the scan of a part reads no file")


def _plan(job: Job, part: Part) -> Plan:
    if job.copy is not None:
        tree = job.copy.tree
        tree.set("files", [exp.Literal.string(f"{_path(job.copy, part)}.{os.getpid()}")])
        return Plan(Output(tree, {job.copy.frame: job.top}))
    picked = exp.Select(
        expressions=[exp.alias_(column(name, _FRAME), name, quoted=True) for name in job.columns],
        from_=exp.From(this=table(_FRAME)),
    )
    return Plan(Output(picked, {_FRAME: job.top}), direct=[(name, name) for name in job.columns])


def _path(copy: Copy, part: Part) -> str:
    return os.path.join(copy.folder, f"part-{part.number:06}{copy.suffix}")


def _table(batches: Batches) -> Any:
    import pyarrow as pa

    return pa.Table.from_batches(list(batches), batches.schema)


def _load(
    model: ShippedModel, raw: Any, fetch: Callable[[Any], Mapping[str, bytes]], execution: ExecutionContext
) -> LoadedModel:
    def load() -> LoadedModel:
        storage = EngineStorage(dict(model.engine_options))
        storage.files.update(model.engine_files)
        made = loaded(raw, _class(model), model.version, fetch(model.files), storage, model.trusted)
        with working_for(execution.context()):
            made.prepare()
        return made

    return _MODELS.get(model.key, load, execution.check)


def _class(model: ShippedModel) -> type[Engine]:
    """The class of a model's engine on this node. Raises EngineError."""
    registry = _registry()
    if model.cls is not None:
        registry.register(model.handler, model.cls)
    elif model.handler not in registry:
        raise EngineError(
            f'a node of the cluster has no handler "{model.handler}"', hint="install its package on every node"
        )
    return registry.load_permitted(model.handler, model.engine_options)


@lru_cache(maxsize=2)
def _session(sandbox: Sandbox | None, settings: tuple[str, ...]) -> Session:
    """A session of an empty database. A worker has one processor, and asks with one thread."""
    closed = replace(sandbox, threads=1) if sandbox is not None else None
    session = open_session(":memory:", False, closed, Settings(trusted=False), None)
    for text in (*settings, *(["SET threads = 1"] if sandbox is None else [])):
        database.run(session.raw, text)
        session.remember(text)
    return session


@cache
def _registry() -> Registry:
    return Registry()


def _no_source(source: str, text: str) -> Batches:
    raise InternalError(f"a part reads the source {source}")


