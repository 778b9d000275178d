"""The only module that calls duckdb: opens databases and cursors, and runs SQL."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import duckdb

from mindsql.duckdb_errors import FAILED, ignored, translate, translate_any, translated
from mindsql.errors import (
    AbortedError,
    CatalogError,
    MindSQLError,
    StatementError,
)
from mindsql.library_warnings import suppress_warnings
from mindsql.parameters import Parameters
from mindsql.sandbox import FREE_SETTINGS, Sandbox, spill_folder, start_options
from mindsql.schema import Schema

if TYPE_CHECKING:
    import pyarrow as pa

DuckDBConnection: TypeAlias = duckdb.DuckDBPyConnection



class Database:
    """One open DuckDB file (or memory), shared by all connections and cursors on it.

    Attributes:
        name: What DuckDB calls it, to qualify our catalog's tables.
        lock: Held while the shared picture of the catalog is read or outdated.
        writer: Held by a session while it changes the catalog in a transaction of its own.
        generation: Grows with every committed change of MindSQL's catalog.
        has_catalog: Whether MindSQL's catalog may be in it; without, no name can be ours.
        schema_version: Grows with every statement that may change tables, so that cached plans can be dropped.
        sandbox: What statements may reach outside; None for everything that the process may.
    """

    def __init__(self, path: str, read_only: bool, sandbox: Sandbox | None = None) -> None:
        self.path = path
        self.read_only = read_only
        self.sandbox = sandbox
        self.lock = threading.RLock()
        self.writer = threading.RLock()
        self.catalog_version = 0
        self.schema_version = 0
        self._shadowed: bool | None = None
        # Local variables are found by `Connection` itself: DuckDB would see ours, not the caller's.
        config: dict[str, Any] = {"python_enable_replacements": False}
        _refuse_foreign(path)
        if sandbox is not None:
            try:
                config |= start_options(path, sandbox)
            except OSError as error:
                raise CatalogError(f"cannot write beside the database: {error.strerror}: {error.filename}") from error
        with translated():
            self.root: DuckDBConnection = duckdb.connect(path, read_only=read_only, config=config)
            # What cannot be bound has changed nothing. A binder asks DuckDB what may turn out to be wrong, too.
            self.root.execute("SET default_transaction_invalidation_policy = 'SYNTACTIC_ERRORS_DO_NOT_INVALIDATE'")
            if sandbox is not None:
                _lock(self.root, sandbox)
            row = self.root.execute("SELECT system.main.current_database()").fetchone()
        assert row is not None
        self.name: str = row[0]
        self.has_catalog = False
        with suppress(duckdb.CatalogException, duckdb.BinderException):
            self.root.execute(f"SELECT 1 FROM {quote(self.name)}.mindsql._versions LIMIT 0")
            self.has_catalog = True

    def cursor(self) -> DuckDBConnection:
        """A new DuckDB connection to the same database."""
        return self.root.cursor()

    def shadowed(self) -> bool:
        """Whether a macro somewhere has the name of one of DuckDB's own functions or operators, and takes its place."""
        if self._shadowed is None:
            with closing(self.cursor()) as raw, translated():
                self._shadowed = bool(rows(raw, _SHADOWS))
        return self._shadowed

    def macros_changed(self) -> None:
        """Note that a macro may have been made or dropped. One that is temporary is seen by its own connection only,
        and counts for all of them: it is asked for no further."""
        self._shadowed = None

    def close(self) -> None:
        """Close the file."""
        self.root.close()
        if self.sandbox is not None and self.path != ":memory:":
            with suppress(OSError):
                os.rmdir(spill_folder(self.path))


def _refuse_foreign(path: str) -> None:
    """Refuse a file that DuckDB would go to the network for. Raises CatalogError."""
    with suppress(OSError), open(path, "rb") as file:
        if file.read(len(_SQLITE)) == _SQLITE:
            raise CatalogError(
                f'"{path}" is a database of SQLite',
                hint="open a file of DuckDB's, and ATTACH this one (TYPE sqlite) to read it",
            )


_SQLITE = b"SQLite format 3\0"
_SHADOWS = """
SELECT 1 FROM system.main.duckdb_functions() AS own SEMI JOIN system.main.duckdb_functions() AS built_in
  ON system.main.lower(own.function_name) = system.main.lower(built_in.function_name) AND built_in.internal
WHERE NOT own.internal LIMIT 1"""


