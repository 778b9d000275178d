"""Writing to other servers: rows and predictions into their tables, all of them or none."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mindsql
from mindsql.errors import CatalogError, MindSQLError, SourceError, StatementError, UnknownNameError
from mindsql.progress import ProgressEvent
from mindsql.server.tokens import Tokens
from tests.server.conftest import serving
from tests.sources.conftest import Server, wait_for

VALUES = """
    SELECT * FROM (VALUES
    (1, 1::TINYINT, (-32768)::SMALLINT, 9007199254740993::BIGINT, 255::UTINYINT, 65535::USMALLINT, 4294967295::UINTEGER,
     18446744073709551615::UBIGINT, 0.1::FLOAT, 1e300::DOUBLE, 12345678901234567890123456.78::DECIMAL(28,2),
     2.50::DECIMAL(5,2), 'a''b\\c%_"ä💙', true, DATE '2024-02-29', TIMESTAMP '2024-02-29 12:34:59.999999',
     TIMESTAMPTZ '2024-02-29 12:00:00+02', TIME '23:59:59.5', '\\x00\\xFF'::BLOB,
     'f81d4fae-7dec-11d0-a765-00a0c91e6bf6'::UUID, '{"a": [1]}'::JSON, [1, 2], 'red'::ENUM('red', 'blue'), {'x': 1},
     10000000000000000000000000000000000000::HUGEINT, INTERVAL 90 MINUTE),
    (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
     NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (3, -1, 0, -1, 0, 0, 0, 0, -0.0, -0.0, -0.01, -2.5, '', false, '0001-01-01', '9999-12-31 23:59:59',
     '1999-01-01 00:00:00Z', '00:00:00', ''::BLOB, '00000000-0000-0000-0000-000000000000', 'null', [], 'blue',
     {'x': NULL}, -1, INTERVAL 0 DAY)
    ) AS v(id, ti, si, bi, ut, us, ui, ub, f, d, n, p, t, b, da, ts, tz, tm, bl, u, j, l, e, s, h, iv)"""


class Told:
    """A listener that waits for rows to be written."""

    def __init__(self, begun: threading.Event) -> None:
        self._begun = begun

    def update(self, event: ProgressEvent) -> None:
        if event.phase == "writing rows":
            self._begun.set()

    def finish(self) -> None:
        pass


@pytest.fixture
def target(server: Server, con: mindsql.Connection) -> Iterator[mindsql.Connection]:
    server.create(con)
    yield con
    for name in ("written", "empty", "slow", "typed", "with space", "predicted"):
        con.execute(f'DROP TABLE IF EXISTS mydb."{name}"')


def _names(con: mindsql.Connection) -> list[str]:
    return [row[0] for row in con.execute("SHOW TABLES FROM mydb").fetchall()]


def test_every_type_comes_back(target: mindsql.Connection) -> None:
    con = target
    con.execute(f"CREATE TABLE here AS {VALUES}")
    con.execute("CREATE TABLE mydb.written AS FROM here")
    # What comes back has the server's types: compared as text, and cast to the type that it had.
    for name, kind in con.execute("SELECT column_name, column_type FROM (DESCRIBE here)").fetchall():
        exact = kind in ("JSON", "FLOAT")
        shown = f"{name}::VARCHAR::{kind}" if not exact else f"{name}::{'DOUBLE' if kind == 'FLOAT' else 'VARCHAR'}"
        mine = con.execute(f"SELECT id, {shown} FROM here ORDER BY id").fetchall()
        if name == "b":
            shown = f"{name}::INT::BOOLEAN"
        found = con.execute(f"SELECT id, {shown} FROM mydb.written ORDER BY id").fetchall()
        assert found == mine, (name, kind)
    # Into a table that is there, by the types of its columns.
    assert con.execute("INSERT INTO mydb.written FROM here").rowcount == 3
    assert con.execute("SELECT count(*), count(DISTINCT t), count(da) FROM mydb.written").fetchall() == [(6, 2, 4)]


def test_the_forms_of_insert(target: mindsql.Connection, server: Server) -> None:
    con = target
    con.execute("CREATE TABLE mydb.written AS SELECT 1::INTEGER AS a, 'x' AS b, 1.5::DOUBLE AS c")
    con.execute("CREATE TABLE mydb.empty AS SELECT a, b FROM mydb.written WHERE false")
    assert con.execute("SELECT * FROM mydb.empty").fetchall() == []
    assert con.execute("INSERT INTO mydb.written VALUES (2, 'y', 2), (3, NULL, ?)", [3.25]).rowcount == 2
    con.execute("INSERT INTO mydb.written (c, a) SELECT 4, 40 ORDER BY 1")
    con.execute("INSERT INTO mydb.written BY NAME SELECT 'q' AS b, 5 AS a")
    con.execute("WITH w AS (SELECT 6 AS a) INSERT INTO mydb.written (a) SELECT a FROM w")
    con.execute("INSERT INTO mydb.written (b, a) (SELECT 'z', '7')")
    con.execute("INSERT INTO mydb.written SELECT a + 100, b, c FROM mydb.written WHERE a = 1")
    con.execute("PREPARE p AS INSERT INTO mydb.written (a, b) SELECT $1, $2")
    assert con.execute("EXECUTE p(8, 'prepared')").rowcount == 1
    con.executemany("INSERT INTO mydb.written VALUES (?, ?, ?)", [(9, "many", 1.0), (10, None, None)])
    assert con.execute("SELECT * FROM mydb.written ORDER BY a").fetchall() == [
        (1, "x", 1.5), (2, "y", 2.0), (3, None, 3.25), (5, "q", None), (6, None, None), (7, "z", None),
        (8, "prepared", None), (9, "many", 1.0), (10, None, None), (40, None, 4.0), (101, "x", 1.5),
    ]  # fmt: skip
    con.execute('CREATE OR REPLACE TABLE mydb."with space" AS SELECT 1 AS "a ""b"')
    con.execute('CREATE OR REPLACE TABLE mydb."with space" AS SELECT 2 AS "a ""b", 3 AS c')
    con.execute('CREATE TABLE IF NOT EXISTS mydb."with space" (SELECT 9 AS x)')
    assert con.execute('SELECT * FROM mydb."with space"').fetchall() == [(2, 3)]
    con.execute('DROP TABLE mydb."with space"')
    con.execute('DROP TABLE IF EXISTS mydb."with space"')
    assert "with space" not in _names(con)
    # What the server says in its own words
    text = "UPDATE written SET b = 'own' WHERE a < 3" if server.engine != "mysql" else (
        "UPDATE test_data.written SET b = 'own' WHERE a < 3"
    )  # fmt: skip
    assert con.execute(f"SELECT * FROM mydb ({text})").rowcount == 2
    assert con.execute("SELECT count(*) FROM mydb.written WHERE b = 'own'").fetchall() == [(2,)]


def test_predictions_go_back(target: mindsql.Connection) -> None:
    con = target
    con.execute("CREATE TABLE t AS SELECT i AS a, 2.0 * i AS y FROM range(100) r(i)")
    con.execute("CREATE MODEL m PREDICT y FROM (SELECT * FROM t) USING estimator = 'LinearRegression'")
    con.execute("CREATE TABLE mydb.written AS SELECT a FROM t WHERE a < 50")
    con.execute("CREATE TABLE mydb.predicted AS SELECT w.a, round(m.y, 6) AS y FROM mydb.written AS w JOIN m")
    con.execute("INSERT INTO mydb.predicted SELECT t.a, m.y FROM t JOIN m WHERE t.a >= 50")
    assert con.execute("SELECT count(*), sum(abs(y - 2 * a)) < 1e-3 FROM mydb.predicted").fetchall() == [(100, True)]


REFUSED = [
    ("INSERT INTO mydb.written VALUES ('x', 'y')", MindSQLError, "x"),
    ("INSERT INTO mydb.written VALUES (30000000000000000000, 'y')", MindSQLError, "30000000000000000000"),
    ("INSERT INTO mydb.written VALUES (1)", StatementError, "2 columns to fill, and the query gives 1"),
    ("INSERT INTO mydb.written (nope) VALUES (1)", UnknownNameError, 'unknown column of mydb.written: "nope"'),
    ("INSERT INTO mydb.written BY NAME SELECT 1 AS nope", UnknownNameError, "nope"),
    ("INSERT INTO mydb.nowhere VALUES (1)", UnknownNameError, "nowhere"),
    ("INSERT INTO mydb.written SELECT a, b FROM gone", UnknownNameError, "gone"),
    ("INSERT INTO mydb.written SELECT i, error(i::VARCHAR) FROM range(2000) r(i) WHERE i > 1", MindSQLError, "2"),
    ("INSERT OR REPLACE INTO mydb.written VALUES (1, 'x')", StatementError, "OR REPLACE"),
    ("INSERT INTO mydb.written VALUES (1, 'x') RETURNING a", StatementError, "RETURNING"),
    ("CREATE TABLE mydb.written AS SELECT 1 AS a", SourceError, "exists"),
    ("CREATE TABLE mydb.typed AS SELECT 1 AS a, 2 AS A", StatementError, "twice"),
    ("CREATE TABLE mydb.typed AS SELECT CASE WHEN i = 90000 THEN error('late') END AS a FROM range(99999) r(i)",
     MindSQLError, "late"),
    ("CREATE OR REPLACE TABLE mydb.written AS SELECT CASE WHEN i = 90000 THEN error('late') END AS a "
     "FROM range(99999) r(i)", MindSQLError, "late"),
    ("DROP TABLE mydb.nowhere", UnknownNameError, "nowhere"),
    ("SELECT * FROM mydb (DELETE FROM nowhere)", SourceError, "nowhere"),
    ("SELECT 1 FROM mydb (DELETE FROM written)", StatementError, "no query"),
    ("UPDATE mydb.written SET a = 1", UnknownNameError, "written"),
]  # fmt: skip


def test_what_fails_leaves_nothing(target: mindsql.Connection) -> None:
    con = target
    con.execute("CREATE TABLE mydb.written AS SELECT 1::INTEGER AS a, 'x' AS b")
    for text, kind, words in REFUSED:
        before = _names(con)
        with pytest.raises(kind, match=words):
            con.execute(text)
        assert con.execute("SELECT * FROM mydb.written").fetchall() == [(1, "x")], text
        assert _names(con) == before, text
    con.execute("BEGIN")
    for text in ("INSERT INTO mydb.written VALUES (2, 'y')", "DROP TABLE mydb.written"):
        with pytest.raises(CatalogError, match="in a transaction"):
            con.execute(text)
    con.execute("ROLLBACK")


def test_errors_have_their_place(target: mindsql.Connection) -> None:
    with pytest.raises(UnknownNameError) as caught:
        target.execute("INSERT INTO mydb.nowhere\nSELECT 1")
    assert caught.value.text is not None and caught.value.span is not None
    assert caught.value.text[slice(*caught.value.span)] == "mydb.nowhere"
    target.execute("CREATE TABLE mydb.written AS SELECT 1 AS a")
    with pytest.raises(UnknownNameError) as caught:
        target.execute("INSERT INTO mydb.written\nSELECT a FROM gone")
    assert "line 2, column 15" in str(caught.value)


def test_read_only(server: Server, con: mindsql.Connection) -> None:
    server.create(con, read_only=True)
    for text in ("CREATE TABLE mydb.x AS SELECT 1 AS a", "DROP TABLE mydb.x", "SELECT * FROM mydb (DELETE FROM x)"):
        with pytest.raises(SourceError, match="only to be read"):
            con.execute(text)


def test_a_stop_leaves_nothing(target: mindsql.Connection) -> None:
    con = target
    con.execute("CREATE TABLE mydb.slow AS SELECT 1::BIGINT AS a, 'x' AS b")
    before, quiet = _names(con), con.progress
    seen: list[Any] = []
    for text in ("INSERT INTO mydb.slow", "CREATE OR REPLACE TABLE mydb.slow AS", "CREATE TABLE mydb.typed AS"):
        begun = threading.Event()
        con.progress = Told(begun)

        def run(text: str = text) -> None:
            try:
                con.execute(f"{text} SELECT i AS a, md5(i::VARCHAR) AS b FROM range(1000000000) r(i)")
            except MindSQLError as error:
                seen.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        assert begun.wait(60)
        stopped = time.monotonic()
        con.interrupt()
        thread.join(60)
        assert not thread.is_alive() and time.monotonic() - stopped < 60
        con.progress = quiet
        assert con.execute("SELECT * FROM mydb.slow").fetchall() == [(1, "x")], text
        wait_for(lambda: _names(con) == before, "no table is left behind")
    assert [type(error).__name__ for error in seen] == ["Cancelled"] * 3


def test_through_the_server(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "server"
    own.mkdir()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(own / "config"))  # the server's key is ours
    folder = tmp_path / "files"
    folder.mkdir()
    if server.engine == "sqlite":  # a folder that may be read, and not the one with the database
        shutil.copy(server.parameters["db_file"], folder / "shop.db")
        server.parameters["db_file"] = str(folder / "shop.db")
    with mindsql.connect(own / "shop.duckdb") as con:
        server.create(con)
        con.execute("DROP TABLE IF EXISTS mydb.written")
        tokens = {role: Tokens(con).create(f"the_{role}", role) for role in ("predict", "write")}
    with serving(own, "--private-hosts", "--allow-folder", str(folder)) as served:
        served.token = tokens["predict"]
        assert served.post("CREATE TABLE mydb.written AS SELECT 1 AS a").status_code == 403
        served.token = tokens["write"]
        served.rows("CREATE TABLE mydb.written AS SELECT 1 AS a")
        assert served.post("INSERT INTO mydb.written VALUES (?)", [2]).json()["type"] == "ok"
        assert served.post("SELECT * FROM mydb (DELETE FROM written)").status_code == 403
        served.token = tokens["predict"]
        for text in ("INSERT INTO mydb.written VALUES (3)", "DROP TABLE mydb.written"):
            assert served.post(text).status_code == 403, text
        assert served.rows("SELECT a FROM mydb.written ORDER BY a") == [(1,), (2,)]
        served.token = tokens["write"]
        served.rows("DROP TABLE mydb.written")
        assert served.post("SELECT * FROM mydb.written").status_code == 404
