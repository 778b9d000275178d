"""Owns how a statement of DuckDB's own is run, as it was written, and what it changes in its session."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mindsql import database, duckdb_errors, replacement_scan
from mindsql.batches import Batches
from mindsql.errors import MindSQLError, StatementError
from mindsql.execution import ExecutionContext
from mindsql.parameters import Parameters
from mindsql.result import Kind, Result
from mindsql.statements import (
    COUNTING_WORDS,
    QUERY_WORDS,
    READING_WORDS,
    SESSION_WORDS,
    TRANSACTION_WORDS,
)

if TYPE_CHECKING:

    from mindsql.session import Session

_CATALOG = re.compile(r"\bmindsql\b", re.I)


def run(session: Session, text: str, word: str, parameters: Parameters, execution: ExecutionContext) -> Result:
    """Run a statement that is DuckDB's alone. `word` is its leading word. Raises MindSQLError."""
    if word in ("COMMIT", "END"):
        session.check_commit()
    try:
        if session.settings.inspect is not None and (word in READING_WORDS or word == "CREATE"):
            session.settings.inspect(session.raw, text, parameters)
        if execution.arrow and word in READING_WORDS:
            return _streamed(session, text, parameters, execution)
        database.open_result(session.raw, text, parameters)
    except MindSQLError as error:
        if word in ("COMMIT", "END"):
            session.transaction(False, committed=False)  # what cannot be committed is rolled back
        misspelt = replacement_scan.misspelt(session, text) if isinstance(error, StatementError) else None
        if misspelt is None:
            raise
        raise misspelt from None
    finally:
        if word in ("ROLLBACK", "ABORT"):
            session.transaction(False, committed=False)
    if not word and session.raw.description is None:
        return Result.of(kind="done", close=execution.close)  # there was no statement in it
    kind: Kind = "rows"
    if word not in QUERY_WORDS and _CATALOG.search(text):
        session.catalog_touched()
    if word not in READING_WORDS:
        kind = "done"
        if word in TRANSACTION_WORDS:
            session.transaction(TRANSACTION_WORDS[word], committed=word in ("COMMIT", "END"))
        elif word in SESSION_WORDS:
            session.remember(database.variable_as_set(session.raw, text) or text)
            session.plans.clear()
            kind = "rows" if word == "PRAGMA" else "done"
        else:
            session.look_for_macros(text)
            session.database.schema_version += 1
            kind = "rows" if word == "CALL" else "done"
    if word in COUNTING_WORDS or word == "EXECUTE":
        names = [item[0] for item in session.raw.description or []]
        kind = "count" if names == ["Count"] else "rows"
    return Result.of(raw=session.raw, kind=kind, close=execution.close)


def _streamed(session: Session, text: str, parameters: Parameters, execution: ExecutionContext) -> Result:
    schema, reader = database.stream(session.raw, text, parameters)
    batches = execution.batches(reader, lambda error: duckdb_errors.translate_any(error, text))
    return Result.of(batches=Batches(reader.schema, batches), schema=schema, close=execution.close)
