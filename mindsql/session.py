"""Owns the state of one connection: its transaction, settings, project, sources, and its picture of the catalog."""

from __future__ import annotations

import os
import re
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mindsql import database, duckdb_errors
from mindsql.database import Database, DuckDBConnection
from mindsql.errors import AbortedError, UnknownNameError
from mindsql.progress import NullProgress, Progress
from mindsql.sandbox import Sandbox
from mindsql.settings import Settings
from mindsql.statements import Patterns, in_doubt

if TYPE_CHECKING:
    from mindsql.catalog import Catalog
    from mindsql.engine import Engine
    from mindsql.jobs import Jobs
    from mindsql.registry import Registry
    from mindsql.snapshot import Snapshot
    from mindsql.sources import OpenSource

PROCESS = f"{os.getpid()}-{os.urandom(4).hex()}"
"""This process, to tell whose unfinished trainings are in the catalog."""

_MACRO = re.compile(r"\b(?:MACRO|FUNCTION)\b", re.I)
_SUBJECT = re.compile(
    r"\s*(?:(?:SET|RESET|PRAGMA)\s+(?:(?:SESSION|GLOBAL|LOCAL)\s+)?(VARIABLE\s+)?(\w+)(?!\w|\.)|(USE)\s)", re.I
)
"""What a statement sets: a setting, a variable, or the schema. `PRAGMA threads = 2` is `SET threads = 2`."""
_TEMPORARY = re.compile(r"\s*CREATE\s+(?:OR\s+REPLACE\s+)?TEMP(?:ORARY)?\b", re.I)
_NO_NAMES = Patterns()


@dataclass(eq=False)
class Shared:
    """What all sessions of one database have in common.

    Attributes:
        models: Loaded models (`executor.engines.ModelCache`), made when first needed.
        trusted: Versions whose pickles the owner of a connection asked to trust, in this process.
        snapshot: The committed catalog, of that `catalog_version`.
        sessions: How many sessions people have open; the last one closes the file.
        key: What tells that two connections are to one file; None when nothing does.
    """

    database: Database
    models: Any = None
    trusted: set[str] = field(default_factory=set)
    snapshot: Snapshot | None = None
    catalog_version: int = -1
    sessions: int = 0
    key: Any = None
    _jobs: Jobs | None = None

    @cached_property
    def registry(self) -> Registry:
        """The handlers. Looking for entry points takes milliseconds, which a plain statement need not pay."""
        from mindsql.registry import Registry

        return Registry()

    @property
    def jobs(self) -> Jobs:
        """The trainings in the background."""
        from mindsql.jobs import Jobs

        with self.database.lock:
            if self._jobs is None:
                self._jobs = Jobs()
            return self._jobs

    def close(self) -> None:
        """Stop what is in the background, forget the loaded models, and close the file."""
        if self._jobs is not None:
            self._jobs.close()
        if self.models is not None:
            self.models.clear()
        if "registry" in self.__dict__:
            self.registry.close()
        self.database.close()


