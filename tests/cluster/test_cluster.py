"""Queries over files on a Ray cluster of two nodes: the same rows as here, whatever dies."""

from __future__ import annotations

import os
import re
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import mindsql
from mindsql.cluster import worker
from mindsql.cluster.job import Job, Part, libraries
from mindsql.connection import Connection
from mindsql.engine import Network
from mindsql.errors import Cancelled, EngineError, EngineProcessError, StatementError
from tests.cluster.conftest import MARKS, ROWS, Two, both, same

pytestmark = MARKS

ON_THE_CLUSTER = [
    "SELECT count(*), sum(m.y), max(t.a) FROM read_parquet('{f}/*.parquet') t JOIN ten m",
    "SELECT sum(m.y) FROM read_parquet('{f}/*.parquet') t JOIN ten m "
    "WHERE hour(TIMESTAMPTZ '2024-01-01 12:00+00' + t.a * INTERVAL 1 HOUR) = 3",
    "SELECT t.a, m.y FROM '{f}/*.parquet' t JOIN ten m WHERE t.a % 1000 = 7 AND t.k LIKE 'k%7'",
    "SELECT t.a, m.y FROM read_parquet(['{f}/2.parquet', '{f}/0.parquet']) t JOIN ten m WHERE m.y > 0 LIMIT 5",
    "SELECT t.g, avg(m.y) AS y FROM read_parquet('{f}/*.parquet') t JOIN near m WHERE t.a < 3000 GROUP BY ALL",
    "SELECT m.y, m.y_confidence, count(*) FROM read_parquet('{f}/*.parquet') t JOIN ten JOIN kind m WHERE ten.y > 9 "
    "GROUP BY ALL",
    "SELECT n.name, count(*), sum(m.y) FROM read_parquet('{f}/*.parquet') t JOIN names n USING (k) JOIN ten m "
    "GROUP BY ALL",
    "SELECT n.name, count(*), sum(m.y) FROM read_parquet('{f}/*.parquet') t LEFT JOIN names n USING (k) JOIN ten m "
    "GROUP BY ALL",
    "SELECT sum(b.y), sum(c.y) FROM read_parquet('{f}/*.parquet') t JOIN ten b JOIN line c",
    "SELECT t.a, m.y, row_number() OVER (ORDER BY m.y DESC) AS n FROM read_parquet('{f}/*.parquet') t JOIN ten m "
    "QUALIFY n <= 3",
    "WITH c AS (SELECT t.k, m.y FROM read_parquet('{f}/*.parquet') t JOIN ten m) SELECT k, sum(y) FROM c GROUP BY k",
    "SELECT sum(t.b), sum(m.y) FROM (SELECT a, a + 1 AS b FROM read_parquet('{f}/*.parquet')) t JOIN ten m",
]
HERE = {
    "SELECT sum(m.y) FROM read_parquet('{f}/0.parquet') t JOIN near m WHERE t.a < 50 AND age(t.d) > '1s'": "age is",
    "SELECT m.y FROM (SELECT 3 AS a, 4 AS g) t JOIN near m": "it reads no Parquet or CSV files",
    "SELECT median(m.y) FROM read_parquet('{f}/*.parquet') t JOIN line m WHERE m.y > 1000": "DuckDB answers it alone",
    "SELECT sum(m.y) FROM read_parquet(['{f}/0.parquet', '{f}/0.parquet']) t JOIN ten m": "a file is named twice",
    "SELECT t.a, m.y FROM read_parquet('{f}/*.parquet') t JOIN ten m LIMIT 5": "LIMIT needs all rows",
    "SELECT sum(m.y) FROM few t JOIN near m": "it reads no Parquet or CSV files",
    "SELECT sum(m.y) FROM read_parquet('{f}/*.parquet', union_by_name = true) t JOIN near m": "union_by_name",
    "SELECT sum(m.y) FROM (SELECT * FROM read_parquet('{f}/*.parquet') LIMIT 9) t JOIN near m": "LIMIT needs all rows",
    "SELECT sum(m.y) FROM read_parquet('{f}/*.parquet') t JOIN near m WHERE t.a < twice(40)": "twice is computed here",
    "SELECT count(m.y) FROM read_parquet('{f}/0.parquet') t JOIN near m WHERE t.a < 40 AND random() >= 0": "random",
    "SELECT sum(m.y) FROM read_parquet('{f}/0.parquet') t JOIN near m WHERE t.a < 50 AND t.d < current_date": "time",
}


