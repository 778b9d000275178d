"""Owns statements that write to another database: rows of a query into a table of it, and what it is told in its own
words."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlglot import expressions as exp

import mindsql_grammar as grammar
from mindsql import queries
from mindsql.commands.answers import counted, done
from mindsql.database import quote
from mindsql.errors import CatalogError, StatementError, UnknownNameError
from mindsql.execution import ExecutionContext
from mindsql.files import Files
from mindsql.result import Result
from mindsql.schema import Schema
from mindsql.source import Rows
from mindsql.sources import External
from mindsql.statements import leading_word

if TYPE_CHECKING:
    import pyarrow as pa

    from mindsql.session import Session

_READING = frozenset(
    ["SELECT", "WITH", "FROM", "VALUES", "TABLE", "SHOW", "EXPLAIN", "DESCRIBE", "DESC", "PRAGMA"]
)


def write(
    session: Session,
    statement: grammar.Statement,
    text: str,
    parameters: Mapping[str, Any],
    execution: ExecutionContext,
) -> Result | None:
    """INSERT INTO, CREATE TABLE … AS and DROP TABLE for a table of another database, and `SELECT * FROM source (text)`
    whose text is no query. None when it is none of these.

    A source's statements are committed by themselves, so an open transaction refuses them.
    """
    tree = getattr(statement, "tree", None)
    if isinstance(tree, exp.Select):
        return _native(session, statement, tree)
    found = target(session, statement, text)
    if found is None:
        return None
    asked, source = found
    _refuse_in_transaction(session)
    parts = asked.target[1:]
    shown = ".".join(asked.target)
    try:
        if asked.verb == "drop":
            if asked.exists and not source.has(parts):
                return done(f'there is no table "{shown}"')
            source.drop(parts)
            return done(f'the table "{shown}" is dropped')
        if asked.verb == "create":
            return _create(session, source, asked, parameters, execution)
        if isinstance(tree, exp.Insert) and any(tree.args.get(key) for key in ("conflict", "returning", "alternative")):
            raise StatementError(
                "INSERT into another database has no OR REPLACE, ON CONFLICT or RETURNING",
                hint=f"SELECT * FROM {asked.target[0]} (…) runs a statement in its own words",
            )
        return _insert(session, source, asked, parameters, execution)
    except UnknownNameError as error:
        if error.span is None and error.text is None:
            error.span, error.text = (asked.place.start, asked.place.end), text
        raise


def target(session: Session, statement: grammar.Statement, text: str) -> tuple[grammar.Write, External] | None:
    """What a statement writes to a table of another database, and that database; None when it does not."""
    tree = getattr(statement, "tree", None)
    if not (isinstance(tree, exp.Insert | exp.Create) or isinstance(statement, grammar.DuckDB)):
        return None
    asked = grammar.parse_write(text)
    entry = session.snapshot().source(asked.target[0]) if asked is not None and len(asked.target) > 1 else None
    if asked is None or entry is None:
        return None
    source = session.source(entry.name)
    if isinstance(source, Files):
        raise StatementError(
            f'the files of "{entry.name}" can only be read', hint="COPY (SELECT …) TO 'file.parquet' writes one"
        )
    return (asked, source) if isinstance(source, External) else None


def _native(session: Session, statement: Any, tree: exp.Select) -> Result | None:
    """Run `SELECT * FROM source (text)` when the text does not begin as a query does."""
    if len(statement.natives) != 1 or leading_word(statement.natives[0].text) in _READING:
        return None
    native = statement.natives[0]
    entry = session.snapshot().source(native.source[0])
    source = session.source(entry.name) if entry is not None else None
    if not isinstance(source, External):
        return None
    read = tree.args.get("from_")
    said = {key for key, value in tree.args.items() if value and key not in ("kind", "hint")}
    whole = read is not None and isinstance(read.this, exp.Table) and tree.is_star and len(tree.expressions) == 1
    if not whole or said != {"expressions", "from_"}:
        raise StatementError(
            "a text that is no query gives no rows to select from",
            hint=f"SELECT * FROM {native.source[0]} (…), with nothing round it, runs it",
        )
    _refuse_in_transaction(session)
    return counted(source.run(native.text))


def _refuse_in_transaction(session: Session) -> None:
    if session.in_transaction:
        raise CatalogError(
            "another database cannot be written to in a transaction: it could not be undone together",
            hint="COMMIT or ROLLBACK first",
        )


def _create(
    session: Session, source: External, asked: grammar.Write, parameters: Mapping[str, Any], execution: ExecutionContext
) -> Result:
    parts, shown = asked.target[1:], ".".join(asked.target)
    if asked.exists and source.has(parts):
        return done(f'the table "{shown}" exists already')
    schema = queries.columns(session, grammar.parse_query(asked.query_text), parameters)
    names = [column.name.casefold() for column in schema]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise StatementError(
            f'a table cannot have the column "{twice}" twice', hint="give one another name: … AS other"
        )
    columns, types = source.created(schema)
    rows = _cast(session, asked, columns, range(len(names)), parameters, execution)
    count = source.write(parts, rows, "replace" if asked.or_replace else "create", types)
    return done(f'the table "{shown}" is created with {count} row{"" if count == 1 else "s"}')


def _insert(
    session: Session, source: External, asked: grammar.Write, parameters: Mapping[str, Any], execution: ExecutionContext
) -> Result:
    there = source.accepts(asked.target[1:])
    given = queries.columns(session, grammar.parse_query(asked.query_text), parameters)
    named = given.names if asked.by_name and not asked.columns else list(asked.columns)
    targets = []
    for name in named or there.names:
        column = there.find(name)
        if column is None:
            raise UnknownNameError.of(f"column of {'.'.join(asked.target)}:", name, there.names)
        targets.append(column)
    places: Sequence[int] = range(len(targets))
    if asked.by_name:
        folded = {name.casefold(): at for at, name in enumerate(given.names)}
        missing = next((column.name for column in targets if column.name.casefold() not in folded), None)
        if missing is not None:
            raise UnknownNameError.of("column of the query:", missing, given.names)
        places = [folded[column.name.casefold()] for column in targets]
    if len(given) != len(targets):
        raise StatementError(
            f"the table has {len(targets)} columns to fill, and the query gives {len(given)}",
            hint="name those that it fills: INSERT INTO … (a, b) SELECT …, or INSERT INTO … BY NAME SELECT …",
        )
    rows = _cast(session, asked, Schema(targets), places, parameters, execution)
    return counted(source.write(asked.target[1:], rows))


def _cast(
    session: Session,
    asked: grammar.Write,
    wanted: Schema,
    places: Sequence[int],
    parameters: Mapping[str, Any],
    execution: ExecutionContext,
) -> Rows:
    """The query's rows as the table's columns: what does not fit a type is an error before it is sent."""
    names = [f"c{number}" for number in range(len(places))]
    casts = ", ".join(
        f"CAST({names[at]} AS {column.type}) AS {quote(column.name)}" for at, column in zip(places, wanted, strict=True)
    )
    query = grammar.parse_query(f"SELECT {casts} FROM ({asked.query_text}\n) AS written({', '.join(names)})")
    reader = queries.stream(session, query, parameters, execution)
    return Rows(reader.schema, _counting(reader, execution))


def _counting(reader: pa.RecordBatchReader, execution: ExecutionContext) -> Iterator[pa.RecordBatch]:
    begin, rows = time.monotonic(), 0
    for batch in reader:
        execution.check()
        yield batch
        rows += batch.num_rows
        execution.report("writing rows", rows, None, "rows", begin)
