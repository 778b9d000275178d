"""Owns training over HTTP: what a request wants trained, as statements of one transaction, done by a job.

The posted rows and the version that is trained on them are committed together: a training that fails leaves rows,
model and options as they were.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import mindsql_grammar as grammar
from mindsql.database import quote
from mindsql.errors import (
    Cancelled,
    CatalogError,
    EngineError,
    MindSQLError,
    StatementError,
    UnknownNameError,
)
from mindsql.execution import ExecutionContext
from mindsql.jobs import Job
from mindsql.server.http import stored
from mindsql.server.http.faults import UnprocessableError
from mindsql.server.principal import Principal
from mindsql.server.service import RemoteSession, Service
from mindsql.snapshot import Model, Version

if TYPE_CHECKING:
    import pyarrow as pa

DEFAULT_ENGINE = "sklearn"
"""What trains a model that is made here."""


@dataclass(frozen=True)
class Order:
    """What a request wants.

    Attributes:
        project, name: The model; it is made if it does not exist.
        rows: Posted rows; they take the place of the stored ones, or are put behind them with `append`.
        target: The column to predict; None for the one that the model predicts.
        using: Options, typed.
        preparation: What is done to the stored rows first; None for what was done last.
        train: Whether to train at once, or to note an untrained version for later.
    """

    project: str
    name: str
    rows: pa.Table | None = None
    append: bool = False
    target: str | None = None
    using: Mapping[str, Any] = field(default_factory=dict)
    preparation: stored.Preparation | None = None
    train: bool = True

    def retargets(self, base: Version) -> bool:
        """Whether another column is to be predicted than a version does."""
        return self.target is not None and self.target.casefold() != base.target.casefold()


def carry_out(session: RemoteSession, order: Order) -> Version:
    """Do it in one transaction. Blocks.

    Raises:
        UnprocessableError: There is nothing to train on, or it does not fit. Nothing is changed.
        MindSQLError: What the statements raise. Nothing is changed.
    """
    if order.rows is not None:
        # Outside the transaction: two that make it at once would be in each other's way.
        session.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(stored.SCHEMA)}")
    with _transaction(session):
        if order.rows is not None:
            stored.keep(session, order.project, order.name, order.rows, order.append)
        text, parameters = _statement(session, order)
        session.execute(text, parameters)
        # After the transaction somebody may have dropped it.
        model = session.connection.snapshot().model(order.project, order.name)
        assert model is not None
        version = model.version() if order.train else model.versions[-1]
    return version


@contextlib.contextmanager
def _transaction(session: RemoteSession) -> Iterator[None]:
    session.execute("BEGIN TRANSACTION")
    try:
        yield
        session.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(MindSQLError):
            session.execute("ROLLBACK")
        raise
    finally:
        session.end()


def _statement(session: RemoteSession, order: Order) -> tuple[str, dict[str, Any]]:
    """CREATE MODEL or RETRAIN, and its parameters."""
    model = session.connection.snapshot().model(order.project, order.name)
    base = latest(model) if model is not None else None
    target = order.target if base is None or order.retargets(base) else base.target
    columns = stored.columns(session, order.project, order.name)
    if target is None:
        hint = f"one of: {', '.join(columns)}" if columns else None
        raise UnprocessableError("there is no model yet, so target_col must say what it predicts", hint=hint)
    if columns is not None and target.casefold() not in map(str.casefold, columns) and order.rows is not None:
        raise _unknown(target, columns)
    source = stored.table(order.project, order.name)
    rows = ""
    if base is not None and order.append and not stored.is_stored(base):
        raise _own_query(base)
    if columns is None and order.train and (base is None or stored.is_stored(base)):
        raise UnprocessableError("there are no rows to train on", hint="post them")
    if order.rows is not None or order.preparation is not None or base is None:
        if base is not None and order.rows is None and not stored.is_stored(base):
            raise _own_query(base)
        before = stored.Preparation.of(base.query if base is not None else None)
        preparation = order.preparation or before
        preparation.check(columns)
        query = preparation.query(source, target)
        rows = f" FROM ({query})"
    elif order.train and stored.is_stored(base):
        stored.Preparation.of(base.query).check(columns)
    name = grammar.quote_name((order.project, order.name))
    verb = "CREATE MODEL" if base is None else "RETRAIN"
    predict = f" PREDICT {grammar.quote(target)}" if base is None or order.retargets(base) else ""
    using = {"join_learn_process": True, **({} if order.train else {"train": False}), **order.using}
    parameters = {f"o{number}": value for number, value in enumerate(using.values())}
    options = ", ".join(f"{key} = $o{number}" for number, key in enumerate(using))
    return f"{verb} {name}{rows}{predict} USING {options}", parameters


def append(session: RemoteSession, order: Order) -> dict[str, Any]:
    """Put rows behind the stored ones, for a later training. Returns how many there are now."""
    model = session.connection.snapshot().model(order.project, order.name)
    if model is not None and not stored.is_stored(latest(model)):
        raise _own_query(latest(model))
    assert order.rows is not None
    session.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(stored.SCHEMA)}")
    with _transaction(session):
        stored.keep(session, order.project, order.name, order.rows, True)
    count = session.execute(f"SELECT count(*) FROM {stored.table(order.project, order.name)}").fetchone()
    session.end()
    return {"appended": order.rows.num_rows, "rows": count[0] if count else 0}


def latest(model: Model) -> Version:
    """The version that the next training starts from."""
    return model.untrained() or (model.version() if model.active is not None else model.versions[-1])


def _own_query(version: Version) -> CatalogError:
    return CatalogError(
        f'"{version.model}" is trained on a query of its own: {version.query}',
        hint="change the rows where it reads them",
    )


def _unknown(target: str, columns: list[str]) -> UnprocessableError:
    error = UnknownNameError.of("target column", target, columns)
    return UnprocessableError(error.message, hint=error.hint)


# Jobs ---------------------------------------------------------------------------------------------------------


@dataclass
class _SessionWork(ExecutionContext):
    """The work of a job that is done by statements of a server's session."""

    interrupt: Callable[[], None] = lambda: None

    def stop(self) -> None:
        """See `ExecutionContext`."""
        self.stopped = True
        self.interrupt()


