"""Owns which databases CREATE DATABASE knows, and how a session has them open.

DuckDB's own files and folders of files it reads itself; those of other servers come from packages that subclass
`mindsql.source.Source`, found by entry point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from sqlglot import expressions as exp

from mindsql import database, duckdb_errors, source
from mindsql.database import DuckDBConnection, literal, quote
from mindsql.engine import Network, Option
from mindsql.errors import AccessError, MindSQLError, SourceError, StatementError, UnknownNameError
from mindsql.files import Files
from mindsql.natives import InDuckDB
from mindsql.options import admit_files, check
from mindsql.sandbox import Sandbox
from mindsql.schema import Column, Schema
from mindsql.snapshot import SourceEntry
from mindsql.source import Rows, Source, Top

if TYPE_CHECKING:
    import pyarrow as pa

class OpenSource(Protocol):
    """A source of rows, open on one connection."""

    def tables(self) -> list[str]:
        """The names of its tables."""

    def relation(self, parts: tuple[str, ...], top: Top | None = None) -> exp.Expr | None:
        """What DuckDB reads for a table named after the source (`db.schema.table` gives `("schema", "table")`), all of
        it or the first rows. None when DuckDB cannot read it itself. Raises UnknownNameError."""

    def describe(self, text: str) -> Schema:
        """The columns of a native query. Raises SourceError."""

    def read(self, text: str) -> Rows:
        """The rows of a native query. Raises SourceError."""

    def close(self) -> None:
        """Let go of it."""

    def interrupt(self) -> None:
        """End what runs there, from another thread."""


class Attached(InDuckDB):
    """A database that DuckDB has open."""

    def __init__(self, name: str, raw: DuckDBConnection, cursor: Callable[[], DuckDBConnection]) -> None:
        self.name = name
        self._raw = raw
        self._cursor = cursor

    def tables(self) -> list[str]:
        """All tables and views."""
        found = database.rows(
            self._raw,
            "SELECT table_name FROM information_schema.tables WHERE table_catalog = "
            f"{literal(self.name)} AND table_schema <> 'mindsql' ORDER BY 1 ASC",
        )
        return [name for (name,) in found]

    def relation(self, parts: tuple[str, ...], top: Top | None = None) -> exp.Expr | None:
        """The attached table, by its own name."""
        return exp.table_(
            exp.to_identifier(parts[-1], quoted=True),
            db=exp.to_identifier(parts[-2] if len(parts) > 1 else "main", quoted=True),
            catalog=exp.to_identifier(self.name, quoted=True),
        )

    def _inside(self) -> DuckDBConnection:
        raw = self._cursor()
        database.run(raw, f"USE {quote(self.name)}")
        return raw


class DuckDBFile(Attached):
    """A DuckDB file, attached to the user's database under the source's name."""

    options = (
        Option(
            "path",
            "string",
            required=True,
            aliases=("database", "file"),
            file=True,
            description="the DuckDB file",
        ),
        Option("read_only", "boolean", default=False, description="never write to it"),
    )

    def __init__(
        self,
        name: str,
        parameters: Mapping[str, Any],
        raw: DuckDBConnection,
        cursor: Callable[[], DuckDBConnection],
        offer: Callable[[Any, str], str],
    ) -> None:
        super().__init__(name, raw, cursor)
        path = Path(parameters["path"])
        if path.is_dir():
            raise SourceError(f'"{path}" is a folder', hint="ENGINE = 'files'")
        if name not in database.attached(raw):
            if parameters["read_only"] and not path.exists():
                raise SourceError(f'the file "{path}" does not exist')
            mode = " (READ_ONLY)" if parameters["read_only"] else ""
            database.run(raw, f"ATTACH {literal(str(path))} AS {quote(name)}{mode}")

    def close(self) -> None:
        """Detach it."""
        with duckdb_errors.ignored():
            self._raw.execute(f"DETACH {quote(self.name)}")


class External:
    """A source of another package."""

    def __init__(self, source: Source, host: Host) -> None:
        self._source = source
        self._host = host

    def tables(self) -> list[str]:
        """Its tables and views."""
        return self._source.tables()

    def relation(self, parts: tuple[str, ...], top: Top | None = None) -> exp.Expr | None:
        """The table, offered to DuckDB for the running statement."""
        from mindsql.source_table import SourceTable

        shown = ".".join((self._source.name, *parts))
        if len(parts) == 2 and parts[0].casefold() == "information_schema":
            return exp.table_(self._host.offer(self._listed(parts[1]), shown), quoted=True)
        table = SourceTable(self._source, parts, self._source.schema(parts), self._host.told, top)
        return exp.table_(self._host.offer(table, shown), quoted=True)

    def _listed(self, name: str) -> pa.Table:
        """The tables and columns of the source, as `information_schema` has them."""
        import pyarrow as pa

        rows = []
        for table in self.tables():
            *schema, last = parts = (table,) if "." not in table or self.has((table,)) else tuple(table.split("."))
            row = {"table_catalog": self._source.name, "table_schema": ".".join(schema) or None, "table_name": last}
            if name.casefold() == "columns":
                columns = self._in_duckdb(self._source.schema(parts))
                for at, column in enumerate(columns, 1):
                    rows.append({**row, "column_name": column.name, "ordinal_position": at, "data_type": column.type})
            else:
                rows.append({**row, "table_type": "BASE TABLE"})
        texts = [(key, pa.string()) for key in ("table_catalog", "table_schema", "table_name")]
        if name.casefold() == "tables":
            return pa.Table.from_pylist(rows, pa.schema([*texts, ("table_type", pa.string())]))
        if name.casefold() == "columns":
            own = [("column_name", pa.string()), ("ordinal_position", pa.int32()), ("data_type", pa.string())]
            return pa.Table.from_pylist(rows, pa.schema([*texts, *own]))
        raise UnknownNameError.of(f"list of {self._source.name}.information_schema:", name, ["columns", "tables"])

    def describe(self, text: str) -> Schema:
        """The columns of a query in the source's words."""
        return self._in_duckdb(self._source.describe(text))

    def read(self, text: str) -> Rows:
        """The rows of a query in the source's words."""
        import pyarrow as pa

        from mindsql.source_table import closing

        rows = self._source.query(text)
        names = _unique(rows.schema.names)
        schema = pa.schema([field.with_name(name) for field, name in zip(rows.schema, names, strict=True)])
        batches = (pa.RecordBatch.from_arrays(batch.columns, schema=schema) for batch in closing(rows))
        return Rows(schema, batches)

    def accepts(self, parts: tuple[str, ...]) -> Schema:
        """The columns that rows can be written to."""
        return self._in_duckdb(self._writable().accepts(parts))

    def created(self, given: Schema) -> tuple[Schema, list[str]]:
        """The columns of a new table for rows of these, as the rows have to be, and their types in the source's words:
        what it has no type for is text there."""
        import pyarrow as pa

        source = self._writable()
        columns, types = [], []
        for column in given:
            known = {"UUID": pa.uuid(), "JSON": pa.json_()}.get(column.type)
            kind = known or database.arrow_type(self._host.raw, column.type)
            found = source.column_type(kind)
            as_text = found is None or known is not None or pa.types.is_string(kind)
            columns.append(Column(column.name, "VARCHAR") if as_text else column)
            types.append(found or source.column_type(pa.string()) or "TEXT")
        return Schema(columns), types

    def write(
        self,
        parts: tuple[str, ...],
        rows: Rows,
        mode: Literal["append", "create", "replace"] = "append",
        types: Sequence[str] = (),
    ) -> int:
        """Write rows to a table; how many there were."""
        failed: list[BaseException] = []

        def batches() -> Iterator[pa.RecordBatch]:
            try:
                yield from rows.batches
            except BaseException as error:
                failed.append(error)
                raise

        try:
            return self._writable().write(parts, Rows(rows.schema, batches()), mode, types)
        except Exception as error:  # a driver may raise anything, and it only knows that the rows ended
            if failed:
                raise duckdb_errors.translate_any(failed.pop()) from error
            raise

    def has(self, parts: tuple[str, ...]) -> bool:
        """Whether there is a table of that name."""
        try:
            self._source.schema(parts)
        except UnknownNameError:
            return False
        return True

    def drop(self, parts: tuple[str, ...]) -> None:
        """Drop a table."""
        self._writable().drop(parts)

    def run(self, text: str) -> int:
        """Run a statement in the source's words; how many rows it changed, -1 if that is not told."""
        return self._writable().run(text)

    def _writable(self) -> Source:
        if self._source.parameters.get("read_only"):
            raise SourceError(
                f'the database "{self._source.name}" is only to be read',
                hint='it was created with "read_only": true',
            )
        return self._source

    def _in_duckdb(self, schema: pa.Schema) -> Schema:
        """Columns with the types that DuckDB reads them as."""
        empty = self._host.offer(schema.empty_table().rename_columns(_unique(schema.names)), self._source.name)
        return database.describe(self._host.raw, f"FROM {quote(empty)}")

    def interrupt(self) -> None:
        """End what runs there."""
        self._source.interrupt()

    def close(self) -> None:
        """Let go of its connections."""
        self._source.close()


