"""What DuckDB asks of a source: columns, conditions, and rows that are filtered again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, ClassVar

import pyarrow as pa
import pytest

import mindsql
from mindsql.errors import SourceError, StatementError, UnknownNameError
from mindsql.source import AllOf, AnyOf, Comparison, Condition, IsNull, OneOf, Option, Rows, Source

TABLE = pa.table(
    {
        "i": pa.array([1, 2, 3, None], pa.int32()),
        "t": ["a", "b", None, "d"],
        "n": pa.array([Decimal("0.10"), None, Decimal("2.50"), Decimal("3.00")], pa.decimal128(9, 2)),
        "u": pa.array([0, 2**64 - 1, 7, None], pa.uint64()),
        "s": [{"x": 1}, {"x": 2}, None, {"x": 4}],
    }
)


class Recording(Source):
    """Four rows, whatever is asked; it remembers what was."""

    options = (Option("broken", "boolean", default=False), Option("count", "integer"), Option("token", secret=True))
    asked: ClassVar[list[tuple[list[str], list[Condition]]]] = []

    def tables(self) -> list[str]:
        return ["t"]

    def schema(self, table: tuple[str, ...]) -> pa.Schema:
        if table != ("t",):
            raise UnknownNameError.of("table", ".".join(table), self.tables())
        return TABLE.schema

    def scan(self, table: tuple[str, ...], columns: Sequence[str], where: Sequence[Condition]) -> Rows:
        self.asked.append((list(columns), list(where)))
        wanted = TABLE.select(list(columns))

        def batches() -> Iterator[pa.RecordBatch]:
            yield from wanted.to_batches()
            if self.parameters["broken"]:
                raise SourceError("the line is dead", hint="call again")

        return Rows(wanted.schema, batches())

    def describe(self, text: str) -> pa.Schema:
        return TABLE.schema

    def query(self, text: str) -> Rows:
        return self.scan(("t",), TABLE.column_names, ())


@pytest.fixture
def con() -> Iterator[mindsql.Connection]:
    connection = mindsql.connect()
    connection.register_source("recording", Recording)
    connection.execute("CREATE DATABASE r WITH ENGINE = 'recording'")
    Recording.asked = []
    yield connection
    connection.close()


@pytest.mark.parametrize(
    ("predicate", "conditions", "rows"),
    [
        ("i = 2", [Comparison("i", "=", 2)], [2]),
        ("i > 1 AND t = 'b'", [Comparison("i", ">", 1), Comparison("t", "=", "b")], [2]),
        ("i IN (1, 3, 7)", [OneOf("i", (1, 3, 7))], [1, 3]),
        ("i NOT IN (1, 3)", [], [2]),
        ("u = 0", [Comparison("u", "=", 0)], [1]),
        ("u > 7", [Comparison("u", ">", 7)], [2]),
        ("t IS NULL", [IsNull("t")], [3]),
        ("n >= 2.5", [Comparison("n", ">=", Decimal("2.50"))], [3, None]),
        ("i = 1 OR t = 'b' AND n IS NULL",
         [AnyOf((Comparison("i", "=", 1), AllOf((Comparison("t", "=", "b"), IsNull("n")))))], [1, 2]),
        ("i = 1 OR length(t) = 9", [], [1]),
        ("s.x = 2", [], [2]),
        ("i + 1 = 3", [Comparison("i", "=", 2)], [2]),
        ("false", None, []),
    ],
)  # fmt: skip
def test_conditions(
    con: mindsql.Connection, predicate: str, conditions: list[Condition] | None, rows: list[int | None]
) -> None:
    assert [row[0] for row in con.execute(f"SELECT i FROM r.t WHERE {predicate}").fetchall()] == rows
    assert [where for _, where in Recording.asked] == ([] if conditions is None else [conditions])


def test_only_the_columns_that_are_needed(con: mindsql.Connection) -> None:
    con.execute("WITH a AS (SELECT * FROM r.t) SELECT t FROM (FROM a) WHERE i = $1", [1]).fetchall()
    assert Recording.asked == [(["t", "i"], [Comparison("i", "=", 1)])]


@pytest.mark.parametrize(
    "text", ["SELECT i FROM r.t", "SELECT i FROM r (SELECT 1)", "SELECT sum(u.i) FROM r.t, r.t AS u"]
)
def test_an_error_keeps_its_words_its_code_and_its_hint(con: mindsql.Connection, text: str) -> None:
    con.execute("CREATE OR REPLACE DATABASE r WITH ENGINE = 'recording', PARAMETERS = {'broken': true}")
    for _ in range(2):
        with pytest.raises(SourceError, match=r"^the line is dead") as raised:
            con.execute(text).fetchall()
        assert raised.value.hint == "call again"
    assert con.execute("SELECT 1").fetchone() == (1,)


def test_parameters_are_checked_and_secrets_hidden(con: mindsql.Connection) -> None:
    con.execute("CREATE DATABASE s WITH ENGINE = 'recording', PARAMETERS = {'count': '12', 'token': 'hush'}")
    shown: Any = con.execute("SELECT connection_data FROM information_schema.databases WHERE name = 's'").fetchall()
    assert "hush" not in str(shown) and "12" in str(shown)
    with pytest.raises(UnknownNameError, match="colour"):
        con.execute("CREATE DATABASE q WITH ENGINE = 'recording', PARAMETERS = {'colour': 1}")
    with pytest.raises(StatementError, match="is no source"):
        con.register_source("x", type("Half", (Source,), {"tables": lambda self: []}))
    with pytest.raises(StatementError, match="is no source"):
        con.register_source("x", int)  # type: ignore[arg-type]  # that it is none is what is tested
