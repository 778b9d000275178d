"""Owns the checks that every source must pass: its tables against copies of them, by SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import mindsql
from mindsql.database import literal, quote
from mindsql.errors import MindSQLError, SourceError, UnknownNameError
from mindsql.source import Source, is_source
from mindsql.testing.subject import CheckFailed

_TABLES = 2
_VALUES = 2


def check_source(cls: type[Source], parameters: Mapping[str, Any]) -> None:
    """Run every check on a source that has a table or more with rows in them.

    A source that can be written to is written to: tables whose names begin with `mindsql_check` come and go.

    Args:
        cls: The source.
        parameters: As in `CREATE DATABASE … PARAMETERS`.

    Raises:
        CheckFailed: A check fails; the text says which, what went wrong and the promise.
    """
    _require(is_source(cls), cls, "it is a Source", "subclass mindsql.source.Source with all of its methods")
    with mindsql.connect() as con:
        con.register_source("checked", cls)
        con.execute(f"CREATE DATABASE src WITH ENGINE = 'checked', PARAMETERS = {_object(parameters)}")
        for check in (_tables, _unknown, _early_end, _stop, _writing):
            try:
                check(con, cls)
            except CheckFailed:
                raise
            except Exception as error:  # a source may raise anything
                raise _failed(cls, check, f"{type(error).__name__}: {error}") from error


def _object(parameters: Mapping[str, Any]) -> str:
    def value(given: Any) -> str:
        if isinstance(given, Mapping):
            return _object(given)
        if isinstance(given, bool):
            return "true" if given else "false"
        return literal(given) if isinstance(given, str) else repr(given)

    return "{" + ", ".join(f"{literal(key)}: {value(item)}" for key, item in parameters.items()) + "}"


def _failed(cls: type[Source], check: Callable[..., None], reason: str) -> CheckFailed:
    name = check.__name__.strip("_").replace("_", " ")
    return CheckFailed(f"{cls.__name__} fails: {name}: {reason}\n  the promise: {check.__doc__}")


def _require(held: bool, cls: type[Source], what: str, promise: str) -> None:
    if not held:
        raise CheckFailed(f"{cls.__name__} fails: {what}\n  the promise: {promise}")


def _names(con: mindsql.Connection) -> list[str]:
    return [str(row[0]) for row in con.execute("SHOW TABLES FROM src").fetchall()]


def _path(name: str) -> str:
    return "src." + ".".join(map(quote, name.split(".")))


def _tables(con: mindsql.Connection, cls: type[Source]) -> None:
    """A table's columns, rows and filters are those of a copy; columns come in any order, and none may be asked for."""
    names = _names(con)
    _require(bool(names), cls, "tables: there are none", "tables() names the tables, and there is one to check")
    for name in names[:_TABLES]:
        path = _path(name)
        con.execute(f"CREATE OR REPLACE TABLE copied AS FROM {path}")
        schema = con.execute("FROM copied LIMIT 0").schema
        folded = [column.casefold() for column in schema.names]
        _require(len(set(folded)) == len(folded), cls, f"{name} has a column twice", "names differ, also without case")
        _alike(con, cls, "SELECT count(*) FROM {t}", path)
        backwards = ", ".join(quote(column) for column in reversed(schema.names))
        _alike(con, cls, f"SELECT {backwards} FROM {{t}}", path)
        for column in schema:
            for condition in _conditions(con, column.name):
                _alike(con, cls, f"SELECT * FROM {{t}} WHERE {condition}", path)


def _conditions(con: mindsql.Connection, column: str) -> Iterator[str]:
    """Conditions on a column with values that it has."""
    name = quote(column)
    yield f"{name} IS NULL"
    yield f"{name} IS NOT NULL"
    distinct = f"SELECT DISTINCT {name}::VARCHAR, typeof({name}) FROM copied WHERE {name} IS NOT NULL LIMIT {_VALUES}"
    seen = con.execute(distinct)
    values = [f"{literal(text)}::{kind}" for text, kind in seen.fetchall() if not kind.endswith("]")]
    for value in values:
        for operator in ("=", "<>", "<", "<=", ">", ">="):
            yield f"{name} {operator} {value}"
        yield f"({name} = {value} OR {name} IS NULL) AND {name} IS NOT NULL"
    if values:
        yield f"{name} IN ({', '.join(values)})"
        yield f"{name} NOT IN ({', '.join(values)})"