def _unique(names: Sequence[str]) -> list[str]:
    """The names of a query's columns, told apart as DuckDB does it: `a`, `a_1`."""
    made: list[str] = []
    seen: set[str] = set()
    for name in names:
        number, unique = 0, name
        while unique.casefold() in seen:
            number += 1
            unique = f"{name}_{number}"
        seen.add(unique.casefold())
        made.append(unique)
    return made


_OWN: dict[str, type[DuckDBFile | Files]] = {"duckdb": DuckDBFile, "files": Files}


Registered = Mapping[str, type[Source]]
"""The sources that were registered on a connection, by their names in lower case."""


def options(engine: str, registered: Registered) -> Sequence[Option]:
    """What PARAMETERS of an engine may hold. Raises UnknownNameError, SourceError."""
    own = _OWN.get(engine.casefold())
    return own.options if own is not None else _load(engine, registered).options


def _load(engine: str, registered: Registered) -> type[Source]:
    if engine.casefold() in registered:
        return registered[engine.casefold()]
    entry = source.find(engine)
    if entry is None:
        names = {*_OWN, *registered, *(entry.name for entry in source.entry_points())}
        raise UnknownNameError.of("database engine", engine, sorted(names))
    try:
        found = entry.load()
    except ImportError as error:
        raise SourceError(
            f'the database engine "{engine}" needs a package that is not there: {error.name}',
            hint=f"pip install '{_requirement(entry)}'",
        ) from error
    if not source.is_source(found):
        raise SourceError(f"{entry.value} is no source", hint=source.WHAT_IT_NEEDS)
    cls: type[Source] = found
    return cls