def start(service: Service, principal: Principal, order: Order) -> tuple[Job, Future[Version]]:
    """Have it done when its turn comes: its job, and its outcome. Raises CatalogError when too many wait."""
    session = service.open(principal, "http")
    # Its end is not waited for by a statement: it has no time limit, and is stopped as a job.
    session.seconds = None
    outcome: Future[Version] = Future()
    model = session.connection.snapshot().model(order.project, order.name)
    job = Job(
        id=uuid.uuid4().hex,
        kind="CREATE MODEL" if model is None else "RETRAIN",
        project=order.project,
        model=order.name,
        version=model.next_number() if model is not None else 1,
        execution=_SessionWork(interrupt=session.interrupt),
    )

    def call(job: Job) -> None:
        try:
            job.execution.check()
            job.status = "training"
            session.connection.progress = job
            version = carry_out(session, order)
            job.version = version.number
            outcome.set_result(version)
        except BaseException as error:
            outcome.set_exception(error)
            raise
        finally:
            session.clean = False
            session.close()

    try:
        service.root.jobs.start(job, call)
    except MindSQLError:
        session.close()
        raise
    return job, outcome


async def wait(outcome: Future[Version], seconds: float) -> Version | None:
    """The trained version, None when it takes longer. Raises what the training raised."""
    done = asyncio.wrap_future(outcome)
    finished, _ = await asyncio.wait({done}, timeout=seconds)
    if not finished:
        done.add_done_callback(lambda late: late.exception())  # the job keeps it for who asks
        return None
    try:
        return done.result()
    except (StatementError, EngineError) as error:
        raise unprocessable(error) from error
    except Cancelled as error:  # by others: who waits has not gone away
        raise CatalogError(f"the training was stopped: {error.message}") from error


def unprocessable(error: MindSQLError) -> MindSQLError:
    """An error in statements that we made ourselves is one of what the request wanted: 422, and no text of ours.

    So is what an engine cannot be trained with.
    """
    if type(error) is EngineError:
        return UnprocessableError(error.message, hint=error.hint)
    if error.http_status not in (400, 404) or error.__class__.__module__.startswith("mindsql.server"):
        return error
    return UnprocessableError(error.message, hint=error.hint)
