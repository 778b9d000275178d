"""Owns the tests of what Python gives for a statement's parameters: values of every library, and tables."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import mindsql

VALUES: list[tuple[Any, Any]] = [
    (np.float32(1.5), 1.5),
    (np.int8(4), 4),
    (np.uint64(2**64 - 1), 2**64 - 1),
    (np.bool_(True), True),
    (np.datetime64("2024-01-02"), datetime.date(2024, 1, 2)),
    (np.datetime64("2024-01-02T03:04:05", "ns"), datetime.datetime(2024, 1, 2, 3, 4, 5)),
    (np.timedelta64(5, "ns"), datetime.timedelta(0)),
    (np.datetime64("NaT", "ns"), None),
    (pd.NaT, None),
    (pd.NA, None),
    (pd.Timedelta("1 day"), datetime.timedelta(days=1)),
    (np.array([1.5, 2.5]), [1.5, 2.5]),
    (np.array(["2024-01-02"], dtype="datetime64[ns]"), [datetime.datetime(2024, 1, 2)]),
    ([np.float32(1.5), pd.NA], [1.5, None]),
    (pd.Series([1, 2]), [1, 2]),
    (pd.Series([1, None], dtype="Int64"), [1, None]),
    (pd.Index(["a"]), ["a"]),
    (pl.Series([1, 2]), [1, 2]),
    (pa.array([1, None]), [1, None]),
    (pa.scalar("x"), "x"),
    ({3}, [3]),
]
TABLES = [
    pd.DataFrame({"a": [1, 2]}),
    pl.DataFrame({"a": [1, 2]}),
    pl.LazyFrame({"a": [1, 2]}),
    pa.table({"a": [1, 2]}),
    pa.record_batch({"a": [1, 2]}),
]


@pytest.fixture(scope="module")
def con() -> Any:
    con = mindsql.connect()
    con.execute(
        "CREATE MODEL m FROM (SELECT a, a * 2.0 AS y FROM range(100) r(a)) PREDICT y "
        "USING estimator = 'LinearRegression'"
    )
    yield con
    con.close()


@pytest.mark.parametrize(("value", "expected"), VALUES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("sql", ["SELECT $x", "SELECT $x FROM m WHERE a = 1"])
def test_a_value_of_any_library(con, sql: str, value: Any, expected: Any) -> None:
    assert con.execute(sql, {"x": value}).fetchone() == (expected,)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"{type(table).__module__}.{type(table).__name__}")
def test_a_table_stands_in_from(con, table: Any) -> None:
    sql = "SELECT d.a, round(y) FROM ? AS d JOIN m WHERE d.a > ?"
    assert con.execute(sql, [table, 1]).fetchall() == [(2, 4.0)]
    assert con.execute("SELECT a FROM $rows", {"rows": table}).fetchall() == [(1,), (2,)]
    with pytest.raises(mindsql.MindSQLError):  # it is gone with its statement
        con.execute('SELECT a FROM "$rows"')


def test_a_table_is_there_for_each_of_several_statements(con) -> None:
    text = "CREATE OR REPLACE TEMP TABLE kept AS FROM $rows; SELECT sum(d.a) FROM $rows AS d JOIN kept USING (a)"
    assert con.execute(text, {"rows": TABLES[0]}).fetchall() == [(3,)]


def test_other_rows_under_the_same_text(con) -> None:
    sql = "SELECT round(sum(y)) FROM $rows JOIN m"
    frames = [pd.DataFrame({"a": [1.0]}), pd.DataFrame({"b": [0], "a": [5]}), pd.DataFrame({"a": ["7"]})]
    assert [con.execute(sql, {"rows": frame}).fetchone() for frame in frames] == [(2.0,), (10.0,), (14.0,)]


@pytest.mark.parametrize(
    ("sql", "parameters", "message", "place"),
    [
        ("SELECT $x", {"x": TABLES[0]}, "the parameter $x is a table, and stands where a value does", 8),
        ("SELECT 1 WHERE 1 IN ?", [TABLES[0]], "the parameter ? is a table, and stands where a value does", 21),
        ("SELECT ?", 5, "parameters are a sequence for ? or a mapping for $name, not a value of type int", None),
        ("SELECT ?", "x", "parameters are a sequence for ? or a mapping for $name, not a value of type str", None),
        ("SELECT ?", TABLES[0], "parameters are a sequence for ?", None),
    ],
)
def test_what_is_no_parameter(con, sql: str, parameters: Any, message: str, place: int | None) -> None:
    with pytest.raises(mindsql.StatementError) as caught:
        con.execute(sql, parameters)
    assert message in caught.value.message
    assert caught.value.column == place


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"{type(table).__module__}.{type(table).__name__}")
def test_a_run_for_each_row_of_a_table(con, table: Any) -> None:
    con.execute("CREATE OR REPLACE TEMP TABLE t (a INT)")
    con.executemany("INSERT INTO t VALUES (?)", table)
    assert con.execute("FROM t").fetchall() == [(1,), (2,)]
    with pytest.raises(mindsql.StatementError, match="executemany takes a set of parameters for each run"):
        con.executemany("INSERT INTO t VALUES (?)", 5)