def _requirement(entry: EntryPoint) -> str:
    """What pip is told to install what a source needs: an extra is named as the source's module."""
    extra = entry.module.rpartition(".")[2]
    if entry.dist is None:
        return entry.module.partition(".")[0]
    known = entry.dist.metadata.get_all("Provides-Extra") or []
    return f"{entry.dist.name}[{extra}]" if extra in known else entry.dist.name


def check_parameters(engine: str, parameters: Mapping[str, Any], registered: Registered) -> dict[str, Any]:
    """Check the arguments of CREATE DATABASE. Raises UnknownNameError, StatementError, SourceError."""
    known = options(_engine(engine, parameters), registered)
    whole = {name for option in known if option.type == "integer" for name in (option.name, *option.aliases)}
    given = {
        # Scripts write "port": "5432" as often as not.
        key: int(value) if key in whole and isinstance(value, str) and value.strip().isdigit() else value
        for key, value in parameters.items()
    }
    return check(given, known, f"ENGINE = '{engine}'")


def _engine(engine: str, parameters: Mapping[str, Any]) -> str:
    path = parameters.get("path")
    return "files" if engine.casefold() == "duckdb" and isinstance(path, str) and Path(path).is_dir() else engine


@dataclass(frozen=True)
class Host:
    """What a session lends to its sources.

    Attributes:
        raw: Its DuckDB connection.
        cursor: Makes another one.
        offer: Makes a value a table for the running statement, shown in plans by the second name; gives its name.
        stopped: Whether the running statement was stopped.
        told: Is told the text that a source is sent for a table.
        network: Where may be connected to.
        registered: The sources that were registered on it.
        sandbox: Which files may be opened.
    """

    raw: DuckDBConnection
    cursor: Callable[[], DuckDBConnection]
    offer: Callable[[Any, str], str]
    stopped: Callable[[], bool]
    told: Callable[[str], None]
    network: Network
    registered: Registered
    sandbox: Sandbox | None = None


def open_source(entry: SourceEntry, parameters: Mapping[str, Any], host: Host) -> OpenSource:
    """Open a source. Raises SourceError, AccessError."""
    engine = _engine(entry.engine, parameters)
    admit_files(parameters, options(engine, host.registered), host.sandbox)
    try:
        own = _OWN.get(engine.casefold())
        if own is not None:
            return own(entry.name, parameters, host.raw, host.cursor, host.offer)
        opened = _load(engine, host.registered)(entry.name, parameters, host.network)
        opened.stopped = host.stopped
        return External(opened, host)
    except (SourceError, StatementError, AccessError):
        raise
    except MindSQLError as error:
        raise SourceError(
            f'the database "{entry.name}" cannot be opened: {error.message}', hint=error.hint
        ) from error
