"""Groups that are made in two steps, in the parts and here: the same rows, names and types as in one."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from mindsql.cluster.distribution import Distribution
from mindsql.connection import Connection
from tests.cluster.conftest import MARKS, same

pytestmark = MARKS

FILES = "read_parquet('{f}/*.parquet') t JOIN {m} m"
IN_TWO_STEPS = f"""
SELECT t.g, avg(m.y), count(*) FROM {FILES} GROUP BY ALL
SELECT count(*), sum(m.y), max(t.a), avg(n), count(n), bool_or(g > 9), sum(p), avg(p), min(k) FROM {FILES}
SELECT count(*), sum(m.y), avg(n), count(n), bool_and(g > 0), sum(p), min(k), max(d) FROM {FILES} WHERE m.y < -9
SELECT t.g % 3, avg(m.y) y2, count_if(m.y > 9), COUNT( * ) FILTER (m.y > 3) FROM {FILES} GROUP BY t.g % 3 HAVING y2 > 1
SELECT g, sum(m.y) AS s, s + 1, count(DISTINCT k), sum(DISTINCT n % 4) FROM {FILES} GROUP BY 1
WITH c AS (SELECT t.k, m.y FROM {FILES} WHERE m.y > 5) SELECT k, sum(y) FROM c WHERE y < 9999 GROUP BY k
WITH c(u, v) AS MATERIALIZED (SELECT k, m.y FROM {FILES}) SELECT upper(q.u) AS w, max(v) FROM c q GROUP BY w
SELECT month(d) AS w, g, sum(m.y) FROM {FILES} GROUP BY ROLLUP (w, g)
SELECT month(d), g, sum(m.y) FROM {FILES} WHERE m.y < -9 GROUP BY GROUPING SETS ((month(d)), (g), ())
SELECT DISTINCT g, m.y > 700 AS large FROM {FILES}
SELECT DISTINCT ON (g) g, count(*) AS c FROM {FILES} WHERE m.y > 3 GROUP BY g, g % 2 ORDER BY g, c
SELECT g, sum(x) / count(*), -sum(m.y) * 2 - 3, NOT bool_or(m.y > 3), avg(g) ^ 2, avg(m.y)::INT FROM {FILES} GROUP BY g
SELECT 1, sum(m.y) FROM {FILES} WHERE m.y < -9 GROUP BY ALL
SELECT CASE WHEN m.y > 500 THEN 'hi' ELSE 'lo' END AS band, min(m.y), count(*) FROM {FILES} GROUP BY band
SELECT max(k::ENUM('k1', 'k0')) AS e, min((g, k)) AS pair, max({{'b c': [d]}}) FROM {FILES} WHERE k < 'k10' AND m.y > 0
SELECT k::ENUM('k1', 'k0') AS e, (g, k) AS pair, sum(m.y) FROM {FILES} WHERE k < 'k10' GROUP BY ALL ORDER BY ALL
SELECT g AS a, sum(a), max(m.y) FROM {FILES} GROUP BY ALL ORDER BY 1 LIMIT 3 OFFSET 1
SELECT count(*) FROM (SELECT g, sum(m.y) AS s FROM {FILES} GROUP BY g) WHERE s > 100
SELECT f.y, q.c FROM (SELECT g, count(m.y) AS c FROM {FILES} GROUP BY g) q JOIN few f ON f.a = q.g
SELECT g, count(m.y) FROM {FILES} GROUP BY g UNION ALL SELECT 1, 2
SELECT sum(m.y) FILTER (WHERE k = 'avg(x)') AS s, sum(m.y) AS "avg(x)", max(k) FROM {FILES} WHERE k != 'now()'
SELECT d - DATE '2020-01-01' AS w, count(*) FROM {FILES} WHERE m.y > 5 GROUP BY d - DATE '2020-01-01' ORDER BY w LIMIT 2
SELECT sum(m.y) > $low AS s, count(*) FROM {FILES} WHERE g < $high GROUP BY g % $high
"""
IN_ONE = f"""
SELECT g, median(m.y) FROM {FILES} GROUP BY g
SELECT g, list(a ORDER BY a) FROM {FILES} WHERE a < 40 AND m.y > 0 GROUP BY g
SELECT min(m.y, 3), string_agg(k, ',' ORDER BY a) FROM {FILES} WHERE a < 40
SELECT g, sum(sum(m.y)) OVER () FROM {FILES} GROUP BY g
SELECT a % 3 AS z, sum(z), max(m.y) FROM {FILES} GROUP BY ALL
SELECT sum(m.y) + (SELECT max(y) FROM few) AS z FROM {FILES}
SELECT grouping(g) AS h, g, sum(m.y) FROM {FILES} GROUP BY ROLLUP (g)
SELECT avg(d), max(m.y) FROM {FILES} WHERE a < 900
SELECT twice(g) AS w, sum(m.y) FROM {FILES} GROUP BY w
SELECT x.g, sum(x.y) FROM (SELECT t.g, m.y FROM {FILES}) x JOIN few USING (g) WHERE few.a < 9 GROUP BY ALL
"""


def test_groups_are_those_of_here(con: Connection, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Distribution, "_pays", lambda self, files: True)
    parameters = {"low": 5.5, "high": 4}
    models = itertools.cycle(("ten", "line"))  # asked, and computed by DuckDB
    for texts, steps in ((IN_TWO_STEPS, 2), (IN_ONE, 1)):
        for text, model in zip(texts.strip().splitlines(), models, strict=False):
            query = text.replace("{f}", str(folder)).replace("{m}", model).replace("{{", "{").replace("}}", "}")
            given = parameters if "$" in query else None
            con.execute("SET executor = 'ray'")
            shown = str(con.execute(f"EXPLAIN {query}", given).fetchall())
            assert ("= Aggregate" in shown) == (steps == 2), (query, shown)
            there = con.execute(query, given)
            rows, columns = there.fetchall(), there.description
            con.execute("RESET executor")
            here = con.execute(query, given)
            assert columns == here.description, query
            expected = here.fetchall()
            assert same(rows, expected), (query, rows[:3], expected[:3])


def test_few_rows_of_a_model_as_sql_stay_here(con: Connection, folder: Path) -> None:
    con.execute("SET executor = 'ray'")
    query = f"EXPLAIN SELECT g, sum(m.y) FROM read_parquet('{folder}/*.parquet') t JOIN line m GROUP BY g"
    shown = str(con.execute(query).fetchall())
    assert "here: DuckDB answers it alone" in shown and "Aggregate" not in shown


def test_groups_are_written_here(con: Connection, folder: Path, tmp_path: Path) -> None:
    con.execute("SET executor = 'ray'")
    query = FILES.replace("{f}", str(folder)).replace("{m}", "ten")
    con.execute(f"CREATE TABLE made AS SELECT g, count(*) AS c, sum(m.y) AS s FROM {query} GROUP BY g")
    con.execute(f"COPY (SELECT g, count(*) AS c, sum(m.y) AS s FROM {query} GROUP BY g) TO '{tmp_path}/made.parquet'")
    made = con.execute("SELECT g, c, round(s, 3) FROM made ORDER BY g").fetchall()
    assert made == con.execute(f"SELECT g, c, round(s, 3) FROM '{tmp_path}/made.parquet' ORDER BY g").fetchall()
    assert sum(row[1] for row in made) == 200_000
