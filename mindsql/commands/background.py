"""Owns the training that nobody waits for: what is checked at once, what its job does, what is kept when it fails."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import mindsql_grammar as grammar
from mindsql import database, queries
from mindsql.commands.training import (
    Finish,
    TrainingSpec,
    begin,
    carry_out,
    check_data,
    forget,
    new_version,
)
from mindsql.commands.training_rows import read_rows
from mindsql.errors import MindSQLError
from mindsql.execution import ExecutionContext
from mindsql.jobs import Job
from mindsql.schema import Schema
from mindsql.snapshot import Version

if TYPE_CHECKING:
    from mindsql.session import Session


def sees_own(session: Session, rows: grammar.Rows | None) -> bool:
    """Whether a training query may name a temporary table or a registered frame: no other session can read these."""
    if rows is None or rows.native is not None:
        return False
    own = database.temporary_names(session.raw)
    # A view may name one, too: all are looked into, as reading early costs nothing but the wait.
    texts = [rows.text, *(view.query for view in session.snapshot().views)] if own else []
    words = {word.casefold() for text in texts for word in re.findall(r"\w+", text)}
    return any(words.issuperset(re.findall(r"\w+", name)) for name in own)


def columns(session: Session, rows: grammar.Rows | None, parameters: Mapping[str, Any]) -> Schema:
    """The columns that the training rows will have. Raises what the query raises when it is parsed and bound."""
    if rows is None:
        return Schema()
    if rows.native is not None:
        return session.source(rows.native.source[0]).describe(rows.native.text)
    assert rows.query is not None
    session.attach_sources(rows.text)
    return queries.columns(session, rows.query, parameters)


def start(
    session: Session,
    kind: str,
    spec: TrainingSpec,
    parameters: Mapping[str, Any],
    finish: Finish,
    base: Version | None = None,
    fresh: bool = False,
) -> Version:
    """Begin a version and leave the rest to a job.

    Args:
        session: The one that asks; the job works in a session of its own.
        kind: The statement.
        recipe: What, checked but for the rows; with its rows where only `session` could read them.
        parameters: Of the training query.
        finish: Switches to the complete version.
        base: The version to continue from (FINETUNE).
        fresh: Whether there may be no such model yet.

    Returns:
        The version, `generating`.

    Raises:
        CatalogError: Too many trainings wait, or the model exists.
    """
    version = begin(session, new_version(spec, "generating"), fresh)
    own = session.fork(background=True)
    job = Job(
        id=version.id,
        kind=kind,
        project=version.project,
        model=version.model,
        version=version.number,
        execution=ExecutionContext(raws=[own.raw], network=own.settings.network),
    )

    def call(job: Job) -> None:
        with closing(own), closing(job.execution):
            _carry_out(own, job, spec, version, parameters, finish, base)

    try:
        session.shared.jobs.start(job, call)
    except MindSQLError:
        own.close()
        forget(session, version)
        raise
    return version


def _carry_out(
    session: Session,
    job: Job,
    spec: TrainingSpec,
    version: Version,
    parameters: Mapping[str, Any],
    finish: Finish,
    base: Version | None,
) -> None:
    begun = time.perf_counter()
    try:
        job.execution.check()  # it may have been stopped before its turn
        if spec.data is None:
            spec.data, spec.schema = read_rows(
                session,
                spec.rows,
                parameters,
                job.execution,
                spec.cls.capabilities.takes_arrow,
                spec.settings.get("max_rows"),
            )
            check_data(spec)
        version = replace(version, status="training")
        with session.writing() as catalog:
            catalog.save_version(version)
        job.status = "training"
        job.version = carry_out(session, spec, version, job.execution, finish, base).number
    except BaseException as error:
        failed = replace(
            version, status="error", error=job.reason(error), seconds=time.perf_counter() - begun
        )
        # A session of its own: what stops the job interrupts the connections that are at work for it.
        with (
            suppress(MindSQLError),
            closing(session.fork(background=True)) as other,
            other.writing() as catalog,
        ):
            catalog.save_version(failed)
        raise