def test_rows_are_those_of_here(con: Connection, folder: Path) -> None:
    con.execute("SET TimeZone = 'America/New_York'")
    for text in ON_THE_CLUSTER:
        query = text.format(f=folder)
        con.execute("SET executor = 'ray'")
        assert "on the cluster, in " in str(con.execute(f"EXPLAIN {query}").fetchall()), query
        there, here = both(con, query)
        assert same(there, here), (query, there[:3], here[:3])


def test_what_is_answered_here_says_why(con: Connection, folder: Path) -> None:
    for text, reason in HERE.items():
        query = text.format(f=folder)
        con.execute("SET executor = 'ray'")
        shown = str(con.execute(f"EXPLAIN {query}").fetchall())
        assert "on the cluster" not in shown and reason in shown, shown
        there, here = both(con, query)
        assert same(there, here), query
    con.execute("SET executor = 'ray'")
    con.execute("CREATE SCHEMA s")
    con.execute("USE s")  # means nothing to a worker's database
    con.execute("CREATE TEMP TABLE ones AS SELECT 'k1' AS k")
    query = f"SELECT count(m.y) FROM read_parquet('{folder}/*.parquet') t JOIN ones USING (k) JOIN mindsql.ten m"
    assert "here: only this connection sees ones" in str(con.execute(f"EXPLAIN {query}").fetchall())
    alone = f"SELECT count(m.y) FROM read_parquet('{folder}/*.parquet') t JOIN mindsql.ten m WHERE t.k = 'k1'"
    assert "on the cluster" in str(con.execute(f"EXPLAIN {alone}").fetchall())
    assert con.execute(query).fetchall() == con.execute(alone).fetchall()
    con.execute("BEGIN")
    query = f"SELECT count(m.y) FROM read_parquet('{folder}/*.parquet') t JOIN ten m"
    assert "here: a transaction is open" in str(con.execute(f"EXPLAIN {query}").fetchall())
    con.execute("COMMIT")


def test_large_tables_are_joined_here(con: Connection, folder: Path) -> None:
    con.execute("CREATE TABLE large AS SELECT i AS a, i % 3 AS w FROM range(1000001) r(i)")
    con.execute("SET executor = 'ray'")
    query = f"SELECT sum(l.w), sum(m.y) FROM read_parquet('{folder}/*.parquet') t JOIN large l USING (a) JOIN ten m"
    assert "each worker would need all 1000001 rows of large" in str(con.execute(f"EXPLAIN {query}").fetchall())
    there, here = both(con, query)
    assert same(there, here)


def test_files_whose_columns_differ_are_read_here(con: Connection, tmp_path: Path) -> None:
    con.execute(f"COPY (SELECT i AS a FROM range(100) r(i)) TO '{tmp_path}/0.parquet'")
    con.execute(f"COPY (SELECT i::INT AS a, 1 AS b FROM range(100) r(i)) TO '{tmp_path}/1.parquet'")
    halves = "(SELECT i AS a, i % 2 AS p FROM range(9) r(i))"
    con.execute(f"COPY {halves} TO '{tmp_path}/h' (FORMAT parquet, PARTITION_BY p)")
    con.execute("SET executor = 'ray'")
    cases = [("*.parquet", "its files have different columns", 99_000), ("h/*/*.parquet", "are columns", 360)]
    for files, reason, total in cases:
        query = f"SELECT sum(m.y) FROM read_parquet('{tmp_path}/{files}') t JOIN ten m"
        assert reason in str(con.execute(f"EXPLAIN {query}").fetchall())
        assert con.execute(query).fetchone() == (total,)


