"""Owns the public face: `connect`, and a Connection that takes text and gives a Result. All doors go through it."""

from __future__ import annotations

import atexit
import sys
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

from mindsql import database, duckdb_errors, passthrough, replacement_scan
from mindsql.cluster.ray import connected
from mindsql.error_spans import relocated
from mindsql.errors import (
    Cancelled,
    InterfaceError,
    MindSQLError,
    StatementError,
    UnknownNameError,
    alone,
)
from mindsql.execution import ExecutionContext, apart, import_apart, shielded
from mindsql.parameters import Parameters, are_plain, given, named, sets, without_tables
from mindsql.progress import Progress
from mindsql.result import Result
from mindsql.sandbox import Sandbox
from mindsql.session import PROCESS, Session, open_session
from mindsql.settings import Settings
from mindsql.statements import PREPARED_WORDS, is_verb, leading_word, parse

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from mindsql.engine import Capabilities, Engine, Option
    from mindsql.jobs import Jobs
    from mindsql.snapshot import Snapshot, Version
    from mindsql.source import Source

_OPEN: weakref.WeakSet[Connection] = weakref.WeakSet()


def connect(
    path: str = ":memory:",
    read_only: bool = False,
    *,
    progress: Progress | None = None,
    settings: Settings | None = None,
    sandbox: Sandbox | None = None,
    executor: str | None = None,
) -> Connection:
    """Open a database.

    Args:
        path: A DuckDB file, made if it does not exist; `:memory:` for one that is gone when it is closed.
        read_only: Never write; several processes may then read one file.
        progress: Who is told how far long statements are.
        settings: What can be switched; see `Settings`.
        sandbox: Closes the database to the machine; see `Sandbox`.
        executor: Where queries over files are answered: as `SET executor` takes it.

    Raises:
        CatalogError: The file cannot be opened, or another process has it open.
        StatementError: There is no such executor, or no cluster answers.
    """
    if executor is not None:
        settings = replace(settings or Settings(), executor=connected(executor))
    session = open_session(str(path), read_only, sandbox, settings or Settings(), progress)
    connection = Connection(session)
    if session.database.has_catalog and not read_only:
        # Trainings that a killed process left behind.
        session.catalog.mark_interrupted(PROCESS)
    return connection


