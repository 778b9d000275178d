"""One-row questions at the same time are gathered into few calls, and answered as each would be alone."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pandas as pd
import pytest

import mindsql
from mindsql.errors import EngineError, MindSQLError
from mindsql.server.options import ServeOptions
from mindsql.server.service import Service
from tests.server.conftest import Served
from tests.server.loads import get, many, post

SIZES: list[int] = []
GO = threading.Event()


class Doubling(mindsql.Engine):
    """Answers twice the input, once it may; -1 is a fault of its own row, -2 one of a row that stands alone, too."""

    capabilities = mindsql.Capabilities(thread_safe=False)

    def create(self, target: str, df: Any = None, args: Any = None) -> None:
        self.model_storage.json_set("of", "x")

    def predict(self, df: pd.DataFrame, args: Any = None) -> pd.DataFrame:
        SIZES.append(len(df))
        GO.wait(30)
        if (df["x"] == -1).any():
            raise ValueError("no -1")
        return (df["x"] * 2.0).to_frame(args["target"])


class Ranking(Doubling):
    """Its answers depend on the other rows of a call."""

    capabilities = mindsql.Capabilities(row_wise=False)

    def predict(self, df: pd.DataFrame, args: Any = None) -> pd.DataFrame:
        GO.wait(30)
        return df["x"].rank().astype(float).to_frame(args["target"])


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    service = Service(":memory:", ServeOptions())
    for engine in (Doubling, Ranking):
        name = engine.__name__.casefold()
        service.root.register_engine(name, engine)
        GO.set()
        service.root.execute(
            "CREATE OR REPLACE TABLE t AS SELECT i AS x, i * 2.0::DOUBLE AS y FROM range(5) r(i)"
        )
        service.root.execute(f"CREATE MODEL {name} FROM (SELECT * FROM t) PREDICT y USING engine = '{name}'")
    yield service
    service.close()


def answers(service: Service, model: str, rows: list[tuple[Any, ...]]) -> list[Any]:
    """What comes of rows that are all asked about while the first is being answered."""
    version = service.root.snapshot().model("mindsql", model)
    assert version is not None

    async def ask() -> list[Any]:
        questions = [asyncio.ensure_future(service.gatherer.ask(version.version(), row)) for row in rows]
        await asyncio.sleep(0.05)
        GO.set()
        return await asyncio.gather(*questions, return_exceptions=True)

    SIZES.clear()
    GO.clear()
    return asyncio.run(ask())


def test_who_comes_meanwhile_is_taken_together(service: Service) -> None:
    rows: list[tuple[Any, ...]] = [(number,) for number in range(40)]
    assert answers(service, "doubling", rows) == [number * 2.0 for number in range(40)]
    assert SIZES == [1, 39]


def test_values_of_different_types_do_not_share_a_column(service: Service) -> None:
    assert answers(service, "doubling", [(1,), (2,), (2.5,), (3,)]) == [2.0, 4.0, 5.0, 6.0]
    assert sorted(SIZES) == [1, 1, 2]


def test_a_fault_is_that_of_its_row(service: Service) -> None:
    found = answers(service, "doubling", [(1,), (2,), (-1,), (4,)])
    assert [found[0], found[1], found[3]] == [2.0, 4.0, 8.0]
    assert isinstance(found[2], EngineError) and "no -1" in found[2].message


def test_a_model_that_looks_at_all_rows_gets_each_alone(service: Service) -> None:
    assert answers(service, "ranking", [(1,), (2,), (3,)]) == [1.0, 1.0, 1.0]


def test_nothing_is_kept_of_questions(service: Service) -> None:
    answers(service, "doubling", [(1,), (2,)])
    assert not service.gatherer._lines and not service.sessions


def test_who_goes_away_takes_nobody_along(service: Service) -> None:
    version = service.root.snapshot().model("mindsql", "doubling")
    assert version is not None

    async def ask() -> Any:
        first, gone, stays = (
            asyncio.ensure_future(service.gatherer.ask(version.version(), (number,))) for number in range(3)
        )
        await asyncio.sleep(0.02)
        gone.cancel()
        GO.set()
        return await first, await stays

    GO.clear()
    assert asyncio.run(ask()) == (0.0, 4.0)


def test_a_time_limit_holds_for_calls_too() -> None:
    service = Service(":memory:", ServeOptions(seconds=0.3))
    try:
        service.root.register_engine("doubling", Doubling)
        GO.set()
        service.root.execute("CREATE TABLE t AS SELECT 1 AS x, 2.0::DOUBLE AS y")
        service.root.execute(
            "CREATE MODEL doubling FROM (SELECT * FROM t) PREDICT y USING engine = 'doubling'"
        )
        version = service.root.snapshot().model("mindsql", "doubling")
        assert version is not None
        GO.clear()
        with pytest.raises(MindSQLError) as raised:
            asyncio.run(service.gatherer.ask(version.version(), (1,)))
        assert raised.value.code == "TIME_LIMIT"
    finally:
        GO.set()
        service.close()


# Over HTTP ------------------------------------------------------------------------------------------------------


def test_a_crowd_gets_the_answers_of_sql(served: Served) -> None:
    rows = [{"sqft": 300 + 7 * i % 900, "place": ("good", "poor", "great")[i % 3]} for i in range(150)]
    ways = [
        [get(served.url, f"/models/rent?{urlencode(row)}") for row in rows],
        [post(served.url, "/models/rent", row) for row in rows],
        [post(served.url, "/models/rent", [row]) for row in rows],
    ]
    wanted = [
        [rent]
        for row in rows
        for (rent,) in served.rows("SELECT rent FROM rent WHERE sqft = $sqft AND place = $place", row)
    ]
    for messages in ways:
        for connections in (1, 32):
            found = many(served.url, messages, connections, keep=True)
            assert found.statuses == {200: len(rows)}
            assert [json.loads(found.bodies[number]) for number in range(len(rows))] == wanted


ODD = [
    "400",
    "0400",
    "-5",
    "400.0",
    "4e2",
    " 400",
    "+400",
    "",
    "NaN",
    "inf",
    "0x10",
    "1_0",
    "9" * 25,
    "x",
    "true",
    "٣",
]


@pytest.mark.parametrize("value", ODD)
def test_the_short_way_reads_values_as_the_long_way(served: Served, value: str) -> None:
    query = urlencode({"sqft": value, "place": "good"})
    short, long = (served.request("GET", f"/models/rent?{query}{more}") for more in ("", "&_format=list"))
    assert (short.status_code, short.json()) == (long.status_code, long.json())


@pytest.mark.parametrize(
    "row",
    [*({"sqft": value, "place": "good"} for value in [1, 1.5, "1", "", None, True, [1], 10**30, -0.0, "1e5"])]
    + [{"sqft": 1, "place": value} for value in ["nowhere", "", None, 1, False]]
    + [{"sqft": 1}, {}, {"sqft": 1, "place": "good", "more": 2}, {"SQFT": 1, "place": "good"}, {"data": []}],
)
def test_the_short_way_reads_bodies_as_the_long_way(served: Served, row: Any) -> None:
    short, long = (served.request("POST", f"/models/rent{more}", json=row) for more in ("", "?_format=list"))
    assert (short.status_code, short.json()) == (long.status_code, long.json())