CSV = {
    "'{f}/[0-2].csv'": "on the cluster, in 3 parts",
    "read_csv('{f}/[0-2].csv', types = {'g': 'DOUBLE'}, nullstr = 'k7')": "on the cluster, in 3 parts",
    "read_csv('{f}/[0-2].csv', header = true, delim = ',', columns = {'a': 'INT', 'g': 'INT', 'k': 'VARCHAR'})": "in 3",
    "read_csv($files)": "on the cluster, in 3 parts",
    "'{f}/*.csv'": "on the cluster, in 4 parts",  # one is written in another way, its columns in another order
    "'{f}/0.csv'": "one file of CSV is read by one reader",
    "read_csv('{f}/[0-2].csv', filename = true)": "read_csv with filename looks at all files together",
}


def test_files_of_csv_are_parts(con: Connection, tmp_path: Path) -> None:
    for number in range(3):
        rows = f"SELECT i AS a, i % 7 AS g, 'k' || i % 50 AS k FROM range({number * 1000}, {(number + 1) * 1000}) r(i)"
        con.execute(f"COPY ({rows}) TO '{tmp_path}/{number}.csv'")
    (tmp_path / "other.csv").write_text('k;a;g\n"k;1";5001;2\n007;5002;1\n')
    for relation, place in CSV.items():
        given = {"files": f"{tmp_path}/[0-2].csv"} if "$" in relation else None
        query = f"SELECT t.g, t.k, typeof(t.g), count(*), sum(m.y) FROM {relation} t JOIN ten m GROUP BY ALL"
        query = query.replace("{f}", str(tmp_path))
        con.execute("SET executor = 'ray'")
        assert place in str(con.execute(f"EXPLAIN {query}", given).fetchall()), query
        there = con.execute(query, given).fetchall()
        con.execute("RESET executor")
        assert same(there, con.execute(query, given).fetchall()), query
    con.execute("SET executor = 'ray'")
    written = f"SELECT t.k, m.y FROM '{tmp_path}/*.csv' t JOIN ten m"
    assert con.execute(f"COPY ({written}) TO '{tmp_path}/out' (FORMAT csv, HEADER)").fetchone() == (3002,)
    assert len(list((tmp_path / "out").glob("*.csv"))) == 4
    found = con.execute(f"SELECT sum(y) FROM '{tmp_path}/out/*.csv'").fetchone()
    assert found == (10 * (2999 * 1500 + 5001 + 5002),)
    (tmp_path / "3.csv").write_text("a,g,k\n1,2,x\n3,4\n")
    with pytest.raises(mindsql.Error):
        con.execute(f"SELECT sum(m.y) FROM '{tmp_path}/[0-3].csv' t JOIN ten m").fetchall()


def test_analyze_tells_parts_and_calls(con: Connection, folder: Path) -> None:
    con.execute("SET executor = 'ray'")
    shown = con.execute(
        f"EXPLAIN ANALYZE SELECT sum(m.y) FROM read_parquet('{folder}/*.parquet') t JOIN ten m"
    ).fetchall()[0][-1]
    calls = re.search(rf"Predict .*\[{ROWS} rows, .* (\d+) engine calls\]", shown)
    parts = re.search(r"Aggregate  \[(\d+) rows, .*, (\d+) parts\]", shown)
    assert calls is not None and parts is not None, shown
    assert parts[1] == parts[2]  # each part gives one row
    assert int(calls[1]) >= int(parts[2])