class Connection:
    """A connection to a database, with one session of its own: transaction, settings, current project.

    One thread at a time; take `cursor()` for another thread. Use it as a context manager, or close it.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._result: Result | None = None
        self._plain_execution = ExecutionContext(session.progress, [session.raw])
        self._execution = self._plain_execution
        self._closed = False
        self._many: int | None = None
        self.arraysize = 1  # PEP 249: how many rows fetchmany gives when it is not told
        _OPEN.add(self)

    # Running ----------------------------------------------------------------------------------------------

    def execute(self, sql: str, parameters: Parameters = None, *, arrow: bool = False) -> Result:
        """Run one statement, or several, and give the result of the last.

        Args:
            sql: SQL of DuckDB and MindSQL.
            parameters: A sequence for `?` and `$1`, a mapping for `$name`; for the last statement.
            arrow: The rows will be read as Arrow: so they stream, where DuckDB would else keep a copy of all.

        Raises:
            MindSQLError: What is wrong, where, and what to do.
        """
        session = self._session
        tables: dict[str, Any] = {}
        if parameters is not None and not are_plain(parameters):
            sql, parameters, tables = without_tables(sql, given(parameters))
        special = arrow or tables or session.adopted or self._closed or session.settings.inspect is not None
        if not special and session.is_plain(sql):
            return self._plain(sql, parameters)
        self._begin(arrow, tables)
        if ";" in sql.rstrip().rstrip(";"):
            return self._several(sql, parameters, tables)
        return self._one(sql, parameters)

    sql = execute

    def _plain(self, text: str, parameters: Parameters) -> Result:
        """A query that names nothing of ours, on the shortest way: its time should be DuckDB's."""
        self._many = None
        if self._result is not None:
            self._result.close()
            self._result = None
        self._execution = self._plain_execution
        self._execution.stopped = False
        raw = self._session.raw
        try:
            database.open_result(raw, text, parameters)
        except UnknownNameError:
            # A local variable, or a better hint: nothing has run, so it may be asked again.
            self._begin()
            return self._one(text, parameters)
        except MindSQLError as error:
            better = (
                replacement_scan.misspelt(self._session, text) if error.message.startswith("syntax error") else None
            )
            (better or error).locate(text)
            if better is not None:
                raise better from error
            raise
        self._result = Result(raw)
        return self._result

    def executemany(self, sql: str, parameters: Iterable[Parameters]) -> Result:
        """Run a statement once for each set of parameters; the result of the last. `rowcount` is that of all."""
        result, total = Result.of(kind="done"), 0
        for row in sets(parameters):
            result = self.execute(sql, row)
            total = total + result.rowcount if total >= 0 and result.rowcount >= 0 else -1
        self._many = total if result.kind == "count" else None
        return result

    def explain(self, sql: str, parameters: Parameters = None, *, analyze: bool = False) -> str:
        """How a statement would be run; with `analyze`, how it was."""
        result = self.execute(f"EXPLAIN {'ANALYZE ' if analyze else ''}{sql}", parameters)
        return "\n".join(str(row[-1]) for row in result.fetchall())

    def interrupt(self) -> None:
        """Stop the running statement, from another thread. It raises Cancelled."""
        self._execution.stop()

    @property
    def project(self) -> str:
        """The current project: where the names of models are looked for first."""
        return self._session.project

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open that the user began."""
        return self._session.in_transaction

    def finish(self) -> None:
        """Let go of the last result, and of what its statement holds open."""
        self._begin()

    def _check_open(self) -> None:
        if self._closed:
            raise InterfaceError("the connection is closed")

    def _begin(self, arrow: bool = False, tables: Mapping[str, Any] | None = None) -> None:
        self._check_open()
        self._many = None
        if self._result is not None:
            self._result.close()
            self._result = None
        session = self._session
        session.begin_statement()
        self._execution = ExecutionContext(
            session.progress, [session.raw], network=session.settings.network, interrupt=session.interrupt_sources
        )
        self._execution.arrow = arrow
        for name, table in (tables or {}).items():
            session.adopt(name, table)

    def _several(self, sql: str, parameters: Parameters, tables: Mapping[str, Any]) -> Result:
        import mindsql_grammar as grammar

        pieces = grammar.split(sql)
        result = Result.of(kind="done")
        for number, piece in enumerate(pieces):
            if number:
                self._begin(self._execution.arrow, tables)
            try:
                result = self._one(piece.text, parameters if number == len(pieces) - 1 else None)
                if number < len(pieces) - 1 and result.kind == "rows":
                    result.fetchall()
            except MindSQLError as error:
                # Places are told in the whole text.
                if error.span is not None and error.text == piece.text:
                    error.span = (error.span[0] + piece.start, error.span[1] + piece.start)
                    error.text = sql
                raise
        return result

    def _one(self, text: str, parameters: Parameters) -> Result:
        try:
            while True:
                try:
                    self._result = self._dispatch(text, parameters)
                    return self._result
                except UnknownNameError as error:
                    self._execution.close()
                    adopted = replacement_scan.adopt(self._session, error, sys._getframe(2))
                    if not adopted:
                        replacement_scan.suggest_relation(self._session, error, sys._getframe(2))
                        raise
        except MindSQLError as error:
            self._execution.close()
            relocated(error, text).locate(text)
            raise alone(error) from error.__cause__
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                self._execution.stop()
            shielded(self._execution.close)
            if self._execution.stopped and isinstance(error, Exception):
                raise Cancelled() from error
            raise

    def _dispatch(self, text: str, parameters: Parameters) -> Result:
        session = self._session
        word = leading_word(text)
        if not (is_verb(text, word) or session.names_ours(text) or (session.prepared and word in PREPARED_WORDS)):
            return passthrough.run(session, text, word, parameters, self._execution)
        import_apart("sqlglot", "mindsql.dispatch", "mindsql.unread")
        from mindsql import dispatch, unread

        values = named(parameters)
        kept = dispatch.run_kept(session, text, values, self._execution)
        if kept is not None:
            return kept
        try:
            statements = parse(text)
        except StatementError as error:
            if is_verb(text, word):
                raise
            replaced = unread.without_models(session, text, values, self._execution)
            if replaced is not None:
                return self._dispatch(*replaced)
            try:
                return passthrough.run(session, text, word, parameters, self._execution)
            except MindSQLError:
                raise error from None
        if not statements:
            return Result.of(kind="done")
        if unread.is_unread(statements[0], text):
            replaced = unread.without_models(session, text, values, self._execution)
            if replaced is not None:
                return self._dispatch(*replaced)
        result = dispatch.run(session, statements[0], text, values, self._execution)
        if result is not None:
            return result
        session.attach_sources(text)
        return passthrough.run(session, text, word, parameters, self._execution)

    # Local variables --------------------------------------------------------------------------------------

    def register(self, name: str, frame: Any) -> Connection:
        """Make a DataFrame, an Arrow table or stream, or anything with `__arrow_c_stream__` a table."""
        self._begin()
        with duckdb_errors.translated():
            self._session.raw.register(name, frame)
        self._session.plans.clear()  # no other session sees it
        return self

    def unregister(self, name: str) -> Connection:
        """Take back `register`."""
        self._begin()
        with duckdb_errors.translated():
            self._session.raw.unregister(name)
        self._session.plans.clear()  # no other session sees it
        return self

    # Engines ----------------------------------------------------------------------------------------------

    def register_engine(self, name: str, cls: type[Engine]) -> Connection:
        """Make an Engine class a handler of this database, for CREATE ML_ENGINE and USING engine."""
        self._session.registry.register(name, cls)
        return self

    def register_source(self, name: str, cls: type[Source]) -> Connection:
        """Make a Source class an engine of CREATE DATABASE for this database."""
        self._session.registry.register_source(name, cls)
        return self

    # Beside tables ----------------------------------------------------------------------------------------

    @property
    def jobs(self) -> Jobs:
        """The trainings in the background, of all connections to this database."""
        return self._session.shared.jobs

    def snapshot(self) -> Snapshot:
        """What there is beside tables: an immutable picture of projects, engines, models, views and sources."""
        return self._session.snapshot()

    @property
    def models(self) -> list[dict[str, Any]]:
        """The models that are loaded now: where each runs, its memory in bytes, how often it was asked, since when."""
        loaded = self._session.shared.models
        return loaded.rows() if loaded is not None else []

    def install(self) -> None:
        """Make the catalog's tables now. The first statement that needs them does so, too; but two that do it at once,
        each in a transaction, are in each other's way."""
        with self._session.writing():
            pass

    def options(self, engine: str, using: Mapping[str, Any]) -> Sequence[Option]:
        """The options of USING for an engine or handler, given some of them. Raises UnknownNameError."""
        from mindsql.executor.engines import engine_boundary

        session = self._session
        entry = session.snapshot().engine(engine)
        cls = session.engine_class(engine, entry.handler if entry is not None else engine)
        with engine_boundary(engine, "options"):
            return apart(lambda: cls.options_for(using))

    def capabilities(self, version: Version) -> Capabilities:
        """What the engine of a model's version allows. Raises EngineError, CatalogError when it cannot be loaded."""
        from mindsql import queries
        from mindsql.bound import BoundModel

        return queries.load(self._session, BoundModel(version)).capabilities

    def ask(self, version: Version, rows: pa.RecordBatch) -> pa.Array:
        """A version's answers, one for each row: the target as `SELECT target FROM model.1 WHERE …` gives it.

        Args:
            version: Of `snapshot()`.
            rows: Its inputs, named and ordered as in `version.inputs`.

        Raises:
            MindSQLError: What the SELECT raises.
        """
        from mindsql import queries

        self._begin()
        try:
            return queries.ask(self._session, version, rows, self._execution)
        finally:
            self._execution.close()

    def artifacts(self, version: Version) -> dict[str, bytes]:
        """The files of a model's version, by name. Raises CatalogError when one is damaged."""
        catalog = self._session.catalog
        files = {name: catalog.artifact(version, name) for name in catalog.artifact_names(version)}
        return {name: content for name, content in files.items() if content is not None}

    # DB-API 2.0 and life ----------------------------------------------------------------------------------

    @property
    def progress(self) -> Progress:
        """Who is told how far long statements are."""
        return self._session.progress

    @progress.setter
    def progress(self, listener: Progress) -> None:
        self._session.progress = listener

    def cursor(self) -> Connection:
        """Another connection to the same database, for another thread or an own transaction."""
        self._check_open()
        return Connection(self._session.fork())

    def begin(self) -> Connection:
        """BEGIN TRANSACTION."""
        self.execute("BEGIN TRANSACTION")
        return self

    def commit(self) -> Connection:
        """COMMIT, if a transaction is open."""
        self._check_open()
        if self._session.in_transaction:
            self.execute("COMMIT")
        return self

    def rollback(self) -> Connection:
        """ROLLBACK, if a transaction is open."""
        self._check_open()
        if self._session.in_transaction:
            self.execute("ROLLBACK")
        return self

    @property
    def description(self) -> list[tuple[Any, ...]] | None:
        """PEP 249: the columns of the last result; None when it has no rows, as of an INSERT."""
        result = self._result
        return result.description if result is not None and result.kind == "rows" else None

    @property
    def rowcount(self) -> int:
        """PEP 249: the rows that the last statement changed, -1 when that is not known."""
        if self._many is not None:
            return self._many
        return self._result.rowcount if self._result is not None else -1

    def setinputsizes(self, sizes: Any) -> None:
        """PEP 249: does nothing, which it may."""

    def setoutputsize(self, size: int, column: int | None = None) -> None:
        """PEP 249: does nothing, which it may."""

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self

    def __next__(self) -> tuple[Any, ...]:
        row = self.fetchone()
        if row is None:
            raise StopIteration
        return row

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row of the last result."""
        return self._rows().fetchone()

    def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        """Up to `size` rows of the last result; `arraysize` when no size is given."""
        return self._rows().fetchmany(self.arraysize if size is None else size)

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows left of the last result."""
        return self._rows().fetchall()

    def df(self) -> pd.DataFrame:
        """The last result as a pandas DataFrame."""
        return self._last().df()

    def arrow(self) -> pa.Table:
        """The last result as a pyarrow Table."""
        return self._last().arrow()

    def pl(self) -> pl.DataFrame:
        """The last result as a polars DataFrame."""
        return self._last().pl()

    def _rows(self) -> Result:
        """The last result, which must have rows. Raises InterfaceError."""
        result = self._last()
        if result.kind != "rows":
            raise InterfaceError("the last statement gave no rows; rowcount says how many it changed")
        return result

    def _last(self) -> Result:
        if self._result is None:
            raise InterfaceError("no statement has been run")
        return self._result

    def close(self) -> None:
        """Close the connection; the last one closes the file."""
        if self._closed:
            return
        self._begin()
        self._closed = True
        _OPEN.discard(self)
        self._session.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@atexit.register
def _close_all() -> None:
    """DuckDB complains about connections that are open when the process ends."""
    for connection in list(_OPEN):
        connection.close()


__all__ = ["Connection", "connect"]
