"""Owns the two sides of each comparison, each run in a process of its own: it prints seconds and peak memory as JSON.

python -m tests.benchmarks.sides SIDE CASE TABLE FOLDER
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.data import FEATURES

QUERY = "SELECT c2, avg(m.y) AS y FROM t JOIN m GROUP BY c2 ORDER BY c2"
ROW = {
    "n0": 0.5,
    "n1": 500.0,
    "n2": 5000,
    "n3": 500.0,
    "n4": 8.0,
    "n5": 10,
    "c0": "g1",
    "c1": "city 7",
    "c2": "low",
    "c3": "k3",
}


def timed(call: Callable[[], object], repeat: int = 1) -> float:
    """Seconds of one call, on average."""
    begin = time.perf_counter()
    for _ in range(repeat):
        call()
    return (time.perf_counter() - begin) / repeat


def join_hand(case: str, table: Path, folder: Path) -> float:
    """duckdb → pandas → pipeline.predict → duckdb."""
    import duckdb
    import joblib

    con = duckdb.connect(str(table), read_only=True)
    pipeline = joblib.load(folder / f"{case}.joblib")

    def work() -> object:
        frame = con.execute(f"SELECT {', '.join(FEATURES)} FROM t").df()
        frame["y"] = pipeline.predict(frame[FEATURES])
        return con.execute("SELECT c2, avg(y) AS y FROM frame GROUP BY c2 ORDER BY c2").fetchall()

    return timed(work)


def join_ours(case: str, table: Path, folder: Path) -> float:
    """The same pipeline, registered by its file; one statement."""
    con = _registered(case, table, folder)
    return timed(lambda: con.execute(QUERY).fetchall())


def join_native(case: str, table: Path, folder: Path) -> float:
    """The same estimator, trained by CREATE MODEL on the same rows."""
    import mindsql

    using = {
        "linear": "estimator = 'Ridge'",
        "forest": "estimator = 'RandomForestRegressor', n_estimators = 50, max_depth = 10, random_state = 0",
        "boosting": "estimator = 'HistGradientBoostingRegressor', max_iter = 100, random_state = 0",
    }[case]
    con = mindsql.connect()
    con.execute(f"ATTACH '{table}' AS d (READ_ONLY)")
    con.execute("USE d")
    con.execute(
        f"CREATE MODEL m FROM (SELECT {', '.join(FEATURES)}, y FROM t WHERE id < 20000) PREDICT y USING {using}"
    )
    con.execute("SELECT y FROM m WHERE n0 = 1").fetchall()
    return timed(lambda: con.execute(QUERY).fetchall())


def row_hand(case: str, table: Path, folder: Path) -> float:
    """`pipeline.predict` of one row."""
    import joblib
    import pandas as pd

    pipeline = joblib.load(folder / f"{case}.joblib")
    row = pd.DataFrame([ROW])
    pipeline.predict(row)
    return timed(lambda: pipeline.predict(row), 200)


def row_ours(case: str, table: Path, folder: Path) -> float:
    """The same row by WHERE."""
    con = _registered(case, table, folder)
    terms = " AND ".join(f"{name} = {value!r}" for name, value in ROW.items())
    text = f"SELECT y FROM m WHERE {terms}"
    con.execute(text).fetchall()
    return timed(lambda: con.execute(text).fetchall(), 200)


_SMALL = [f"SELECT {number} + 1, 'x' || {number}" for number in range(100)]
_LARGE = [
    "SELECT c1, avg(n0), max(n1), count(*) FROM t GROUP BY c1 ORDER BY c1",
    "SELECT count(*) FROM (SELECT c1, c3, sum(n1) s FROM t GROUP BY ALL) a JOIN t ON t.c1 = a.c1 AND t.n1 > a.s",
    "SELECT id FROM t ORDER BY n1 DESC, id LIMIT 10",
]


def plain_hand(case: str, table: Path, folder: Path) -> float:
    """Plain statements on raw duckdb."""
    import duckdb

    con = duckdb.connect(str(table), read_only=True)
    return _plain(con.execute, case)


def plain_ours(case: str, table: Path, folder: Path) -> float:
    """The same statements through us."""
    import mindsql

    return _plain(mindsql.connect(str(table), read_only=True).execute, case)


def _plain(execute: Callable[[str], object], case: str) -> float:
    statements, repeat = (_SMALL, 20) if case == "small" else (_LARGE, 3)

    def work() -> None:
        for text in statements:
            execute(text).fetchall()  # type: ignore[attr-defined]

    work()
    return timed(work, repeat)


def _registered(case: str, table: Path, folder: Path):  # type: ignore[no-untyped-def]
    import mindsql

    con = mindsql.connect()
    con.execute(f"ATTACH '{table}' AS d (READ_ONLY)")
    con.execute("USE d")
    con.execute(f"CREATE MODEL m PREDICT y USING path = '{folder / (case + '.joblib')}', trusted = true")
    con.execute("SELECT y FROM m WHERE n0 = 1 AND n1 = 1 AND n2 = 1 AND n3 = 1 AND n4 = 1 AND n5 = 1 "
                "AND c0 = 'g1' AND c1 = 'city 1' AND c2 = 'low' AND c3 = 'k1'").fetchall()  # fmt: skip
    return con


def main() -> None:
    """Run one side."""
    side, case, table, folder = sys.argv[1:]
    seconds = globals()[side](case, Path(table), Path(folder))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": seconds, "peak_mb": peak / 1024}))


if __name__ == "__main__":
    main()
