"""Tables and queries of other servers: real PostgreSQL, MariaDB and SQLite."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

import mindsql
from mindsql.errors import AccessError, Cancelled, SourceError, StatementError, UnknownNameError
from tests.sources.conftest import ROWS, Server, wait_for

AWKWARD = {
    "postgres": [
        """CREATE TABLE awkward (id int PRIMARY KEY, i bigint, n numeric(12,2), f float8, t text, c char(5), b boolean,
        d date, ts timestamp, tz timestamptz)""",
        """INSERT INTO awkward VALUES
        (1, 9007199254740993, 0.10, 0.1, 'abc', 'ab', true, '2024-02-29', '2024-02-29 12:34:59.999999',
         '2024-02-29 12:00:00+02'),
        (2, 9007199254740992, 0.15, 'NaN', 'ABC', 'ab ', false, '0001-01-01', '0001-01-01', '0001-01-01 00:00:00+00'),
        (3, -3, -0.10, 1e300, 'abc ', 'x', NULL, '9999-12-31', '9999-12-31 23:59:59', '9999-12-31 00:00:00+00'),
        (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
        (5, 0, 2.50, -0.0, 'Äbc', '', true, 'infinity', 'infinity', '-infinity'),
        (6, 3, 3.00, 3.0, 'a''b\\c%_', 'ÄB', false, '2024-03-01', '2024-03-01', '2024-03-01 00:00:00+00')""",
    ],
    "mariadb": [
        """CREATE TABLE test_data.awkward (id int PRIMARY KEY, i bigint, n decimal(12,2), f double, t varchar(20),
        c char(5), b tinyint(1), d date, ts datetime(6), tz timestamp NULL)""",
        """SET STATEMENT sql_mode = '' FOR INSERT INTO test_data.awkward VALUES
        (1, 9007199254740993, 0.10, 0.1, 'abc', 'ab', 1, '2024-02-29', '2024-02-29 12:34:59.999999',
         '2024-02-29 12:00:00'),
        (2, 9007199254740992, 0.15, NULL, 'ABC', 'ab ', 0, '0001-01-01', '0001-01-01', '1990-01-01 00:00:00'),
        (3, -3, -0.10, 1e300, 'abc ', 'x', 5, '9999-12-31', '9999-12-31 23:59:59', '2037-12-31 00:00:00'),
        (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
        (5, 0, 2.50, -0.0, 'Äbc', '', 1, '0000-00-00', '2024-02-00', NULL),
        (6, 3, 3.00, 3.0, 'a''b\\\\c%_', 'ÄB', 0, '2024-03-01', '2024-03-01', '2024-03-01 00:00:00')""",
    ],
    "sqlite": [
        """CREATE TABLE awkward (id integer PRIMARY KEY, i bigint, n numeric, f real, t text COLLATE NOCASE, c,
        b boolean, d date, ts timestamp, tz text)""",
        """INSERT INTO awkward VALUES
        (1, 9007199254740993, 0.1, 0.1, 'abc', 'ab', 1, '2024-02-29', '2024-02-29 12:34:59.999999', 'x'),
        (2, 9007199254740992, 9007199254740993, 1e999, 'ABC', 5, 0, 20240101, 0.5, ''),
        (3, -3, -0.1, 1e300, 'abc ', '5', NULL, '9999-12-31', NULL, 'X'),
        (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
        (5, 0, 2.5, -0.0, 'Äbc', '', 1, '', '', ''), (6, 3, 3, 3, 'a''b\\c%_', 'ÄB', 0, 'x', 'x', 'x')""",
    ],
}
PREDICATES = """
i = 9007199254740993 | i <> 3 | i > 9007199254740992 | i < 0 | i >= 0 | i BETWEEN 0 AND 3 | i IN (3, 0)
i NOT IN (3, 0)
i = 3.0 | i = 9007199254740992e0 | i + 1 > 3 | i IS NULL | i IS NOT NULL | -i = 3 | i IN (3, NULL) | i % 2 = 1
n = 0.1 | n = 0.15 | n < 0.15 | n >= 2.5 | n IN (0.1, 3) | n <> 0.1 | n IS NULL | n = 9007199254740993 | n > 1e-1
f = 0.1 | f > 1 | f < 3 | f <= 3.0 | f = 3 | f = 0 | f >= 1e300 | f IS NULL | f <> 3 | f BETWEEN 0 AND 5 | f IN (0.1, 3)
t = 'abc' | t = 'abc ' | t = 'ABC' | t <> 'abc' | t > 'abc' | t < 'abc' | t IN ('abc', 'Äbc')
t NOT IN ('abc') | t = 'äbc'
t = 'a''b\\c%_' | t LIKE 'a%' | t LIKE 'a''b_c%' | t ILIKE 'A%' | t IS NULL | t BETWEEN 'a' AND 'b' | t >= 'abc'
t = ''
length(t) = 3 | upper(t) = 'ABC' | t || 'x' = 'abcx' | t COLLATE NOCASE = 'abc' | starts_with(t, 'a') | t = 'a' OR i = 3
c = 'ab' | c = 'ab ' | c = '' | c IN ('x', 'ÄB') | c > 'a' | c IS NULL | c <> 'ab' | c = '5'
b | NOT b | b = true | b <> true | b IS NULL | b IN (true) | b IS DISTINCT FROM true
d = '2024-02-29' | d < '2024-03-01' | d >= '2024-02-29' | d IS NULL | d IS NOT NULL | d IN ('2024-03-01', '0001-01-01')
d <> '2024-02-29' | d > '9000-01-01' | ts IS NULL | ts > '2024-02-29' | ts = '2024-02-29 12:34:59.999999'
ts < '2024-01-01'
tz IS NULL | tz >= '2024-02-29 10:00:00' | tz < '2024-03-01' | tz IS NOT NULL AND i = 3
i > 0 AND t = 'abc' | i > 0 OR t = 'abc ' | NOT (i > 0 AND t = 'abc') | (i = 3 OR f > 1) AND n IS NOT NULL
i IN (SELECT 3)
i = 3 OR t LIKE 'a%' | CASE WHEN i = 3 THEN true ELSE t = 'abc' END | false | true | NULL | id = $id | i < $id AND f > 0
id IN (SELECT id FROM local WHERE t = 'abc') | EXISTS (FROM local AS l WHERE l.id = awkward.id AND l.i > 0) | i = id - 3
"""
"""Conditions, each of which is true of some of the awkward rows."""


def rows(con: mindsql.Connection, text: str, parameters: Any = None) -> Counter[str]:
    """The rows, or the kind of error, so that NaN is like NaN."""
    try:
        return Counter(map(repr, con.execute(text, parameters).fetchall()))
    except mindsql.Error as error:
        return Counter([type(error).__name__])


def test_conditions_give_the_rows_that_they_give_of_a_copy(con: mindsql.Connection, server: Server) -> None:
    server.run(f"DROP TABLE IF EXISTS {'test_data.' if server.engine == 'mariadb' else ''}awkward")
    for text in AWKWARD[server.engine]:
        server.run(text)
    server.create(con)
    con.execute("SET TimeZone = 'UTC'")
    con.execute("CREATE TABLE local AS SELECT * FROM mydb.awkward")
    assert con.execute("SELECT count(*) FROM local").fetchone() == (6,)
    wrong = []
    for predicate in (part.strip() for line in PREDICATES.strip().splitlines() for part in line.split(" | ")):
        given = {"id": 3} if "$id" in predicate else None
        there = rows(con, f"SELECT * FROM mydb.awkward WHERE {predicate}", given)
        here = rows(con, f"SELECT * FROM local AS awkward WHERE {predicate}", given)
        if there != here:
            wrong.append((predicate, there - here, here - there))
    assert wrong == []


def test_the_statements_of_the_bring_your_own_model_document(con: mindsql.Connection, server: Server) -> None:
    server.create(con)
    schema = "" if server.engine == "sqlite" else "test_data."
    con.execute(
        f"CREATE MODEL mindsdb.home_rentals_model FROM mydb (SELECT * FROM {schema}home_rentals) PREDICT rental_price "
        "USING estimator = 'LinearRegression'"
    )
    found = con.execute(
        "SELECT t.rental_price, m.rental_price AS predicted_price "
        f"FROM mydb.{schema}home_rentals AS t JOIN mindsdb.home_rentals_model AS m"
    ).fetchall()
    assert len(found) == ROWS and all(abs(real - predicted) <= 1 for real, predicted in found)
    grouped = con.execute(
        f"SELECT t.location, count(*), avg(m.rental_price) FROM mydb.{schema}home_rentals t JOIN home_rentals_model m "
        "WHERE t.sqft < 500 GROUP BY ALL ORDER BY 1"
    ).fetchall()
    assert [(place, count) for place, count, _ in grouped] == [("good", 33), ("great", 34), ("poor", 33)]


def test_names_lists_and_descriptions(con: mindsql.Connection, server: Server) -> None:
    server.create(con)
    schema = "" if server.engine == "sqlite" else "test_data."
    shown = {row[0] for row in con.execute("SHOW TABLES FROM mydb").fetchall()}
    assert {"home_rentals", "test_data.home_rentals"} & shown
    described = con.execute(f"DESCRIBE mydb.{schema}home_rentals").fetchall()
    assert [row[0] for row in described][:3] == ["number_of_rooms", "number_of_bathrooms", "sqft"]
    assert con.execute(f"SELECT count(*) FROM (SUMMARIZE mydb.{schema}home_rentals)").fetchone() == (8,)
    assert con.execute(f"SELECT count(*) FROM mydb.{schema}HOME_RENTALS").fetchone() == (ROWS,)
    whole = f"mydb.{schema}home_rentals"
    found = con.execute(f"SELECT {whole}.sqft FROM {whole} WHERE {whole}.sqft < 402 ORDER BY {whole}.sqft").fetchall()
    assert found == [(400,), (401,)]
    listed = "SELECT column_name, data_type FROM mydb.information_schema.columns WHERE table_name = 'home_rentals'"
    assert [tuple(row[:2]) for row in described] == con.execute(listed).fetchall()
    assert "home_rentals" in str(con.execute("SELECT table_name FROM mydb.information_schema.tables").fetchall())
    with pytest.raises(UnknownNameError, match='unknown table of the database "mydb"'):
        con.execute(f"SELECT * FROM mydb.{schema}home_rental")
    with pytest.raises(UnknownNameError) as written:
        con.execute(f"DELETE FROM mydb.{schema}home_rentals")
    assert "runs any other statement in its own words" in str(written.value)


def test_several_sources_local_tables_views_and_models_in_one_statement(
    con: mindsql.Connection, server: Server, sqlite: Server
) -> None:
    server.create(con, "one")
    sqlite.create(con, "two")
    name = "home_rentals" if server.engine == "sqlite" else "test_data.home_rentals"
    con.execute("CREATE TABLE here AS SELECT * FROM two.home_rentals WHERE sqft < 420")
    con.execute("CREATE MODEL m FROM (SELECT sqft, rental_price FROM here) PREDICT rental_price "
                "USING estimator = 'LinearRegression'")  # fmt: skip
    con.execute(f"CREATE VIEW seen AS SELECT t.sqft, m.rental_price FROM one.{name} AS t JOIN m")
    found = con.execute(
        f"WITH a AS (SELECT sqft FROM one.{name}) SELECT count(*), sum(seen.sqft) FROM a JOIN two.home_rentals b "
        "USING (sqft) JOIN here USING (sqft) JOIN seen USING (sqft)"
    ).fetchone()
    assert found == (20, sum(range(400, 420)))


def test_native_queries_are_the_servers_own(con: mindsql.Connection, server: Server) -> None:
    server.create(con)
    text = {
        "postgres": "SELECT sqft || 'x' AS a, 1 AS b, 2 AS b FROM test_data.home_rentals ORDER BY sqft DESC -- all",
        "mariadb": "SELECT concat(sqft, 'x') AS a, 1 AS b, 2 AS b FROM `home_rentals` ORDER BY sqft DESC -- all",
        "sqlite": "SELECT sqft || 'x' AS a, 1 AS b, 2 AS b FROM home_rentals ORDER BY sqft DESC -- all",
    }[server.engine]
    result = con.execute(f"SELECT * FROM mydb ({text}\n) LIMIT 2")
    assert result.fetchall() == [("799x", 1, 2), ("798x", 1, 2)]
    with pytest.raises(SourceError, match="no_such_column"):
        con.execute("SELECT * FROM mydb (SELECT no_such_column)").fetchall()


@pytest.mark.parametrize("server", ["postgres", "mariadb"], indirect=True)
def test_a_query_in_its_own_words_changes_nothing(con: mindsql.Connection, server: Server) -> None:
    server.create(con)
    server.run("DROP TABLE IF EXISTS test_data.kept")
    server.run("CREATE TABLE test_data.kept AS SELECT 1 AS a")
    insert = "INSERT INTO test_data.kept SELECT 2"
    for text in (f"WITH q AS (SELECT 2) {insert}", insert):
        with pytest.raises((SourceError, StatementError)):
            con.execute(f"SELECT a FROM mydb ({text} RETURNING a)").fetchall()
    assert server.run("SELECT count(*) FROM test_data.kept")[0][0] == 1


@contextlib.contextmanager
def stopping(con: mindsql.Connection, when: Callable[[], bool]) -> Iterator[None]:
    """Interrupt what runs once something is so, and again until it has ended: it may not have begun."""
    ended = threading.Event()

    def stop() -> None:
        while not ended.wait(0.02):
            if when():
                con.interrupt()

    stopper = threading.Thread(target=stop)
    stopper.start()
    try:
        yield
    finally:
        ended.set()
        stopper.join()


SLOW = {"postgres": "SELECT pg_sleep(600)::text AS x", "mariadb": "SELECT sleep(600) AS x"}
LONG = {
    "postgres": "SELECT i, md5(i::text) AS t FROM generate_series(1, 100000000) i",
    "mariadb": "SELECT a.sqft, md5(b.sqft) AS t FROM home_rentals a, home_rentals b, home_rentals c, home_rentals d",
    "sqlite": "SELECT 1 AS i, a.sqft AS t FROM home_rentals a, home_rentals b, home_rentals c, home_rentals d",
}


@pytest.mark.parametrize(("server", "texts"), [
    ("postgres", SLOW), ("postgres", LONG), ("mariadb", SLOW), ("mariadb", LONG), ("sqlite", LONG),
], indirect=["server"])  # fmt: skip
def test_a_stop_reaches_the_server(con: mindsql.Connection, server: Server, texts: dict[str, str]) -> None:
    server.create(con)

    with stopping(con, lambda: server.asks() > 0 or server.engine == "sqlite"), pytest.raises(Cancelled):
        con.execute(f"SELECT count(*), max(x) FROM (SELECT * FROM mydb ({texts[server.engine]})) AS q(x)").fetchall()
    wait_for(lambda: server.asks() == 0, "the server has ended it")
    schema = "" if server.engine == "sqlite" else "test_data."
    assert con.execute(f"SELECT count(*) FROM mydb.{schema}home_rentals").fetchone() == (ROWS,)


def test_stops_at_any_moment(con: mindsql.Connection, server: Server) -> None:
    server.create(con)
    for moment in range(30):
        begin = threading.Event()
        threading.Timer(moment / 200, begin.set).start()
        with stopping(con, begin.is_set), pytest.raises(Cancelled):
            con.execute(f"SELECT count(*), max(t) FROM mydb ({LONG[server.engine]})").fetchall()
    wait_for(lambda: server.asks() == 0, "the server has ended all")


@pytest.mark.parametrize("server", ["postgres", "mariadb"], indirect=True)
def test_limit_ends_the_query_of_the_server(con: mindsql.Connection, server: Server) -> None:
    server.create(con)
    assert len(con.execute(f"SELECT * FROM mydb ({LONG[server.engine]}) LIMIT 3").fetchall()) == 3
    con.execute("SELECT 1")
    wait_for(lambda: server.asks() == 0, "the server has ended it")


@pytest.mark.parametrize("server", ["postgres", "mariadb"], indirect=True)
def test_a_lost_connection_is_an_error_and_the_next_statement_connects_anew(
    con: mindsql.Connection, server: Server
) -> None:
    server.create(con)

    def cut() -> None:
        wait_for(lambda: server.asks() > 0, "the query runs")
        server.kill()

    cutter = threading.Thread(target=cut)
    cutter.start()
    with pytest.raises(SourceError) as lost:
        con.execute(f"SELECT count(*) FROM mydb ({LONG[server.engine]})").fetchall()
    cutter.join()
    assert "secret" not in str(lost.value)
    assert con.execute("SELECT count(*) FROM mydb.test_data.home_rentals").fetchone() == (ROWS,)
    server.kill()  # what is idle
    assert con.execute("SELECT count(*) FROM mydb.test_data.home_rentals").fetchone() == (ROWS,)


@pytest.mark.parametrize("server", ["postgres", "mariadb"], indirect=True)
@pytest.mark.parametrize("wrong", [{"password": "secret2"}, {"port": 1}, {"database": "nowhere"}, {"user": "nobody"}])
def test_what_cannot_be_opened_is_one_error_and_leaves_nothing(
    con: mindsql.Connection, server: Server, wrong: dict[str, Any]
) -> None:
    with pytest.raises(SourceError, match='the database "mydb"') as refused:
        server.create(con, **wrong)
    assert "secret" not in str(refused.value)
    assert con.execute("SELECT count(*) FROM information_schema.databases WHERE name = 'mydb'").fetchone() == (0,)
    server.create(con)
    shown = con.execute("SELECT * FROM information_schema.databases WHERE name = 'mydb'").fetchall()
    assert "secret" not in str(shown) and "secret" not in str(con.execute("DESCRIBE DATABASE mydb").fetchall())


@pytest.mark.parametrize("places", [
    "'host': '127.0.0.1'", "'host': '/tmp'", "'host': 'example.com,127.0.0.1'",
    "'host': 'example.com', 'connection_parameters': {'hostaddr': '127.0.0.1'}",
])  # fmt: skip
def test_a_connection_that_may_not_use_private_addresses_finds_no_way_round(
    con: mindsql.Connection, places: str
) -> None:
    con._session.settings = dataclasses.replace(con._session.settings, private_hosts=False)
    given = f"{{{places}, 'port': 1, 'user': 'x', 'database': 'x'}}"
    with pytest.raises((AccessError, StatementError)):
        con.execute(f"CREATE DATABASE pg WITH ENGINE = 'postgres', PARAMETERS = {given}")


def test_types_of_postgresql(con: mindsql.Connection, postgres: Server) -> None:
    postgres.run("CREATE TYPE mood AS ENUM ('sad', 'ok')")
    postgres.run("CREATE DOMAIN small AS numeric(4, 1)")
    values: list[tuple[str, str, str, Any]] = [
        ("smallint", "1", "SMALLINT", 1), ("real", "0.1", "FLOAT", 0.10000000149011612),
        ("numeric(38,10)", "1234567890123456789012345678.0123456789", "DECIMAL(38,10)",
         Decimal("1234567890123456789012345678.0123456789")),
        ("numeric", "3.25", "DOUBLE", 3.25), ("small", "1.5", "DECIMAL(4,1)", Decimal("1.5")),
        ("char(4)", "'a '", "VARCHAR", "a"), ("bytea", "'\\x00ff'", "BLOB", b"\x00\xff"),
        ("timestamptz", "'2024-02-29 12:00:00+02'", "TIMESTAMP WITH TIME ZONE",
         dt.datetime(2024, 2, 29, 10, tzinfo=dt.UTC)),
        ("uuid", "'550e8400-e29b-41d4-a716-446655440000'", "UUID", "550e8400-e29b-41d4-a716-446655440000"),
        ("jsonb", "'{\"a\": 1}'", "JSON", '{"a": 1}'), ("int[]", "'{1,NULL,3}'", "INTEGER[]", [1, None, 3]),
        ("text[]", "'{a,b}'", "VARCHAR[]", ["a", "b"]), ("mood", "'ok'", "VARCHAR", "ok"),
        ("money", "12.5", "VARCHAR", "$12.50"),
        ("inet", "'10.0.0.1'", "VARCHAR", "10.0.0.1/32"), ("oid", "4000000000", "BIGINT", 4000000000),
        ("timestamp", "'294276-01-01'", "TIMESTAMP", None), ("date", "'-infinity'", "DATE", None),
    ]  # fmt: skip
    postgres.run(f"CREATE TABLE kinds ({', '.join(f'c{n} {v[0]}' for n, v in enumerate(values))})")
    postgres.run(f"INSERT INTO kinds VALUES ({', '.join(value[1] for value in values)})")
    postgres.create(con)
    con.execute("SET TimeZone = 'UTC'")
    described = con.execute("DESCRIBE mydb.kinds").fetchall()
    assert [row[1] for row in described] == [value[2] for value in values]
    found = con.execute("SELECT * FROM mydb.kinds").fetchone()
    assert found is not None
    assert [str(value) if value != wanted else wanted for value, (*_, wanted) in zip(found, values, strict=True)] == [
        value[3] for value in values
    ]
    postgres.run("UPDATE kinds SET c10 = '{{1,2},{3,4}}'")
    with pytest.raises(SourceError, match="malformed array"):
        con.execute("SELECT c10 FROM mydb.kinds").fetchall()


def test_types_of_mariadb(con: mindsql.Connection, mariadb: Server) -> None:
    values: list[tuple[str, str, str, Any]] = [
        ("tinyint(1)", "5", "TINYINT", 5), ("bigint unsigned", "18446744073709551615", "UBIGINT", 2**64 - 1),
        ("decimal(38,10)", "1234567890123456789012345678.0123456789", "DECIMAL(38,10)",
         Decimal("1234567890123456789012345678.0123456789")),
        ("decimal(65,2)", "1.5", "DOUBLE", 1.5), ("float", "16777216", "FLOAT", 16777216.0),
        ("year", "2024", "SMALLINT", 2024),
        ("time", "'838:59:59'", "VARCHAR", "838:59:59"), ("bit(3)", "b'101'", "BLOB", b"\x05"),
        ("datetime(6)", "'2024-02-29 12:34:59.999999'", "TIMESTAMP", dt.datetime(2024, 2, 29, 12, 34, 59, 999999)),
        ("enum('sad','ok')", "'ok'", "VARCHAR", "ok"), ("varbinary(4)", "x'00ff'", "BLOB", b"\x00\xff"),
        ("longtext", "repeat('ä', 200000)", "VARCHAR", "ä" * 200_000), ("date", "'0000-00-00'", "DATE", None),
    ]  # fmt: skip
    mariadb.run("DROP TABLE IF EXISTS test_data.kinds")
    mariadb.run(f"CREATE TABLE test_data.kinds ({', '.join(f'c{n} {v[0]}' for n, v in enumerate(values))})")
    listed = ", ".join(value[1] for value in values)
    mariadb.run(f"SET STATEMENT sql_mode = '' FOR INSERT INTO test_data.kinds VALUES ({listed})")
    mariadb.create(con)
    assert [row[1] for row in con.execute("DESCRIBE mydb.kinds").fetchall()] == [value[2] for value in values]
    assert con.execute("SELECT * FROM mydb.kinds").fetchone() == tuple(value[3] for value in values)


def test_a_row_longer_than_a_packet(con: mindsql.Connection, mariadb: Server) -> None:
    mariadb.run("SET GLOBAL max_allowed_packet = 100000000")
    mariadb.create(con)
    text = "SELECT repeat('x', 17000000) AS a, 1 AS b UNION ALL SELECT 'y', 2"
    assert con.execute(f"SELECT length(a), b FROM mydb ({text})").fetchall() == [(17_000_000, 1), (1, 2)]


def test_a_value_of_another_type_than_its_column_in_sqlite(con: mindsql.Connection, sqlite: Server) -> None:
    sqlite.run("CREATE TABLE mixed (a int, b text)")
    sqlite.run("INSERT INTO mixed VALUES (1, 'x'), ('much', 2)")
    sqlite.create(con)
    with pytest.raises(mindsql.Error, match="\"a\" holds 'much' in row 2, which is no BIGINT"):
        con.execute("SELECT a FROM mydb.mixed").fetchall()
    assert con.execute("SELECT b FROM mydb.mixed").fetchall() == [("x",), ("2",)]


def test_explain_names_the_table_and_analyze_what_the_source_was_sent(con: mindsql.Connection, sqlite: Server) -> None:
    sqlite.create(con)
    con.execute("CREATE MODEL m FROM (SELECT sqft, rental_price FROM mydb.home_rentals) PREDICT rental_price "
                "USING estimator = 'LinearRegression'")  # fmt: skip
    text = "SELECT m.rental_price FROM mydb.home_rentals AS t JOIN m WHERE t.sqft < 500 AND t.location LIKE 'g%'"
    plan = con.explain(text)
    assert "FROM mydb.home_rentals AS t" in plan
    sent = 'mydb: SELECT "sqft", "location" FROM "home_rentals" WHERE "sqft" < 500  (filtered again by sqft)'
    assert sent in con.explain(text, analyze=True)


TOPS = """
SELECT * FROM {t} ORDER BY id LIMIT 2 | SELECT * FROM {t} ORDER BY id DESC LIMIT 2 OFFSET 1
SELECT id, n FROM {t} ORDER BY n LIMIT 3 | SELECT id, n FROM {t} ORDER BY n DESC NULLS FIRST LIMIT 3
SELECT id, f FROM {t} ORDER BY f DESC LIMIT 4 | SELECT id, f FROM {t} ORDER BY f NULLS FIRST LIMIT 4
SELECT id, d FROM {t} ORDER BY d LIMIT 3 | SELECT id, ts FROM {t} AS q ORDER BY q.ts DESC LIMIT 3
SELECT -id AS id FROM {t} ORDER BY id LIMIT 2 | SELECT id, -i AS n FROM {t} ORDER BY n LIMIT 2
SELECT t FROM {t} ORDER BY t LIMIT 3 | SELECT DISTINCT b FROM {t} ORDER BY b LIMIT 2
SELECT id FROM {t} WHERE i > 0 ORDER BY id LIMIT 1 | SELECT max(id) FROM {t} ORDER BY 1 LIMIT 1
SELECT id, unnest(range(id % 2)) FROM {t} ORDER BY id LIMIT 2 | SELECT id FROM {t} ORDER BY id LIMIT 0
SELECT count(*) FROM {t} | SELECT count(*), count(i) FROM {t} | SELECT count(*) FROM {t} WHERE i > 0
SELECT * FROM (SELECT id, i FROM {t} ORDER BY id DESC LIMIT 3) WHERE id < 5 ORDER BY ALL
SELECT a.id FROM {t} AS a JOIN {t} AS b USING (id) ORDER BY a.id LIMIT 2
SELECT id FROM {t} ORDER BY id USING SAMPLE 100% LIMIT 2 | SELECT id FROM {t} ORDER BY id LIMIT 50%
SELECT id, i + 1 AS i FROM {t} ORDER BY i NULLS FIRST LIMIT 2 | SELECT id FROM {t} ORDER BY i, id LIMIT 3
"""


def test_first_rows_and_counts_are_those_of_a_copy(con: mindsql.Connection, server: Server) -> None:
    server.run(f"DROP TABLE IF EXISTS {'test_data.' if server.engine == 'mariadb' else ''}awkward")
    for text in AWKWARD[server.engine]:
        server.run(text)
    server.create(con)
    columns = "id, i, t, f, b" if server.engine == "sqlite" else "*"
    con.execute(f"CREATE TABLE here AS SELECT {columns} FROM mydb.awkward")
    con.execute(f"CREATE VIEW v AS SELECT {columns} FROM mydb.awkward")
    for order in ("ASC", "DESC"):
        con.execute(f"SET default_order = '{order}'")
        for query in (each.strip() for line in TOPS.splitlines() for each in line.split(" | ") if each.strip()):
            try:
                wanted = con.execute(query.format(t="here")).fetchall()
            except mindsql.MindSQLError:
                continue
            path = "v" if "*" in query and server.engine == "sqlite" else "mydb.awkward"
            found = con.execute(query.format(t=path)).fetchall()
            assert sorted(map(str, found)) == sorted(map(str, wanted)), (order, query)


@pytest.mark.parametrize("server", ["postgres", "mariadb"], indirect=True)
def test_first_rows_and_counts_are_asked_of_the_server(con: mindsql.Connection, server: Server) -> None:
    server.create(con)
    query = "SELECT sqft FROM mydb.test_data.home_rentals ORDER BY sqft DESC LIMIT 3"
    assert "ORDER BY" in con.explain(query, analyze=True) and "LIMIT 3" in con.explain(query, analyze=True)
    con._session.settings = dataclasses.replace(con._session.settings, without_rules=frozenset(["push_to_source"]))
    found = con.execute(query).fetchall()
    assert "LIMIT 3" not in con.explain(query, analyze=True).split("mydb: ")[1].splitlines()[0]
    con._session.settings = dataclasses.replace(con._session.settings, without_rules=frozenset())
    assert con.execute(query).fetchall() == found
    assert "count(*)" in con.explain("SELECT count(*) FROM mydb.test_data.home_rentals", analyze=True)
