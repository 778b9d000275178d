"""A Ray cluster of two nodes on this machine, files, and models to ask on it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

import mindsql
from mindsql.connection import Connection
from mindsql.engine import Engine

MARKS = [
    pytest.mark.slow_server,
    pytest.mark.filterwarnings("ignore"),  # Ray's own
    pytest.mark.skipif(os.name != "posix", reason="a worker is killed by a signal of POSIX"),
]
ROWS = 200_000


class Tenfold(Engine):
    """Answers ten times `a`; `using` says what happens on the way, once or always."""

    def create(self, target: str, df: Any = None, args: Any = None) -> None:
        self.model_storage.json_set("using", args["using"])
        self.model_storage.json_set("target", target)

    options = (mindsql.Option("mark", "string"), mindsql.Option("how", "string"))
    engine_options = (mindsql.Option("factor", "integer", default=10),)

    def predict(self, df: Any, args: Any = None) -> Any:
        import pandas as pd

        using = self.model_storage.json_get("using")
        mark = Path(using.get("mark", "/nowhere"))
        how = using.get("how")
        if len(df) > 10 and how == "die once" and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), 9)
        if len(df) > 10 and how == "die":
            os.kill(os.getpid(), 9)
        if len(df) > 10 and how == "wait":
            mark.with_name(f"{mark.name}-{os.getpid()}").touch()
            while not mark.exists():
                time.sleep(0.02)
        if how == "fail" and (df["a"] > 199_990).any():
            raise ValueError("this one is too large")
        factor = self.engine_storage.get_connection_args().get("factor", 10)
        return pd.DataFrame({self.model_storage.json_get("target"): df["a"] * factor})


class Two:
    """A cluster of a head and a second node."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        self.second = self.cluster.add_node(num_cpus=1)
        ray.init(address=self.cluster.address, log_to_driver=False, configure_logging=False)


@pytest.fixture(scope="package")
def two() -> Iterator[Two]:
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    made = Two()
    yield made
    ray.shutdown()
    made.cluster.shutdown()


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("rows")
    with mindsql.connect() as con:
        for number in range(3):
            con.execute(
                f"COPY (SELECT i AS a, i % 7 AS g, 'k' || i % 50 AS k, i * 0.5 AS x, "
                f"DATE '2020-01-01' + i::INT AS d, (i * 1.25)::DECIMAL(12, 2) AS p, if(i % 3 = 0, NULL, i) AS n "
                f"FROM range({number * ROWS // 3}, {(number + 1) * ROWS // 3}) r(i)) "
                f"TO '{found}/{number}.parquet' (FORMAT parquet, ROW_GROUP_SIZE 20480)"
            )
    return found


@pytest.fixture
def con(two: Two, folder: Path) -> Iterator[Connection]:
    with mindsql.connect() as opened:
        opened.register_engine("tenfold", Tenfold)
        opened.execute("CREATE TABLE names AS SELECT 'k' || i AS k, 'name ' || i AS name FROM range(40) r(i)")
        opened.execute("CREATE TABLE few AS SELECT i AS a, i % 7 AS g, i * 2 + i % 7 AS y FROM range(500) r(i)")
        opened.execute("CREATE MODEL ten FROM (SELECT a, y FROM few) PREDICT y USING engine = 'tenfold'")
        opened.execute("CREATE MODEL line FROM (SELECT * FROM few) PREDICT y USING estimator = 'Ridge'")
        opened.execute("CREATE MODEL near FROM (SELECT * FROM few) PREDICT y USING estimator = 'KNeighborsRegressor'")
        opened.execute(
            "CREATE MODEL kind FROM (SELECT a, g, CASE WHEN a > 250 THEN 'high' ELSE 'low' END AS y FROM few) "
            "PREDICT y USING estimator = 'DecisionTreeClassifier'"
        )
        opened.execute("CREATE MACRO twice(v) AS v * 2")
        yield opened


def both(con: Connection, query: str) -> tuple[list[Any], list[Any]]:
    con.execute("SET executor = 'ray'")
    there = con.execute(query).fetchall()
    con.execute("RESET executor")
    return there, con.execute(query).fetchall()


def same(left: list[Any], right: list[Any]) -> bool:
    def plain(rows: list[Any]) -> list[Any]:
        return sorted(
            (tuple(float(f"{v:.9g}") if isinstance(v, float) else v for v in row) for row in rows), key=repr
        )

    return plain(left) == plain(right)
