"""Any database by SQLAlchemy, tried on MariaDB."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import mindsql
from mindsql.errors import AccessError, MindSQLError, SourceError, StatementError, UnknownNameError
from tests.sources.conftest import Server, wait_for
from tests.sources.test_servers import AWKWARD, PREDICATES


@pytest.fixture
def own(mariadb: Server, con: mindsql.Connection) -> mindsql.Connection:
    words = {"database": "", **mariadb.parameters}
    url = f"mysql+pymysql://{words['user']}:{words['password']}@{words['host']}:{words['port']}/test_data?charset=utf8mb4"
    con.execute(f"CREATE DATABASE own WITH ENGINE = 'sqlalchemy', PARAMETERS = {{'url': '{url}'}}")
    return con


def test_rows_and_conditions(own: mindsql.Connection, mariadb: Server) -> None:
    mariadb.run("DROP TABLE IF EXISTS test_data.awkward")
    for text in AWKWARD["mariadb"]:
        mariadb.run(text)
    columns = "id, i, n, f, t, c, b"  # the driver gives times without a day as text
    own.execute(f"CREATE TABLE copied AS SELECT {columns} FROM own.awkward")
    assert len(own.execute("FROM copied").fetchall()) == 6
    for predicate in filter(None, (each.strip() for line in PREDICATES.splitlines() for each in line.split(" | "))):
        if any(f"{name} " in f"{predicate} " or f"({name}" in predicate for name in ("d", "ts", "tz")):
            continue
        query = f"SELECT id, i, n, t FROM {{t}} WHERE {predicate} ORDER BY id"
        try:
            wanted = own.execute(query.format(t="copied")).fetchall()
        except MindSQLError:
            continue
        assert own.execute(query.format(t="own.awkward")).fetchall() == wanted, predicate
    shown = own.explain("SELECT i FROM own.awkward WHERE i = 3", analyze=True)
    assert "WHERE awkward.i = 3" in shown


def test_queries_of_its_own(own: mindsql.Connection) -> None:
    found = own.execute("SELECT * FROM own (SELECT 1 AS a, 1.50 AS n, 'x' AS t, NULL AS u, DATE'2024-01-02' AS d)")
    assert [str(value) for value in found.fetchall()[0]] == ["1", "1.50", "x", "None", "2024-01-02"]
    assert own.execute("SELECT count(*) FROM own.home_rentals WHERE sqft < 500").fetchone() > (0,)


def test_writing(own: mindsql.Connection) -> None:
    own.execute("DROP TABLE IF EXISTS own.by_alchemy")
    own.execute(
        "CREATE TABLE own.by_alchemy AS SELECT i AS id, i / 4 AS x, 'n' || i AS t, DATE '2024-01-01' AS d, "
        "12.345::DECIMAL(8,3) AS n, [i] AS l FROM range(1000) r(i)"
    )
    assert own.execute("INSERT INTO own.by_alchemy (id, t) VALUES (5000, 'x')").rowcount == 1
    assert own.execute("SELECT count(*), sum(x), max(n)::VARCHAR, min(l) FROM own.by_alchemy").fetchall() == [
        (1001, 124875.0, "12.345", "[0]")
    ]
    with pytest.raises(MindSQLError, match="late"):
        own.execute("CREATE OR REPLACE TABLE own.by_alchemy AS SELECT error('late') AS a FROM range(9) r(i)")
    assert own.execute("SELECT count(*) FROM own.by_alchemy").fetchone() == (1001,)
    own.execute("CREATE OR REPLACE TABLE own.by_alchemy AS SELECT 7 AS a")
    assert own.execute("FROM own.by_alchemy").fetchall() == [(7,)]
    assert own.execute("SELECT * FROM own (UPDATE by_alchemy SET a = 8)").rowcount == 1
    own.execute("DROP TABLE own.by_alchemy")
    assert not [row for row in own.execute("SHOW TABLES FROM own").fetchall() if "by_alchemy" in row[0]]


def test_what_is_wrong(own: mindsql.Connection, mariadb: Server) -> None:
    for url, kind in (
        ("nothing", StatementError),
        ("sqlite:///etc/x.db", StatementError),
        ("nodialect://a:b@localhost/x", SourceError),
        (f"mysql+pymysql://demo:hidden@127.0.0.1:{mariadb.parameters['port']}/test_data", SourceError),
    ):
        with pytest.raises(kind) as caught:
            own.execute(f"CREATE DATABASE bad WITH ENGINE = 'sqlalchemy', PARAMETERS = {{'url': '{url}'}}")
        assert "hidden" not in str(caught.value)
    with pytest.raises(UnknownNameError):
        own.execute("SELECT * FROM own.nothing")
    with pytest.raises(SourceError, match="nothing"):
        own.execute("SELECT * FROM own (SELECT * FROM nothing)")


def test_a_stop_reaches_the_server(own: mindsql.Connection, mariadb: Server) -> None:
    failed: list[Any] = []

    def run() -> None:
        try:
            own.execute("SELECT * FROM own (SELECT sleep(600) AS s)").fetchall()
        except MindSQLError as error:
            failed.append(error)

    before = mariadb.asks()
    thread = threading.Thread(target=run)
    thread.start()
    wait_for(lambda: mariadb.asks() > before, "the query runs")
    own.interrupt()
    thread.join(30)
    assert not thread.is_alive() and type(failed[0]).__name__ == "Cancelled"


def test_a_connection_that_may_not_ask_private_addresses(mariadb: Server, con: mindsql.Connection) -> None:
    import dataclasses

    con._session.settings = dataclasses.replace(con._session.settings, private_hosts=False)
    for url in ("mysql+pymysql://a:b@127.0.0.1/x", "mysql+pymysql://a:b@example.com/x?unix_socket=/tmp/s"):
        with pytest.raises(AccessError):
            con.execute(f"CREATE DATABASE own WITH ENGINE = 'sqlalchemy', PARAMETERS = {{'url': '{url}'}}")