def _lock(raw: DuckDBConnection, sandbox: Sandbox) -> None:
    """Close a database to the machine. DuckDB takes these only once it runs."""
    listed = ", ".join(literal(os.path.realpath(folder)) for folder in sandbox.folders)
    raw.execute(f"SET allowed_directories = [{listed}]")
    raw.execute(f"SET allowed_configs = [{', '.join(map(literal, FREE_SETTINGS))}]")
    raw.execute("SET enable_external_access = false")
    raw.execute("SET lock_configuration = true")


def quote(name: str) -> str:
    """A double-quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    """A SQL string literal."""
    return "'" + value.replace("'", "''") + "'"


def describe(raw: DuckDBConnection, sql: str, parameters: Parameters = None) -> Schema:
    """The columns that a query would give, without running it. Raises StatementError."""
    if _PIVOT.search(sql):
        # DuckDB has to read which columns there will be, and DESCRIBE does not.
        with translated(sql):
            relation = raw.sql(sql, params=parameters) if parameters else raw.sql(sql)
        assert relation is not None
        return Schema.of(zip(relation.columns, map(str, relation.types), strict=True))
    # A relation of DuckDB's client would do, but takes `nextval` for a constant while it is bound.
    text = f"{_DESCRIBE}{sql}"
    try:
        found = rows(raw, text, parameters)
    except MindSQLError as error:
        if error.text == text and error.span is not None:
            start, end = error.span
            error.text, error.span = sql, (start - len(_DESCRIBE), end - len(_DESCRIBE))
        raise
    return Schema.of((name, kind) for name, kind, *_ in found)


def collations(raw: DuckDBConnection, sql: str) -> list[str]:
    """The collation of each column that a SELECT would give, without running it; empty where there is none.

    DESCRIBE does not tell them: DuckDB's plan of the query does. The list is empty when there is no such plan.
    """
    with ignored():
        plan = json.loads(rows(raw, "SELECT system.main.json_serialize_plan($mindsql_sql)", {"mindsql_sql": sql})[0][0])
        node = plan["plans"][0] if not plan["error"] else {}
        while node.get("type") != "LOGICAL_PROJECTION" and node.get("children"):
            node = node["children"][-1]  # below a materialized CTE
        if node:
            kinds = [item.get("return_type") or {} for item in node["expressions"]]
            return [str((kind.get("type_info") or {}).get("collation", "")) for kind in kinds]
    return []


def has_relation(raw: DuckDBConnection, name: str) -> bool:
    """Whether an unqualified name means a table or view. Asking so costs a tenth of a look into the catalog."""
    try:
        raw.sql(f"FROM {quote(name)} LIMIT 0")
    except duckdb.CatalogException:
        return False
    except duckdb.Error:
        return True  # a view whose own query fails is still a view
    return True


def located(raw: DuckDBConnection, name: str) -> tuple[str, str] | None:
    """The database and the schema of the table or view that an unqualified name means; None when there is none."""
    found = raw.execute(
        "SELECT database_name, schema_name FROM ("
        "SELECT database_name, schema_name, table_name AS name FROM system.main.duckdb_tables() UNION ALL "
        "SELECT database_name, schema_name, view_name FROM system.main.duckdb_views()"
        ") WHERE system.main.lower(name) = system.main.lower($name) ORDER BY database_name = 'temp' DESC, "
        "database_name = system.main.current_database() AND schema_name = system.main.current_schema() DESC, "
        "schema_name = 'main' DESC",
        {"name": name},
    ).fetchone()
    return (str(found[0]), str(found[1])) if found is not None else None


_DESCRIBE = "DESCRIBE "
_PIVOT = re.compile(r"\b(?:UN)?PIVOT(?:_WIDER|_LONGER)?\b", re.I)


class LexedToken(NamedTuple):
    """A word, number, string or sign of a text, as DuckDB's own lexer cuts it.

    Attributes:
        kind: `identifier`, `keyword`, `string_const`, `numeric_const` or `operator`.
        text: As it is written, quotes included.
        start: Where it begins in the text.
    """

    kind: str
    text: str
    start: int

    @property
    def word(self) -> str:
        """A name without quotes and case; of a bare word, the word."""
        quoted = len(self.text) > 1 and self.text[0] == self.text[-1] == '"'
        return (self.text[1:-1].replace('""', '"') if quoted else self.text).casefold()


def tokens(text: str) -> list[LexedToken]:
    """A text as DuckDB's lexer reads it, without comments. Raises StatementError."""
    try:
        data = text.encode()  # its places are bytes
    except UnicodeError as error:
        raise StatementError("the text of the statement is not valid Unicode") from error
    found: list[LexedToken] = []
    places = duckdb.tokenize(text)
    if not places:
        return []
    ends = [*(start for start, _ in places[1:]), len(data)]
    place = len(data[: places[0][0]].decode(errors="replace"))
    for (start, kind), end in zip(places, ends, strict=True):
        part = data[start:end].decode(errors="replace")
        if kind.name != "comment":
            found.append(LexedToken(kind.name, part.strip(), place))
        place += len(part)
    return found


