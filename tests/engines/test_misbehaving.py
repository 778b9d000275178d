"""An engine may raise and return anything: its user gets an error that names it, and the session goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest

import mindsql
from mindsql.errors import EngineContractError, EngineError


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


RAISED: list[BaseException] = [
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    Mute(),
    ValueError("a lone \ud800 surrogate"),
    RecursionError("deep"),
    MemoryError(),
    StopIteration(),
]
RETURNED: dict[str, Any] = {
    "a number too large": lambda n: pd.DataFrame({"y": [2**70] * n}, dtype=object),
    "two columns of one name": lambda n: pd.DataFrame([[1.0, 2.0]] * n, columns=["y", "y"]),
    "objects": lambda n: pd.DataFrame({"y": [object()] * n}),
    "nothing": lambda n: None,
    "lists": lambda n: pd.DataFrame({"y": [[1]] * n}),
}


class Misbehaving(mindsql.Engine):
    """Does what its option says when it is asked."""

    options = (mindsql.Option("does", "integer"), mindsql.Option("gives", "string"))

    def create(self, target: str, df: pd.DataFrame | None = None, args: Any = None) -> None:
        self.model_storage.json_set("using", dict(args["using"]))

    def predict(self, df: pd.DataFrame, args: Any = None) -> pd.DataFrame:
        using = self.model_storage.json_get("using")
        if using.get("does") is not None and "trial" not in using:
            raise RAISED[using["does"]]
        found: pd.DataFrame = RETURNED[using["gives"]](len(df)) if using.get("gives") else None
        return found

    def summary(self) -> Any:
        from mindsql.engine import Summary
        from mindsql.schema import Schema

        return Summary(Schema.of([("a", "INTEGER")]), Schema.of([("y", "DOUBLE")]))


@pytest.fixture
def connection() -> Iterator[mindsql.Connection]:
    with mindsql.connect() as found:
        found.register_engine("misbehaving", Misbehaving)
        yield found


@pytest.mark.parametrize("number", range(len(RAISED)))
def test_whatever_an_engine_raises(connection: mindsql.Connection, number: int) -> None:
    connection.execute(
        "CREATE MODEL m FROM (SELECT 1 AS a, 2.0 AS y) PREDICT y"
        f" USING engine = 'misbehaving', does = {number}"
    )
    for text in ("SELECT y FROM m WHERE a = 1", "SELECT m.y FROM (SELECT 1 AS a) AS t JOIN m"):
        with pytest.raises(EngineError) as caught:
            connection.execute(text).fetchall()
        assert type(RAISED[number]).__name__ in caught.value.message
        caught.value.message.encode()
    assert connection.execute("SELECT 42").fetchall() == [(42,)]


@pytest.mark.parametrize("gives", RETURNED)
def test_whatever_an_engine_returns(connection: mindsql.Connection, gives: str) -> None:
    connection.execute(
        "CREATE MODEL m FROM (SELECT 1 AS a, 2.0 AS y) PREDICT y"
        f" USING engine = 'misbehaving', gives = '{gives}'"
    )
    for text in ("SELECT y FROM m WHERE a = 1", "SELECT m.y FROM (SELECT 1 AS a) AS t JOIN m"):
        with pytest.raises(EngineContractError):
            connection.execute(text).fetchall()
    assert connection.execute("SELECT 42").fetchall() == [(42,)]
