"""Every type of DuckDB's through every path: what a model's query gives is what the table has, type and value."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest

import mindsql
from mindsql.engine import Summary
from mindsql.schema import Schema

from .runner import connected

VALUES = {
    "BIT": "'101'::BIT",
    "TUPLE(INTEGER, TUPLE(VARCHAR, DATE)[])": "row(1, [row('x', DATE '2020-01-01'), NULL])",
    "UHUGEINT": "340282366920938463463374607431768211455::UHUGEINT",
    "HUGEINT": "170141183460469231731687303715884105727::HUGEINT",
    "UBIGINT": "18446744073709551615::UBIGINT",
    "UTINYINT": "255::UTINYINT",
    "DECIMAL": "12345678901234567890123456789012.345::DECIMAL(38,3)",
    "FLOAT": "1.5::FLOAT",
    "NAN": "'nan'::DOUBLE",
    "BOOLEAN": "true",
    "VARCHAR": "'a' || chr(0) || 'b'",
    "ENUM": "'b'::ENUM('b', 'a')",
    "UUID": "'12345678-1234-5678-1234-567812345678'::UUID",
    "JSON": """'{"a": 1}'::JSON""",
    "BLOB": r"'\xAA\x00'::BLOB",
    "DATE": "DATE '2024-01-31'",
    "infinite DATE": "'infinity'::DATE",
    "TIME": "'12:00:00.123456'::TIME",
    "TIMETZ": "'12:00:00+05:30'::TIMETZ",
    "TIMESTAMP_S": "'2024-01-01 10:00:00'::TIMESTAMP_S",
    "TIMESTAMP_MS": "'2024-01-01 10:00:00.123'::TIMESTAMP_MS",
    "TIMESTAMP_NS": "'2024-01-01 10:00:00.123456789'::TIMESTAMP_NS",
    "infinite TIMESTAMP": "'infinity'::TIMESTAMP",
    "TIMESTAMPTZ": "'2024-01-01 10:00:00+02'::TIMESTAMPTZ",
    "INTERVAL": "INTERVAL '1 year 2 months 3 days 4 hours 5.123456 seconds'",
    "LIST": "[1, 2, NULL]",
    "LIST of BIT": "['101'::BIT]",
    "ARRAY": "[1, 2, 3]::INTEGER[3]",
    "STRUCT": "{'a': 1, 'b c': '101'::BIT, 'e': 'b'::ENUM('b', 'a')}",
    "MAP": "MAP {'b'::ENUM('b', 'a'): 1}",
    "UNION": "union_value(num := 2)",
    "NULL": "NULL",
}
QUERIES = (
    "SELECT typeof(s.v), s.v::VARCHAR, s.v FROM src AS s JOIN n",
    "SELECT typeof(s.v), s.v::VARCHAR, s.v FROM src AS s JOIN n WHERE n.z > 0",
    "SELECT typeof(s.v), s.v::VARCHAR, s.v FROM src AS s JOIN n ORDER BY n.z LIMIT 1",
    "SELECT typeof(max(s.v)), max(s.v)::VARCHAR, max(s.v) FROM src AS s JOIN n",
    "SELECT typeof(s.v), s.v::VARCHAR, s.v FROM src AS s JOIN n AS p ON p.a = s.a JOIN n AS q ON q.a = p.z",
)


@pytest.fixture(scope="module")
def connection() -> Iterator[mindsql.Connection]:
    with connected() as made:
        made.execute("CREATE MODEL n FROM (SELECT 1 AS a, 0.0::DOUBLE AS z) PREDICT z USING engine = 'linear'")
        yield made


@pytest.mark.parametrize("kind", VALUES)
def test_a_column_beside_a_model_is_what_it_was(connection: mindsql.Connection, kind: str) -> None:
    connection.execute(f"CREATE OR REPLACE TABLE src AS SELECT 1 AS a, {VALUES[kind]} AS v")
    expected = repr(connection.execute("SELECT typeof(v), v::VARCHAR, v FROM src").fetchone())
    for query in QUERIES:
        assert repr(connection.execute(query).fetchone()) == expected, query
    value = connection.execute("SELECT v FROM src").fetchone()
    assert value is not None
    assert repr(connection.execute("SELECT s.v, n.z FROM src AS s JOIN n").fetchone()) == repr((value[0], 1.0))


@pytest.mark.parametrize("kind", ["ENUM", "UUID", "BOOLEAN", "DATE", "TIMESTAMP_S", "BIT"])
def test_an_answer_has_the_targets_type(connection: mindsql.Connection, kind: str) -> None:
    """By WHERE and by JOIN; the engine gives back what it was given."""
    connection.register_engine("echo", Echo)
    connection.execute(f"CREATE OR REPLACE TABLE src AS SELECT {VALUES[kind]} AS v")
    connection.execute("CREATE OR REPLACE MODEL e FROM (SELECT v, v AS y FROM src) PREDICT y USING engine = 'echo'")
    expected = repr(connection.execute("SELECT typeof(v), v::VARCHAR, v FROM src").fetchone())
    for query in (
        "SELECT typeof(e.y), e.y::VARCHAR, e.y FROM src AS s JOIN e",
        f"SELECT typeof(y), y::VARCHAR, y FROM e WHERE v = {VALUES[kind]}",
        f"SELECT typeof(v), v::VARCHAR, v FROM e WHERE v = {VALUES[kind]}",
    ):
        assert repr(connection.execute(query).fetchone()) == expected, query


class Echo(mindsql.Engine):
    """Answers its one input."""

    def create(self, target: str, df: pd.DataFrame | None = None, args: dict[str, Any] | None = None) -> None:
        """Nothing is learnt."""

    def predict(self, df: pd.DataFrame, args: dict[str, Any] | None = None) -> pd.DataFrame:
        """The input by the target's name."""
        return df.rename(columns={"v": "y"})


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("MAP(VARCHAR, BIGINT)", {"x": 1}, {"x": 1}),
        ("MAP(VARCHAR, BIGINT)", [("x", 1)], {"x": 1}),
        ("MAP(BIGINT, VARCHAR[])", {1: ["a"]}, {1: ["a"]}),
        ("HUGEINT[]", [2**100, 1], [2**100, 1]),
        ("STRUCT(p HUGEINT)", {"p": 2**100}, {"p": 2**100}),
        ("UHUGEINT", 2**127, 2**127),
        ("INTERVAL", pd.Timedelta("1 day"), datetime.timedelta(days=1)),
        ("TIME", "10:00:00", datetime.time(10)),
    ],
)
def test_what_python_has_for_a_type(kind: str, value: Any, expected: Any) -> None:
    """An engine answers with Python's own values; Arrow would guess another type for them."""

    class Constant(mindsql.Engine):
        def create(self, target: str, df: Any = None, args: Any = None) -> None:
            self.model_storage.json_set("target", target)

        def summary(self) -> Summary:
            return Summary(Schema.of([("a", "BIGINT")]), Schema.of([(self.model_storage.json_get("target"), kind)]))

        def predict(self, df: Any, args: Any = None) -> Any:
            return pd.DataFrame({self.model_storage.json_get("target"): [value, *[None] * (len(df) - 1)]})

    with mindsql.connect() as con:
        con.register_engine("constant", Constant)
        rows = f"SELECT 1::BIGINT AS a, NULL::{kind} AS y"
        con.execute(f"CREATE MODEL m FROM ({rows}) PREDICT y USING engine = 'constant'")
        assert con.execute("SELECT y, typeof(y) FROM m WHERE a = 1").fetchall() == [(expected, kind)]
        found = con.execute("SELECT y, typeof(y) FROM range(2) AS t(a) JOIN m").fetchall()
        assert found == [(expected, kind), (None, kind)]