def statement_kinds(raw: DuckDBConnection, text: str) -> list[tuple[str, str]]:
    """The kind and the text of each of DuckDB's statements in a text, by DuckDB's own parser.

    Raises:
        StatementError: DuckDB cannot read it.
        ValueError: DuckDB reads it, and its client has no name for such a statement.
    """
    with translated(text):
        return [(statement.type.name, statement.query) for statement in raw.extract_statements(text)]


_NODE = re.compile(r'"type":"(\w+_NODE)"')


def query_nodes(raw: DuckDBConnection, text: str) -> set[str] | None:
    """The kinds of nodes that DuckDB's parser makes of a SELECT: `SELECT_NODE`, and what else its common table
    expressions hold. None when DuckDB cannot write it out."""
    written = rows(raw, "SELECT system.main.json_serialize_sql($1)", [text])[0][0]
    # A quote within a string is escaped in JSON, so that no string can look like a node.
    return None if written.startswith('{"error":true') else set(_NODE.findall(written))


def functions(raw: DuckDBConnection) -> list[tuple[str, str]]:
    """Name and type of every function that comes with DuckDB."""
    found = rows(
        raw, "SELECT DISTINCT function_name, function_type FROM system.main.duckdb_functions() WHERE internal"
    )
    return [(name, kind) for name, kind in found]


def stream(
    raw: DuckDBConnection, sql: str, parameters: Parameters = None, rows: int = 65536
) -> tuple[Schema, pa.RecordBatchReader]:
    """The columns of a query, and its rows as they come; the connection is busy until they are read or dropped."""
    with translated(sql):
        relation = raw.sql(sql, params=parameters) if parameters else raw.sql(sql)
        schema = Schema.of(zip(relation.columns, map(str, relation.types), strict=True))
        return schema, relation.to_arrow_reader(rows)


def reader(raw: DuckDBConnection, sql: str, parameters: Parameters = None, rows: int = 65536) -> pa.RecordBatchReader:
    """As `stream`, without the columns' DuckDB types."""
    with translated(sql):
        relation = raw.sql(sql, params=parameters) if parameters else raw.sql(sql)
        return relation.to_arrow_reader(rows)


def table(raw: DuckDBConnection, sql: str, parameters: Parameters = None) -> pa.Table:
    """All rows of a query as one Arrow table."""
    with translated(sql):
        relation = raw.sql(sql, params=parameters) if parameters else raw.sql(sql)
        return relation.to_arrow_table()


def gathered(
    raw: DuckDBConnection,
    sql: str,
    parameters: Parameters,
    gather: Callable[[Iterable[pa.RecordBatch], pa.Schema], pa.Table],
) -> tuple[Schema, pa.Table]:
    """The columns of a query, and all its rows as the table that `gather` makes of its batches and their schema."""
    with translated(sql):
        schema, batches = stream(raw, sql, parameters)
        return schema, gather(batches, batches.schema)


def rows(raw: DuckDBConnection, sql: str, parameters: Parameters = None) -> list[tuple[Any, ...]]:
    """All rows of a query as tuples."""
    with translated(sql):
        done = raw.execute(sql, parameters) if parameters else raw.execute(sql)
        return done.fetchall()


def run(raw: DuckDBConnection, sql: str, parameters: Parameters = None) -> None:
    """Run a statement whose rows nobody wants."""
    rows(raw, sql, parameters)