def _alike(con: mindsql.Connection, cls: type[Source], query: str, path: str) -> None:
    try:
        found, wanted = (
            con.execute(f"SELECT count(*), sum(hash(t)::HUGEINT) FROM ({query.format(t=table)}) AS t").fetchall()
            for table in (path, "copied")
        )
    except MindSQLError as error:
        raise CheckFailed(f"{cls.__name__} fails: {query.format(t=path)}: {error}") from error
    _require(
        found == wanted, cls, f"{query.format(t=path)} gives other rows than a copy",
        "scan() may give rows for which a condition does not hold, and misses none for which it does",
    )  # fmt: skip


def _unknown(con: mindsql.Connection, cls: type[Source]) -> None:
    """A table that there is not is an UnknownNameError; a query that cannot be read, a SourceError."""
    for name in ("src.mindsql_check_nothing", "src.a.b.c.mindsql_check_nothing"):
        try:
            con.execute(f"SELECT * FROM {name}").fetchall()
        except UnknownNameError:
            continue
        raise _failed(cls, _unknown, f"{name} is no error")
    try:
        con.execute("SELECT * FROM src (SELECT FROM nothing WHERE)").fetchall()
    except SourceError:
        return
    raise _failed(cls, _unknown, "a query of nonsense is no error")


def _early_end(con: mindsql.Connection, cls: type[Source]) -> None:
    """A stream may be left before its end, and several be read at once."""
    path = _path(_names(con)[0])
    for _ in range(20):
        con.execute(f"SELECT * FROM {path} LIMIT 1").fetchall()
    con.execute(f"SELECT count(*) FROM {path} AS a, (SELECT * FROM {path} LIMIT 2) AS b").fetchall()


def _stop(con: mindsql.Connection, cls: type[Source]) -> None:
    """After a stop the next statement runs."""
    con.interrupt()
    con.execute(f"SELECT * FROM {_path(_names(con)[0])} LIMIT 1").fetchall()


def _writing(con: mindsql.Connection, cls: type[Source]) -> None:
    """Rows that are written come back; a statement that fails leaves all as it was."""
    if cls.write is Source.write:
        return
    con.execute("DROP TABLE IF EXISTS src.mindsql_check")
    con.execute("CREATE TABLE src.mindsql_check AS SELECT i AS a, 'n' || i AS b, i / 4 AS c FROM range(1000) r(i)")
    try:
        _holds(con, cls, (1000, "n1", 124875.0))
        con.execute("INSERT INTO src.mindsql_check (b, a) VALUES ('é''\\\"', 1000), (NULL, 1001)")
        _holds(con, cls, (1002, "n1", 124875.0))
        for begin in ("INSERT INTO src.mindsql_check (a)", "CREATE OR REPLACE TABLE src.mindsql_check AS"):
            try:
                con.execute(f"{begin} SELECT CASE i WHEN 99000 THEN error('late') ELSE i END a FROM range(99999) r(i)")
            except MindSQLError:
                _holds(con, cls, (1002, "n1", 124875.0))
            else:
                raise _failed(cls, _writing, "an error of the rows is none of the statement")
        con.execute("CREATE OR REPLACE TABLE src.mindsql_check AS SELECT 1 AS a, 'x' AS b, 0.5::DOUBLE AS c")
        _holds(con, cls, (1, "x", 0.5))
    finally:
        con.execute("DROP TABLE IF EXISTS src.mindsql_check")
    _require("mindsql_check" not in _names(con), cls, "DROP TABLE leaves the table", str(_writing.__doc__))


def _holds(con: mindsql.Connection, cls: type[Source], wanted: tuple[Any, ...]) -> None:
    text = "SELECT count(*), min(b) FILTER (WHERE a = 1 OR b = 'x'), sum(c) FROM src.mindsql_check"
    found = con.execute(text).fetchone()
    _require(found == wanted, cls, f"the table holds {found}, not {wanted}", str(_writing.__doc__))