@pytest.mark.parametrize("model", ["ten", "tenth"])  # by its engine, and as SQL
def test_rows_are_written_by_the_workers(con: Connection, folder: Path, tmp_path: Path, model: str) -> None:
    rows = "(SELECT a, a * 10 AS y FROM few)"
    con.execute(f"CREATE MODEL tenth FROM {rows} PREDICT y USING estimator = 'Ridge', alpha = 0")
    query = (
        f"COPY (SELECT t.a, t.k || '!' AS k, round(m.y)::BIGINT AS y FROM read_parquet('{folder}/*.parquet') t "
        f"JOIN {model} m "
        f"WHERE t.g > 0) TO '{tmp_path}/out' (FORMAT parquet%s)"
    )
    con.execute("SET executor = 'ray'")
    assert "written by the workers" in str(con.execute(f"EXPLAIN {query % ''}").fetchall())
    count = con.execute(query % "").fetchone()
    wanted = con.execute(f"SELECT count(*), sum(a), 10 * sum(a) FROM read_parquet('{folder}/*.parquet') WHERE g > 0")
    expected = wanted.fetchone()
    read = f"SELECT count(*), sum(a), sum(y) FROM read_parquet('{tmp_path}/out/*.parquet') WHERE k LIKE '%!'"
    assert expected is not None and count == (expected[0],)
    assert con.execute(read).fetchone() == expected
    assert (tmp_path / "out" / "_SUCCESS").exists()
    assert os.listdir(tmp_path) == ["out"]
    with pytest.raises(StatementError, match="is there already"):
        con.execute(query % "")
    con.execute(query % ", OVERWRITE true")
    assert con.execute(read).fetchone() == expected
    assert os.listdir(tmp_path) == ["out"]


def test_an_error_in_a_part_is_ours_and_leaves_nothing(con: Connection, folder: Path, tmp_path: Path) -> None:
    con.execute("CREATE MODEL bad FROM (SELECT a, y FROM few) PREDICT y USING engine = 'tenfold', how = 'fail'")
    con.execute("SET executor = 'ray'")
    query = f"SELECT t.a, m.y FROM read_parquet('{folder}/*.parquet') t JOIN bad m"
    with pytest.raises(EngineError, match="this one is too large"):
        con.execute(f"COPY ({query}) TO '{tmp_path}/out' (FORMAT parquet)")
    assert os.listdir(tmp_path) == []
    with pytest.raises(EngineError, match="this one is too large"):
        con.execute(f"SELECT sum(y) FROM ({query})").fetchall()
    with pytest.raises(mindsql.Error, match="could not convert string"):
        con.execute(
            f"SELECT t.k::INT, m.y FROM read_parquet('{folder}/*.parquet') t JOIN ten m WHERE t.k::INT > 3"
        ).fetchall()
    assert con.execute("SELECT y FROM ten WHERE a = 1").fetchall() == [(10,)]


def test_a_worker_that_dies_is_replaced(con: Connection, folder: Path, tmp_path: Path) -> None:
    con.execute(
        "CREATE MODEL m FROM (SELECT a, y FROM few) PREDICT y "
        f"USING engine = 'tenfold', how = 'die once', mark = '{tmp_path}/mark'"
    )
    con.execute("SET executor = 'ray'")
    query = f"SELECT count(*), sum(m.y) FROM read_parquet('{folder}/*.parquet') t JOIN m"
    assert con.execute(query).fetchall() == [(ROWS, 10 * ROWS * (ROWS - 1) / 2)]
    assert (tmp_path / "mark").exists()
    con.execute("CREATE MODEL d FROM (SELECT a, y FROM few) PREDICT y USING engine = 'tenfold', how = 'die'")
    with pytest.raises(EngineProcessError, match="died 4 times"):
        con.execute(f"COPY (SELECT d.y FROM read_parquet('{folder}/0.parquet') t JOIN d) TO '{tmp_path}/out'")
    assert os.listdir(tmp_path) == ["mark"]