class Session:
    """The state behind one Connection."""

    def __init__(
        self, shared: Shared, settings: Settings, progress: Progress | None = None, background: bool = False
    ) -> None:
        """
        Args:
            shared: The database.
            settings: What is switched.
            progress: Who is told how far long statements are.
            background: Whether it is a job's own, which does not keep the file open.
        """
        self.shared = shared
        self.database = shared.database
        self.settings = settings
        self.progress: Progress = progress or NullProgress()
        self.raw: DuckDBConnection = shared.database.cursor()
        self.project = "mindsql"
        self.in_transaction = False
        self.replayed: dict[str, str] = {}
        self.adopted: list[str] = []  # what stands for tables in the running statement only
        self.plans: OrderedDict[Any, Any] = OrderedDict()
        self.prepared: dict[str, str] = {}  # the texts of PREPARE that ask a model, by their folded names
        self._sources: dict[str, tuple[Any, OpenSource]] = {}
        self.shown: dict[str, str] = {}  # what is adopted → its name in plans
        self.told: list[str] = []  # what the running statement has asked of sources
        self.stopped = False  # whether the running statement was, which sources ask
        self._own_snapshot: Snapshot | None = None
        self._changed = False
        self._of_snapshot: tuple[Snapshot | None, Patterns] = (None, _NO_NAMES)
        self._background = background
        if not background:
            with self.database.lock:
                shared.sessions += 1

    def fork(self, background: bool = False) -> Session:
        """Another session of the same database, with the same project and settings, for another thread."""
        other = Session(self.shared, self.settings, None if background else self.progress, background)
        other.project = self.project
        other.replayed = dict(self.replayed)
        for text in other.replayed.values():
            with duckdb_errors.ignored():
                other.raw.execute(text)
        return other

    @property
    def registry(self) -> Registry:
        """The handlers of the database."""
        return self.shared.registry

    def engine_class(self, engine: str, handler: str) -> type[Engine]:
        """The class of an engine's handler, or what stands for it in a worker process. Raises EngineError."""
        entry = self.snapshot().engine(engine)
        return self.registry.load(handler, entry.options if entry is not None else {})

    @cached_property
    def catalog(self) -> Catalog:
        """The catalog's tables, on this session's connection."""
        from mindsql.catalog import Catalog

        return Catalog(self.database, self.raw)

    # Catalog ----------------------------------------------------------------------------------------------

    def system_table(self, schema: str, name: str, as_text: bool = False) -> str | None:
        """The query that a system table stands for, as things are now; None when the name means something else. Its
        rows are there until the running statement's result is done with; with `as_text` few are in the query itself."""
        from mindsql.system import Offer, State, system_table

        loaded = self.shared.models.rows if self.shared.models is not None else list
        state = State(self.snapshot(), self.shared.jobs, self.registry, loaded)
        return system_table(schema, name, state, Offer(self._offer, as_text))

    def _offer(self, table: Any, shown: str = "") -> str:
        from mindsql.system import OFFERED

        name = f"{OFFERED}{os.urandom(8).hex()}"  # no statement can name it, nor have a table of that name
        self.adopt(name, table)
        self.shown[name] = shown or name
        return name

    def begin_statement(self) -> None:
        """Forget what the statement before adopted, asked and was told: an old stop must not end the new one."""
        for name in self.adopted:
            with duckdb_errors.ignored():
                self.raw.unregister(name)
        self.adopted.clear()
        self.shown.clear()
        self.told.clear()
        self.stopped = False

    def adopt(self, name: str, table: Any) -> None:
        """Make a value a table until the running statement's result is done with."""
        with duckdb_errors.translated():
            self.raw.register(name, table)
        self.adopted.append(name)

    def snapshot(self) -> Snapshot:
        """The catalog as this session's transaction sees it."""
        if self.in_transaction:
            if self._own_snapshot is None:
                self._own_snapshot = self.catalog.snapshot()
            return self._own_snapshot
        shared = self.shared
        with self.database.lock:
            if shared.snapshot is None or shared.catalog_version != self.database.catalog_version:
                catalog_version = self.database.catalog_version
                shared.snapshot = self._settled_snapshot()
                shared.catalog_version = catalog_version
            return shared.snapshot

    def _settled_snapshot(self) -> Snapshot:
        """The catalog as it is committed: its tables are read one after the other, but in one transaction, on a
        connection that no stop of this session reaches."""
        from mindsql.catalog import Catalog

        with closing(self.database.cursor()) as raw:
            database.run(raw, "BEGIN TRANSACTION")
            return Catalog(self.database, raw).snapshot()

    def names_ours(self, text: str) -> bool:
        """Whether a text holds a name that may be ours."""
        return self._patterns().names_ours(text)

    def is_plain(self, text: str) -> bool:
        """Whether a text is one query of DuckDB's own."""
        if not self.database.has_catalog:  # said twice: this is asked of every statement
            return in_doubt(text) is None
        return not self._patterns().doubtful(text)

    def _patterns(self) -> Patterns:
        if not self.database.has_catalog:
            return _NO_NAMES
        snapshot = self.snapshot()
        if self._of_snapshot[0] is not snapshot:
            self._of_snapshot = (snapshot, Patterns.of(snapshot.names()))
        return self._of_snapshot[1]

    @contextmanager
    def writing(self) -> Iterator[Catalog]:
        """Change the catalog: in the user's transaction if there is one, else in one of its own, on a connection of its
        own: a stop interrupts the statement's connections, and must not reach what tidies up after it."""
        if self.database.read_only:
            raise duckdb_errors.read_only_error()
        from mindsql.catalog import Catalog

        if self.in_transaction:
            before = self.snapshot()
            catalog = self._installed(Catalog(self.database, self.raw))
            self._own_snapshot = None
            try:
                yield catalog
            except BaseException:
                self._own_snapshot = before  # an aborted transaction cannot be asked again
                raise
            self._changed = True
            self._own_snapshot = catalog.after(before)
            return
        # Closing the connection undoes what was not committed, whatever ends the block.
        with self.database.writer, closing(self.database.cursor()) as raw:
            known = self._known()
            database.run(raw, "BEGIN TRANSACTION")
            catalog = self._installed(Catalog(self.database, raw))
            yield catalog
            after = catalog.after(known[0]) if known is not None else None
            database.run(raw, "COMMIT")
            self._committed((after, known[1]) if known is not None and after is not None else None)

    def _installed(self, catalog: Catalog) -> Catalog:
        if not catalog.installed():
            catalog.install()
        self.database.has_catalog = True
        return catalog

    def remember(self, text: str) -> None:
        """Keep a statement that every connection of the session must be told; the last one about a setting counts."""
        found = _SUBJECT.match(text)
        subject = " ".join(part.casefold() for part in found.groups() if part) if found is not None else text
        self.replayed.pop(subject, None)
        self.replayed[subject] = text

    def look_for_macros(self, text: str) -> None:
        """Note that a statement may have made or dropped a macro; a temporary one must be made on every connection."""
        if not _MACRO.search(text):
            return
        if _TEMPORARY.match(text):
            self.remember(text)
        self.database.macros_changed()
        self.plans.clear()

    def catalog_touched(self) -> None:
        """Note that a statement of DuckDB's own may have changed the catalog's tables."""
        if self.in_transaction:
            self._changed = True
            self._own_snapshot = None
        else:
            self._committed()

    def _known(self) -> tuple[Snapshot, int] | None:
        """The snapshot that is true now, if somebody has read it, and its generation."""
        with self.database.lock:
            kept, catalog_version = self.shared.snapshot, self.database.catalog_version
            current = kept is not None and self.shared.catalog_version == catalog_version
            return (kept, catalog_version) if kept is not None and current else None

    def _committed(self, after: tuple[Snapshot, int] | None = None) -> None:
        """Note that the catalog has changed; `after` is what it is now, if it was changed since that generation by
        nobody else."""
        with self.database.lock:
            if after is not None and after[1] == self.database.catalog_version:
                self.shared.snapshot, self.shared.catalog_version = after[0], self.database.catalog_version + 1
            self.database.catalog_version += 1
            self.database.schema_version += 1

    def transaction(self, is_open: bool, committed: bool) -> None:
        """Note that the user began or ended a transaction."""
        self.in_transaction = is_open
        self._own_snapshot = None
        if not is_open:
            if committed and self._changed:
                self._committed()
            elif self._changed:
                # Rolled back: plans made inside may name versions that are no more.
                self.plans.clear()
            self._changed = False

    def check_commit(self) -> None:
        """Roll back a transaction that an error has ended: DuckDB's COMMIT would do so without a word. Raises
        AbortedError."""
        if self.in_transaction and database.is_aborted(self.raw):
            database.run(self.raw, "ROLLBACK")
            self.transaction(False, committed=False)
            raise AbortedError(
                "nothing was committed: an error of an earlier statement had ended the transaction",
                hint="it is rolled back; run its statements anew",
            )

    # Connections ------------------------------------------------------------------------------------------

    def cursor(self) -> DuckDBConnection:
        """Another DuckDB connection that has been told the same SET, USE and PRAGMA."""
        raw = self.database.cursor()
        for text in self.replayed.values():
            with duckdb_errors.ignored():
                raw.execute(text)
        return raw

    def describe(self, parameters: Mapping[str, Any]) -> Callable[[str], Any]:
        """A function that tells the columns of a query."""

        def describe(sql: str) -> Any:
            wanted = {name: value for name, value in parameters.items() if f"${name}" in sql}
            return database.describe(self.raw, sql, wanted)

        return describe

    def is_table(self, name: str) -> bool:
        """Whether DuckDB has a table or view of that name on the search path."""
        return database.has_relation(self.raw, name)

    def located(self, name: str) -> tuple[str, str] | None:
        """Where DuckDB has what an unqualified name means: database and schema."""
        return database.located(self.raw, name)

    def tables(self) -> list[str]:
        """The names of the user's tables and views in DuckDB."""
        with duckdb_errors.ignored():
            found = self.raw.execute(
                "SELECT table_name FROM system.main.duckdb_tables() "
                "WHERE NOT internal AND schema_name <> 'mindsql' "
                "UNION SELECT view_name FROM system.main.duckdb_views() WHERE NOT internal"
            ).fetchall()
            return [name for (name,) in found]
        return []

    # Sources ----------------------------------------------------------------------------------------------

    def source(self, name: str) -> OpenSource:
        """An open source. Raises UnknownNameError, SourceError."""
        from mindsql.secrets import decrypted
        from mindsql.sources import Attached, Host, check_parameters, open_source

        entry = self.snapshot().source(name)
        if entry is None:
            known = database.attached(self.raw)
            found = next((own for own in known if own.casefold() == name.casefold()), None)
            if found is None:
                raise UnknownNameError.of(
                    "database", name, [*known, *(s.name for s in self.snapshot().sources)]
                )
            return Attached(found, self.raw, self.cursor)
        kept = self._sources.get(entry.name)
        if kept is None or kept[0] != entry:
            given = check_parameters(entry.engine, decrypted(entry.parameters), self.registry.sources)
            host = Host(
                *(self.raw, self.cursor, self._offer, lambda: self.stopped, self.told.append),
                *(self.settings.network, self.registry.sources, self.database.sandbox),
            )
            opened = open_source(entry, given, host)
            self._sources[entry.name] = (entry, opened)
        return self._sources[entry.name][1]

    def attach_sources(self, text: str) -> None:
        """Open the sources that a statement names, so that DuckDB finds their tables."""
        folded = text.casefold()
        for entry in self.snapshot().sources:
            if entry.name.casefold() in folded:
                self.source(entry.name)

    def interrupt_sources(self) -> None:
        """End what runs in the sources: DuckDB's own interrupt waits for their next rows."""
        self.stopped = True
        for _, source in list(self._sources.values()):
            source.interrupt()

    def forget_source(self, name: str) -> None:
        """Close a source that was dropped."""
        for key in [key for key in self._sources if key.casefold() == name.casefold()]:
            self._sources.pop(key)[1].close()

    def close(self) -> None:
        """Close the session's DuckDB connection, and the file with the last session."""
        self.plans.clear()
        for name in list(self._sources):
            self.forget_source(name)
        database.abandon(self.raw)
        with duckdb_errors.ignored():
            self.raw.close()
        if self._background:
            return
        with self.database.lock:
            self.shared.sessions -= 1
            last = self.shared.sessions == 0
        if last:
            self.shared.close()


_OPENING = threading.Lock()
_OPEN: weakref.WeakSet[Shared] = weakref.WeakSet()


def open_session(
    path: str, read_only: bool, sandbox: Sandbox | None, settings: Settings, progress: Progress | None
) -> Session:
    """A session of a file's database; those of one process to one file share it, and see what the others do. Raises
    CatalogError."""
    key = None
    if path and not path.startswith(":memory:") and sandbox is None:
        key = os.path.realpath(path), read_only
    with _OPENING:
        known = (shared for shared in _OPEN if key is not None and shared.sessions and shared.key == key)
        shared = next(known, None)
        if shared is None:
            shared = Shared(_opened(path, read_only, sandbox), key=key)
            _OPEN.add(shared)
        return Session(shared, settings, progress)


def _opened(path: str, read_only: bool, sandbox: Sandbox | None) -> Database:
    opened = Database(path, read_only, sandbox)
    if opened.has_catalog:
        from mindsql.migrations import migrate

        try:
            migrate(opened)
        except BaseException:
            opened.close()
            raise
    return opened
