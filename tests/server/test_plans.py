"""The second fence: what `access` lets pass, because two readers of a text disagree, stops at DuckDB's own plan."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import mindsql
from mindsql.errors import AccessError
from mindsql.sandbox import Sandbox
from mindsql.server.access import enter
from mindsql.server.principal import Principal, Role

HIDDEN = "\u200b"  # DuckDB reads a space: a text that is not looked at twice hides the name before it


@pytest.fixture(params=[Role.READ, Role.PREDICT, Role.ADMIN])
def fenced(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[mindsql.Connection]:
    """A remote connection whose statements nobody has read before."""
    file = tmp_path / "shop.duckdb"
    with mindsql.connect(str(file)) as con:
        con.execute("CREATE TABLE t AS SELECT i % 9 AS x, i % 9 * 2 AS y FROM range(99) r(i)")
        con.execute("CREATE MODEL m FROM (SELECT * FROM t) PREDICT y USING estimator = 'Ridge'")
        con.execute("CREATE VIEW tokens AS SELECT * FROM mindsql._versions")
    with mindsql.connect(str(file), sandbox=Sandbox()) as con:
        enter(con, Principal("somebody", request.param))
        yield con


@pytest.mark.parametrize(
    "statement",
    [
        f"SELECT content FROM read_blob{HIDDEN}('shop.duckdb')",
        f"SELECT * FROM query{HIDDEN}('FROM mindsql._versions')",
        "SELECT * FROM mindsql._versions",
        "SELECT * FROM tokens",
        "SELECT count(*) FROM t WHERE EXISTS (FROM mindsql._models)",
        "EXPLAIN ANALYZE SELECT * FROM mindsql._models",
        "EXPLAIN (FORMAT json) SELECT * FROM mindsql._models",
        "WITH a AS (FROM mindsql._artifacts) SELECT name FROM a",
        "CREATE TEMP TABLE mine AS FROM mindsql._models",
        "INSERT INTO t SELECT 1, 1 FROM mindsql._versions",
        "SELECT a.id FROM t, mindsql._versions AS a",
        "SELECT * FROM (SELECT t.x FROM t JOIN m) AS q, (SELECT id FROM mindsql._versions) AS a",
        "PIVOT (FROM mindsql._models) ON name USING count(*) ORDER BY 1",
        "SUMMARIZE mindsql._models",
    ],
)
def test_what_the_plan_shows_is_refused(fenced: mindsql.Connection, statement: str) -> None:
    with pytest.raises(AccessError):
        fenced.execute(statement).fetchall()


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM t", "WITH a AS (DELETE FROM t RETURNING x) SELECT * FROM a", "CREATE TABLE u AS FROM t"],
)
def test_who_may_not_write_does_not(
    fenced: mindsql.Connection, statement: str, request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.params["fenced"] >= Role.WRITE:
        fenced.execute(statement).fetchall()
        return
    with pytest.raises(AccessError):
        fenced.execute(statement).fetchall()
    assert fenced.execute("SELECT count(*) FROM t").fetchone() == (99,)


@pytest.mark.parametrize(
    "statement",
    ["SELECT count(*) FROM t WHERE x > ?", "SHOW TABLES", "PIVOT t ON x USING count(*)", "SUMMARIZE t",
     "SELECT * FROM unnest([1, 2])", "SELECT name FROM information_schema.models", "SELECT 1; SELECT 2"],
)  # fmt: skip
def test_the_rest_passes(fenced: mindsql.Connection, statement: str) -> None:
    for _ in range(2):
        assert fenced.execute(statement, [1] if "?" in statement else None).fetchall()
