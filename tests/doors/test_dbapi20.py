"""What PEP 249 asks of a driver, case by case."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest

import mindsql

DRINKS = ["Cooper's", "Boag's", "Carlton", "Redback"]


@pytest.fixture
def con() -> Iterator[mindsql.Connection]:
    opened = mindsql.connect()
    yield opened
    opened.close()


@pytest.fixture
def cursor(con: mindsql.Connection) -> Iterator[Any]:
    cursor = con.cursor()
    cursor.execute("CREATE TABLE drinks (name VARCHAR)")
    cursor.executemany("INSERT INTO drinks VALUES (?)", [(drink,) for drink in DRINKS])
    yield cursor
    cursor.close()


def test_module_globals() -> None:
    assert mindsql.apilevel == "2.0"
    assert mindsql.threadsafety in (0, 1, 2, 3)
    assert mindsql.paramstyle in ("qmark", "numeric", "named", "format", "pyformat")


def test_exceptions_are_a_tree() -> None:
    assert issubclass(mindsql.Warning, Exception) and issubclass(mindsql.Error, Exception)
    assert issubclass(mindsql.InterfaceError, mindsql.Error) and issubclass(mindsql.DatabaseError, mindsql.Error)
    for name in ("DataError", "OperationalError", "IntegrityError", "InternalError", "ProgrammingError",
                 "NotSupportedError"):  # fmt: skip
        assert issubclass(getattr(mindsql, name), mindsql.DatabaseError), name


def test_type_objects_and_constructors() -> None:
    for name in ("STRING", "BINARY", "NUMBER", "DATETIME", "ROWID"):
        assert hasattr(mindsql, name)
    assert mindsql.Date(2002, 12, 25) == dt.date(2002, 12, 25)
    assert mindsql.Time(13, 45, 30) == dt.time(13, 45, 30)
    assert mindsql.Timestamp(2002, 12, 25, 13, 45, 30) == dt.datetime(2002, 12, 25, 13, 45, 30)
    assert bytes(mindsql.Binary(b"Something")) == b"Something"
    for made, of in ((mindsql.DateFromTicks, dt.date), (mindsql.TimeFromTicks, dt.time),
                     (mindsql.TimestampFromTicks, dt.datetime)):  # fmt: skip
        assert isinstance(made(1_000_000_000), of)


def test_description(cursor: Any) -> None:
    cursor.execute("SELECT name, length(name) AS n, now() AS at, 'x'::BLOB AS b FROM drinks")
    assert [column[0] for column in cursor.description] == ["name", "n", "at", "b"]
    assert all(len(column) == 7 for column in cursor.description)
    kinds = [mindsql.STRING, mindsql.NUMBER, mindsql.DATETIME, mindsql.BINARY]
    assert [column[1] == kind for column, kind in zip(cursor.description, kinds, strict=True)] == [True] * 4
    assert cursor.description[0][1] != mindsql.NUMBER
    cursor.execute("CREATE TABLE empty (a INTEGER)")
    assert cursor.description is None


def test_rowcount(cursor: Any) -> None:
    assert cursor.rowcount == len(DRINKS)  # of executemany
    cursor.execute("DELETE FROM drinks WHERE name LIKE 'C%'")
    assert cursor.rowcount == 2
    cursor.execute("SELECT name FROM drinks")
    assert cursor.rowcount in (-1, 2)


@pytest.mark.parametrize(
    ("sql", "given"),
    [("?", ("Redback",)), ("$1", ["Redback"]), ("$name", {"name": "Redback"})],
)
def test_parameters(cursor: Any, sql: str, given: Any) -> None:
    cursor.execute(f"SELECT count(*) FROM drinks WHERE name = {sql}", given)
    assert cursor.fetchone() == (1,)


def test_fetchone(cursor: Any) -> None:
    cursor.execute("SELECT name FROM drinks WHERE name = 'nothing'")
    assert cursor.fetchone() is None
    cursor.execute("SELECT name FROM drinks ORDER BY 1")
    assert [cursor.fetchone() for _ in range(5)] == [*((drink,) for drink in sorted(DRINKS)), None]


def test_fetchmany(cursor: Any) -> None:
    cursor.execute("SELECT name FROM drinks")
    assert len(cursor.fetchmany()) == 1  # arraysize
    assert [len(cursor.fetchmany(size)) for size in (2, 10, 10)] == [2, 1, 0]
    cursor.arraysize = 3
    cursor.execute("SELECT name FROM drinks")
    assert len(cursor.fetchmany()) == 3


def test_fetchall(cursor: Any) -> None:
    cursor.execute("SELECT name FROM drinks ORDER BY 1")
    assert cursor.fetchall() == [(drink,) for drink in sorted(DRINKS)]
    assert cursor.fetchall() == []
    cursor.execute("SELECT name FROM drinks WHERE false")
    assert cursor.fetchall() == []


def test_mixed_fetches_and_iteration(cursor: Any) -> None:
    cursor.execute("SELECT name FROM drinks ORDER BY 1")
    taken = [cursor.fetchone(), *cursor.fetchmany(2), *cursor.fetchall()]
    assert taken == [(drink,) for drink in sorted(DRINKS)]
    cursor.execute("SELECT name FROM drinks ORDER BY 1")
    assert [row[0] for row in cursor] == sorted(DRINKS)


@pytest.mark.parametrize("fetch", ["fetchone", "fetchmany", "fetchall"])
def test_there_is_nothing_to_fetch_of_a_statement_without_rows(con: mindsql.Connection, fetch: str) -> None:
    cursor = con.cursor()
    with pytest.raises(mindsql.Error):
        getattr(cursor, fetch)()
    cursor.execute("CREATE TABLE t (a INTEGER)")
    with pytest.raises(mindsql.Error):
        getattr(cursor, fetch)()
    cursor.close()


def test_commit_and_rollback(con: mindsql.Connection) -> None:
    con.commit()  # without a transaction: nothing to do
    con.rollback()
    con.execute("CREATE TABLE t (a INTEGER)")
    con.execute("BEGIN")
    con.execute("INSERT INTO t VALUES (1)")
    con.rollback()
    assert con.execute("SELECT count(*) FROM t").fetchone() == (0,)
    con.execute("BEGIN")
    con.execute("INSERT INTO t VALUES (1)")
    con.commit()
    assert con.execute("SELECT count(*) FROM t").fetchone() == (1,)


def test_what_is_closed_raises(con: mindsql.Connection) -> None:
    cursor = con.cursor()
    cursor.close()
    with pytest.raises(mindsql.Error):
        cursor.execute("SELECT 1")
    other = mindsql.connect()
    other.close()
    for use in (other.commit, other.rollback, other.cursor, lambda: other.execute("SELECT 1")):
        with pytest.raises(mindsql.Error):
            use()


def test_sizes_may_be_said(cursor: Any) -> None:
    cursor.setinputsizes([25])
    cursor.setoutputsize(1000)
    cursor.setoutputsize(2000, 0)
    cursor.execute("SELECT name FROM drinks")
    assert len(cursor.fetchall()) == 4


def test_null(con: mindsql.Connection) -> None:
    cursor = con.cursor()
    cursor.execute("SELECT ?", [None])
    assert cursor.fetchone() == (None,)
    cursor.close()