def open_result(raw: DuckDBConnection, sql: str, parameters: Parameters = None) -> None:
    """Start a statement; its rows are then read from the connection itself."""
    # The hot path of every plain statement: `with translated()` would cost as much as a small query's planning.
    try:
        if parameters:
            raw.execute(sql, parameters)
        else:
            raw.execute(sql)
    except FAILED as error:
        raise translate_any(error, sql) from error


def is_aborted(raw: DuckDBConnection) -> bool:
    """Whether an error has ended the open transaction. DuckDB's own COMMIT would roll it back without a word."""
    try:
        raw.execute("SELECT 1").fetchall()
    except duckdb.Error as error:
        return isinstance(translate(error), AbortedError)
    return False


def abandon(raw: DuckDBConnection) -> None:
    """Give up the open result of a connection: until then DuckDB lets nothing else be asked of it."""
    with ignored():
        raw.abort()


def result_reader(raw: DuckDBConnection, batch_rows: int) -> pa.RecordBatchReader:
    """The open result of a connection as a stream of Arrow batches."""
    with suppress_warnings():  # it advises to use a relation, and the statement has run already
        return raw.to_arrow_reader(batch_rows)


_ARROW = {
    **{"VARCHAR": "string", "JSON": "string", "DOUBLE": "float64", "FLOAT": "float32", "BOOLEAN": "bool"},
    **{"TINYINT": "int8", "SMALLINT": "int16", "INTEGER": "int32", "BIGINT": "int64", "DATE": "date32"},
    **{"UTINYINT": "uint8", "USMALLINT": "uint16", "UINTEGER": "uint32", "UBIGINT": "uint64"},
}
"""The types that need not be asked for: each costs a query."""


def arrow_type(raw: DuckDBConnection, type_name: str) -> pa.DataType:
    """The Arrow type in which DuckDB hands out a type; JSON and ENUM as text."""
    import pyarrow as pa

    if type_name.startswith("ENUM("):
        return pa.string()
    if type_name in _ARROW:
        return pa.type_for_alias(_ARROW[type_name])
    with translated():
        return raw.sql(f"SELECT NULL::{type_name} AS v").to_arrow_table().schema.field(0).type


_VARIABLE = re.compile(r"\s*SET\s+VARIABLE\s+(\"(?:[^\"]|\"\")+\"|\w+)\s*(?:=|TO\b)", re.I)


def variable_as_set(raw: DuckDBConnection, text: str) -> str | None:
    """A SET VARIABLE that gives another connection the value that this one has, without computing it again."""
    found = _VARIABLE.match(text)
    if found is None:
        return None
    name = found[1][1:-1].replace('""', '"') if found[1].startswith('"') else found[1]
    value = f"system.main.getvariable({literal(name)})"
    try:
        row = raw.execute(f"SELECT {value}::VARCHAR, system.main.typeof({value})").fetchone()
    except duckdb.Error:
        return None
    if row is None or row[0] is None:
        return None
    return f"SET VARIABLE {quote(name)} = CAST({literal(row[0])} AS {row[1]})"


def moments(texts: pa.Array, type_name: str) -> pa.Array:
    """Texts as DuckDB casts them to a type of dates or times. Raises pyarrow.ArrowInvalid."""
    import pyarrow as pa

    with duckdb.connect() as raw:
        raw.register("texts", pa.table({"v": texts}))
        try:
            found = raw.sql(f"SELECT CAST(v AS {type_name}) AS v FROM texts").to_arrow_table().column(0)
        except duckdb.Error as error:
            raise pa.ArrowInvalid(str(error).strip().splitlines()[0]) from error
    return found if isinstance(texts, pa.ChunkedArray) else found.combine_chunks()


def attached(raw: DuckDBConnection) -> list[str]:
    """The names of the databases that DuckDB has open."""
    found = raw.execute(
        "SELECT database_name FROM system.main.duckdb_databases() WHERE NOT internal"
    ).fetchall()
    return [name for (name,) in found]


def temporary_names(raw: DuckDBConnection) -> set[str]:
    """Names that only this connection sees: temporary tables and views, and registered frames."""
    found = rows(
        raw,
        "SELECT table_name FROM system.main.duckdb_tables() WHERE temporary UNION ALL "
        "SELECT view_name FROM system.main.duckdb_views() WHERE temporary AND NOT internal",
    )
    return {name.casefold() for (name,) in found}
