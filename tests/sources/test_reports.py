"""What users of other systems have reported, a case for each group of reports."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest

import mindsql
from mindsql.errors import MindSQLError, SourceError
from tests.sources.servers import Server
from tests.sources.test_servers import AWKWARD, PREDICATES


@pytest.fixture
def shop(server: Server, con: mindsql.Connection) -> mindsql.Connection:
    server.create(con)
    return con


def _table(con: mindsql.Connection, name: str, query: str) -> None:
    """A table at the server, and the same here, to compare with."""
    con.execute(f"CREATE OR REPLACE TABLE mydb.{name} AS {query}")
    con.execute(f"CREATE OR REPLACE TABLE {name} AS FROM mydb.{name}")


def _alike(con: mindsql.Connection, name: str, query: str) -> None:
    wanted = sorted(map(str, con.execute(query.format(t=name)).fetchall()))
    assert sorted(map(str, con.execute(query.format(t=f"mydb.{name}")).fetchall())) == wanted, query


def test_text_and_collations(shop: mindsql.Connection) -> None:
    words = "'a', 'A', 'á', 'Ab', 'ab ', 'ab', 'b', 'ß', 'ss', 'z', '', ' ', NULL, '%'"
    _table(shop, "words", f"SELECT unnest([{words}]) AS t")
    for condition in ("t LIKE 'a%'", "t >= 'a' AND t < 'b'", "t = 'ab'", "t IN ('ab', 'a')", "t <> 'a'", "t LIKE '%'"):
        _alike(shop, "words", f"SELECT t FROM {{t}} WHERE {condition}")
    _alike(shop, "words", "SELECT count(*) FROM {t} AS a JOIN words AS b ON a.t = b.t")
    _alike(shop, "words", "SELECT count(*) FROM {t} AS a WHERE t IN (SELECT t FROM words WHERE t > 'A')")


@pytest.mark.parametrize("server", ["postgres", "mariadb"], indirect=True)
def test_padded_text(shop: mindsql.Connection, server: Server) -> None:
    server.run("DROP TABLE IF EXISTS test_data.padded")
    server.run("CREATE TABLE test_data.padded (c char(10), v varchar(10))")
    server.run("INSERT INTO test_data.padded VALUES ('ab', 'ab '), ('ab ', 'ab'), ('', '')")
    found = shop.execute("SELECT c, v FROM mydb.test_data.padded ORDER BY v, c").fetchall()
    assert found == [("", ""), ("ab", "ab"), ("ab", "ab ")]
    assert shop.execute("SELECT count(*) FROM mydb.test_data.padded WHERE v = 'ab'").fetchone() == (1,)
    assert shop.execute("SELECT count(*) FROM mydb.test_data.padded WHERE c IN ('ab', 'x')").fetchone() == (2,)


@pytest.mark.parametrize("server", ["postgres", "mariadb"], indirect=True)
def test_times_beyond_pandas_and_missing_ones(shop: mindsql.Connection, server: Server) -> None:
    kind = "timestamp" if server.engine == "postgres" else "datetime(6)"
    server.run("DROP TABLE IF EXISTS test_data.times")
    server.run(f"CREATE TABLE test_data.times (id int, t {kind}, d date)")
    server.run("INSERT INTO test_data.times VALUES (1, NULL, NULL), (2, '1000-01-01', '1000-01-01'), "
               "(3, '9999-12-31 23:59:59.999999', '9999-12-31')")  # fmt: skip
    found = shop.execute("SELECT t::VARCHAR, d FROM mydb.test_data.times ORDER BY id").fetchall()
    assert [str(row) for row in found] == [
        "(None, None)",
        "('1000-01-01 00:00:00', datetime.date(1000, 1, 1))",
        "('9999-12-31 23:59:59.999999', datetime.date(9999, 12, 31))",
    ]
    shop.execute("CREATE MODEL m PREDICT id FROM (SELECT * FROM mydb.test_data.times) USING task = 'regression'")
    assert shop.execute("SELECT count(m.id) FROM mydb.test_data.times AS t JOIN m").fetchone() == (3,)


@pytest.mark.parametrize("server", ["postgres", "mariadb"], indirect=True)
def test_days_that_there_are_not(con: mindsql.Connection, server: Server) -> None:
    server.run("DROP TABLE IF EXISTS test_data.days")
    server.run("CREATE TABLE test_data.days (id int, d date, t timestamp NULL)")
    odd = "'infinity', '-infinity'" if server.engine == "postgres" else "'0000-00-00', '2000-01-01 01:00:00'"
    mode = "" if server.engine == "postgres" else "SET STATEMENT sql_mode = '' FOR "
    server.run(f"{mode}INSERT INTO test_data.days VALUES (1, '2024-02-29', NULL), (2, {odd})")
    server.create(con)
    server.create(con, "strict", strict_dates=True)
    assert con.execute("SELECT count(d) FROM mydb.test_data.days").fetchone() == (1,)
    found = con.execute("SELECT d::VARCHAR, t FROM strict.test_data.days WHERE id = 1").fetchall()
    assert found == [("2024-02-29", None)]
    for column in ("d", "t") if server.engine == "postgres" else ("d",):
        with pytest.raises(SourceError, match=r"infinity|date32"):
            con.execute(f"SELECT {column} FROM strict.test_data.days").fetchall()


def test_names_in_mixed_case(shop: mindsql.Connection, server: Server) -> None:
    shop.execute('CREATE OR REPLACE TABLE mydb."MixedCase" AS SELECT 1 AS "Some Column", 2 AS "select"')
    for name in ('mydb."MixedCase"', "mydb.MixedCase", "mydb.mixedcase"):
        found = shop.execute(f'SELECT "some column", "select", t."Some Column" FROM {name} AS t WHERE "select" = 2')
        assert found.fetchall() == [(1, 2, 1)]


def test_one_table_is_asked_for_not_the_catalog(con: mindsql.Connection, postgres: Server) -> None:
    postgres.run("CREATE SCHEMA IF NOT EXISTS many")
    postgres.run("DO $$ BEGIN FOR i IN 1..500 LOOP EXECUTE format('CREATE TABLE IF NOT EXISTS many.t%s (a int)', i); "
                 "END LOOP; END $$")  # fmt: skip
    postgres.create(con)
    opened: Any = con._session.source("mydb")
    source = opened._source
    asked: list[str] = []
    ask = source._all
    source._all = lambda text: asked.append(text) or ask(text)
    con.execute("SELECT * FROM mydb.many.t7").fetchall()
    assert len(asked) <= 6 and all("relname) = lower('t7')" in text or "attrelid" in text for text in asked)
    postgres.run("DROP SCHEMA many CASCADE")


def test_settings_of_a_connection(con: mindsql.Connection, postgres: Server) -> None:
    postgres.create(con, "mydb", schema="test_data", sslmode="prefer", connection_parameters={"application_name": "me"})
    assert con.execute("SELECT count(*) > 0 FROM mydb.home_rentals").fetchone() == (True,)
    assert con.execute("SELECT * FROM mydb (SELECT current_setting('application_name') AS a)").fetchone() == ("me",)
    with pytest.raises(SourceError, match="SSL"):
        postgres.create(con, "other", sslmode="require")
    timed = {"options": "-c statement_timeout=200"}
    postgres.create(con, "timed", connection_parameters=timed)
    with pytest.raises(SourceError, match="statement timeout"):
        con.execute("SELECT * FROM timed (SELECT pg_sleep(60))")


def test_numbers_and_money(con: mindsql.Connection, postgres: Server) -> None:
    postgres.create(con)
    postgres.run("DROP TABLE IF EXISTS prices")
    postgres.run("CREATE TABLE prices (n numeric(10,2), m money, plain numeric)")
    postgres.run("INSERT INTO prices VALUES (12.30, 45.60, 0.1), (-0.05, -7, 1e20)")
    found = con.execute("SELECT n, m, plain FROM mydb.prices ORDER BY n DESC").fetchall()
    assert found == [(Decimal("12.30"), "$45.60", 0.1), (Decimal("-0.05"), "-$7.00", 1e20)]
    assert con.execute("SELECT sum(n)::VARCHAR FROM mydb.prices").fetchone() == ("12.25",)


def test_predictions_into_the_table_that_they_come_from(shop: mindsql.Connection) -> None:
    shop.execute("CREATE OR REPLACE TABLE mydb.own AS SELECT i AS a, i * 2.0::DOUBLE AS y FROM range(50) r(i)")
    shop.execute("CREATE MODEL m PREDICT y FROM (SELECT * FROM mydb.own) USING estimator = 'LinearRegression'")
    shop.execute("INSERT INTO mydb.own SELECT t.a + 1000, m.y FROM mydb.own AS t JOIN m")
    assert shop.execute("SELECT count(*), round(sum(y)) FROM mydb.own").fetchone() == (100, 4900.0)
    shop.execute("CREATE OR REPLACE TABLE mydb.own AS SELECT t.a, m.y FROM mydb.own AS t JOIN m WHERE t.a < 1000")
    assert shop.execute("SELECT count(*) FROM mydb.own").fetchone() == (50,)


def test_no_extension_is_loaded(shop: mindsql.Connection) -> None:
    loaded = "SELECT extension_name FROM duckdb_extensions() WHERE loaded ORDER BY 1"
    before = shop.execute(loaded).fetchall()
    shop.execute("CREATE OR REPLACE TABLE mydb.loads AS SELECT 1 AS a")
    shop.execute("SELECT * FROM mydb.loads WHERE a = 1").fetchall()
    assert shop.execute(loaded).fetchall() == before


def _generated(seed: int) -> str:
    """A query over one table or two, made of the predicates that are tried one by one elsewhere."""
    pick = random.Random(seed)
    every = [each.strip() for line in PREDICATES.strip().splitlines() for each in line.split(" | ") if each.strip()]

    def condition(depth: int = 2) -> str:
        if not depth or pick.random() < 0.3:
            return f"({pick.choice(every)})"
        kind = pick.choice(("AND", "OR", "NOT", "AND"))
        if kind == "NOT":
            return f"(NOT {condition(depth - 1)})"
        return f"({condition(depth - 1)} {kind} {condition(depth - 1)})"

    base = pick.choice(("{t}", f"(SELECT * FROM {{t}} WHERE {condition()})", "(SELECT * FROM {t} ORDER BY id LIMIT 4)"))
    columns = pick.choice(("id", "id, i, n", "count(*), max(i)", "t, count(*), min(id)", "DISTINCT b", "*"))
    text = f"SELECT {columns} FROM {base} AS q"
    if pick.random() < 0.3 and columns in ("id", "count(*), max(i)"):
        text = f"SELECT count(*) FROM {base} AS q JOIN {{t}} AS p USING (id)"
        return f"WITH c AS (SELECT id FROM {{t}} WHERE {condition()}) {text} WHERE id IN (SELECT id FROM c)"
    text = f"{text} WHERE {condition()}"
    return f"{text} GROUP BY t" if columns.startswith("t,") else text


def test_generated_queries(shop: mindsql.Connection, server: Server) -> None:
    server.run(f"DROP TABLE IF EXISTS {'test_data.' if server.engine == 'mariadb' else ''}awkward")
    for text in AWKWARD[server.engine]:
        server.run(text)
    columns = "*" if server.engine != "sqlite" else "id, i, t, f, b"
    shop.execute(f"CREATE TABLE here AS SELECT {columns} FROM mydb.awkward")
    shop.execute(f"CREATE VIEW there AS SELECT {columns} FROM mydb.awkward")
    answered = 0
    for seed in range(40):
        query = _generated(seed)
        try:
            wanted = sorted(map(str, shop.execute(query.format(t="here")).fetchall()))
        except MindSQLError:
            continue
        answered += 1
        for table in ("there", "mydb.awkward") if "*" not in columns or server.engine != "sqlite" else ("there",):
            if server.engine == "sqlite" and table == "mydb.awkward" and "SELECT *" in query:
                continue
            assert sorted(map(str, shop.execute(query.format(t=table)).fetchall())) == wanted, query
    assert answered > 5
