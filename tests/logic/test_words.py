"""A statement with a model in it answers what DuckDB answers: each statement of `duckdb.sql` is asked plainly, and with
a common table expression in front that asks a model."""

from __future__ import annotations

from pathlib import Path

import pytest

import mindsql
from mindsql_grammar import split

STATEMENTS = [piece.text for piece in split((Path(__file__).parent / "duckdb.sql").read_text(encoding="utf-8"))]
SETUP = """
CREATE TABLE t AS SELECT i AS a, i % 3 AS b, 's' || i AS s, DATE '2024-01-01' + i::INT AS d,
  CASE WHEN i % 4 = 0 THEN NULL ELSE i * 1.5 END AS x,
  [i, i + 1] AS l, {'k': i, 'v': 's' || i} AS st FROM range(10) r(i);
CREATE TABLE u AS SELECT i AS a, i * 10 AS c FROM range(0, 20, 2) r(i);
CREATE MODEL mindsql_words FROM (SELECT a, a * 2.0 AS y FROM t) PREDICT y USING estimator = 'LinearRegression'
"""


@pytest.fixture(scope="module")
def connection() -> mindsql.Connection:
    found = mindsql.connect()
    for piece in split(SETUP):
        found.execute(piece.text)
    return found


def with_a_model(text: str) -> str:
    """The statement with an expression in front that asks a model."""
    front = "asked AS (SELECT t.a, m.y FROM t JOIN mindsql_words AS m)"
    words = text.split(None, 2)
    if words[0].upper() == "WITH":
        recursive = words[1].upper() == "RECURSIVE"
        rest = text.split(None, 2)[2] if recursive else text.split(None, 1)[1]
        return f"WITH {'RECURSIVE ' if recursive else ''}{front}, {rest}"
    return f"WITH {front} {text}"


def asked(connection: mindsql.Connection, text: str) -> tuple[list[str], list[str], list[str]]:
    result = connection.execute(text)
    columns = [column[0] for column in result.description]
    types = [str(column[1]) for column in result.description]
    return columns, types, sorted(map(repr, result.fetchall()))


@pytest.mark.parametrize("text", STATEMENTS)
def test_a_model_in_front_changes_nothing(connection: mindsql.Connection, text: str) -> None:
    assert asked(connection, with_a_model(text)) == asked(connection, text)