def test_a_node_may_go(con: Connection, two: Two, folder: Path, tmp_path: Path) -> None:
    con.execute(
        "CREATE MODEL m FROM (SELECT a, y FROM few) PREDICT y "
        f"USING engine = 'tenfold', how = 'wait', mark = '{tmp_path}/mark'"
    )
    con.execute("SET executor = 'ray'")
    answers: list[Any] = []
    query = f"SELECT count(*), sum(m.y), count(DISTINCT t.a) FROM read_parquet('{folder}/*.parquet') t JOIN m"
    asking = threading.Thread(target=lambda: answers.append(con.execute(query).fetchall()))
    asking.start()
    while len(list(tmp_path.glob("mark-*"))) < 2:  # a worker on each node is at it
        time.sleep(0.02)
    two.cluster.remove_node(two.second)
    (tmp_path / "mark").touch()
    asking.join()
    two.second = two.cluster.add_node(num_cpus=1)
    assert answers == [[(ROWS, 10 * ROWS * (ROWS - 1) / 2, ROWS)]]


def test_an_engine_that_is_replaced_is_replaced_there(con: Connection, folder: Path) -> None:
    con.execute("CREATE ML_ENGINE e FROM tenfold USING factor = 10")
    con.execute("CREATE MODEL m FROM (SELECT a, y FROM few) PREDICT y USING engine = 'e'")
    con.execute("SET executor = 'ray'")
    query = f"SELECT sum(m.y) FROM read_parquet('{folder}/*.parquet') t JOIN m"
    assert con.execute(query).fetchall() == [(10 * ROWS * (ROWS - 1) / 2,)]
    con.execute("CREATE OR REPLACE ML_ENGINE e FROM tenfold USING factor = 3")
    assert con.execute(query).fetchall() == [(3 * ROWS * (ROWS - 1) / 2,)]


def test_a_stop_ends_it(con: Connection, folder: Path, tmp_path: Path) -> None:
    con.execute(
        "CREATE MODEL m FROM (SELECT a, y FROM few) PREDICT y "
        f"USING engine = 'tenfold', how = 'wait', mark = '{tmp_path}/mark'"
    )
    con.execute("SET executor = 'ray'")
    raised: list[BaseException] = []

    def ask() -> None:
        try:
            con.execute(f"COPY (SELECT m.y FROM read_parquet('{folder}/*.parquet') t JOIN m) TO '{tmp_path}/out'")
        except BaseException as error:
            raised.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    while not list(tmp_path.glob("mark-*")):
        time.sleep(0.02)
    con.interrupt()
    asking.join()
    assert [type(error) for error in raised] == [Cancelled]
    assert not [name for name in os.listdir(tmp_path) if not name.startswith("mark")]
    query = f"SELECT sum(m.y) FROM read_parquet('{folder}/*.parquet') t JOIN ten m"
    assert con.execute(query).fetchall() == [(10 * ROWS * (ROWS - 1) / 2,)]


def test_what_cannot_be_is_said(con: Connection) -> None:
    for executor, message in {
        "spark": "is no executor",
        "ray://x": "is no executor",
        "ray://127.0.0.1:9": 'no cluster answers at "ray://127.0.0.1:9"',
    }.items():
        with pytest.raises(StatementError, match=message):
            con.execute(f"SET executor = '{executor}'")
        with pytest.raises(StatementError, match=message):
            mindsql.connect(executor=executor)
    assert con.execute("SELECT y FROM ten WHERE a = 1").fetchall() == [(10,)]


def test_a_node_must_have_the_file_and_the_versions(tmp_path: Path) -> None:
    from sqlglot import exp, parse_one

    from mindsql.cluster.job import FILE
    from mindsql.planner.operators import Scan

    tree = parse_one(f'SELECT t.a AS "t.a" FROM read_parquet(\'{FILE}\') t', dialect="duckdb")
    assert isinstance(tree, exp.Select)
    job = Job(Scan(tree), ("t.a",), {}, {}, {}, (), None, Network(), None, libraries())
    found = worker.answer(job, Part(0, str(tmp_path / "none.parquet"), None, None, 5), lambda ref: {})
    assert found.error is not None and "none.parquet" in found.error[1]
    other = replace(job, libraries={**libraries(), "duckdb": "0.1"})
    found = worker.answer(other, Part(0, "x", None, None, 5), lambda ref: {})
    assert found.error is not None and "has duckdb" in found.error[1] and "and this process 0.1" in found.error[1]
