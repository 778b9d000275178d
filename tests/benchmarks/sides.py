"""Owns the sides of each comparison, each run in a process of its own: it prints seconds, rows and peak memory as JSON.

python -m tests.benchmarks.sides SIDE CASE TABLE FOLDER
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks.data import FEATURES, MODELS, create_model, pipeline

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


# A JOIN of the whole table, with an aggregate ---------------------------------------------------------------


def join_hand(case: str, table: Path, folder: Path) -> float:
    """duckdb → pandas → pipeline.predict → duckdb."""
    import duckdb
    import joblib

    con = duckdb.connect(str(table), read_only=True)
    fitted = joblib.load(folder / f"{case}.joblib")

    def work() -> object:
        frame = con.execute(f"SELECT {', '.join(FEATURES)} FROM t").df()
        frame["answer"] = fitted.predict(frame[FEATURES])
        return con.execute("SELECT c2, avg(answer) FROM frame GROUP BY c2 ORDER BY c2").fetchall()

    return timed(work)


def join_bare(case: str, table: Path, folder: Path) -> float:
    """Nothing but the estimator's predict, on a matrix that is ready."""
    import duckdb
    import joblib

    con = duckdb.connect(str(table), read_only=True)
    fitted = joblib.load(folder / f"{case}.joblib")
    matrix = fitted[:-1].transform(con.execute(f"SELECT {', '.join(FEATURES)} FROM t").df())
    return timed(lambda: fitted[-1].predict(matrix))


def join_path(case: str, table: Path, folder: Path) -> float:
    """One statement of ours, on the very pipeline of the hand-written side, registered by its file."""
    con = _open(table)
    target = MODELS[case][2]
    con.execute(
        f"CREATE MODEL m PREDICT {target} USING path = '{folder / (case + '.joblib')}', trusted = true"
    )
    return _join(con, target)


def join_ours(case: str, table: Path, folder: Path) -> float:
    """One statement of ours, on the same estimator trained by CREATE MODEL on the same rows."""
    return _join(_open(table, folder / f"{case}.duckdb"), MODELS[case][2])


def _join(con: Any, target: str) -> float:
    con.execute(f"SELECT m.{target} FROM t JOIN m LIMIT 1").fetchall()
    text = f"SELECT c2, avg(m.{target}) FROM t JOIN m GROUP BY c2 ORDER BY c2"
    return timed(lambda: con.execute(text).fetchall())


# One row ----------------------------------------------------------------------------------------------------


def row_hand(case: str, table: Path, folder: Path) -> float:
    """`pipeline.predict(DataFrame([row]))`, each time with other values."""
    import joblib
    import pandas as pd

    fitted = joblib.load(folder / f"{case}.joblib")
    rows = iter(range(10**9))
    work = lambda: fitted.predict(pd.DataFrame([{**ROW, "n2": next(rows)}]))  # noqa: E731
    work()
    return timed(work, 300)


def row_ours(case: str, table: Path, folder: Path) -> float:
    """The same by WHERE, each time with other constants."""
    con = _open(table, folder / f"{case}.duckdb")
    rows = iter(range(10**9))
    target = MODELS[case][2]

    def work() -> object:
        terms = " AND ".join(f"{name} = {value!r}" for name, value in {**ROW, "n2": next(rows)}.items())
        return con.execute(f"SELECT {target} FROM m WHERE {terms}").fetchall()

    work()
    return timed(work, 300)


def row_prepared(case: str, table: Path, folder: Path) -> float:
    """The same through parameters."""
    con = _open(table, folder / f"{case}.duckdb")
    rows = iter(range(10**9))
    terms = " AND ".join(f"{name} = ${name}" for name in ROW)
    text = f"SELECT {MODELS[case][2]} FROM m WHERE {terms}"
    work = lambda: con.execute(text, {**ROW, "n2": next(rows)}).fetchall()  # noqa: E731
    work()
    return timed(work, 300)


# Training ---------------------------------------------------------------------------------------------------


def train_hand(case: str, table: Path, folder: Path) -> float:
    """duckdb → pandas → a score on held-out rows → a fit on all rows."""
    import duckdb
    from sklearn.model_selection import train_test_split

    con = duckdb.connect(str(table), read_only=True)
    target = MODELS[case][2]

    def work() -> object:
        frame = con.execute(f"SELECT {', '.join(FEATURES)}, {target} FROM t").df()
        train, test = train_test_split(frame, test_size=0.2, random_state=0)
        score = pipeline(case).fit(train[FEATURES], train[target]).score(test[FEATURES], test[target])
        return pipeline(case).fit(frame[FEATURES], frame[target]), score

    return timed(work)


def train_ours(case: str, table: Path, folder: Path) -> float:
    """CREATE MODEL, which scores held-out rows and fits all rows."""
    con = _open(table)
    text = create_model(case, 10**12)
    return timed(lambda: con.execute(text))


# Plain statements -------------------------------------------------------------------------------------------

_SMALL = [f"SELECT {number} + 1, 'x' || {number}" for number in range(100)]
_LARGE = [
    "SELECT c1, avg(n0), max(n1), count(*) FROM t GROUP BY c1 ORDER BY c1",
    "SELECT count(*) FROM (SELECT c1, c3, sum(n1) s FROM t GROUP BY ALL) a JOIN t ON t.c1 = a.c1 AND t.n1 > a.s",
    "SELECT id FROM t ORDER BY n1 DESC, id LIMIT 10",
]


def plain_hand(case: str, table: Path, folder: Path) -> float:
    """Plain statements on raw duckdb."""
    import duckdb

    return _plain(duckdb.connect(str(table), read_only=True).execute, case)


def plain_ours(case: str, table: Path, folder: Path) -> float:
    """The same statements through us."""
    import mindsql

    return _plain(mindsql.connect(str(table), read_only=True).execute, case)


def _plain(execute: Callable[[str], Any], case: str) -> float:
    statements, repeat = (_SMALL, 40) if case == "small" else (_LARGE, 5)

    def work() -> None:
        for text in statements:
            execute(text).fetchall()

    work()
    return timed(work, repeat)


def _open(table: Path, models: Path | str = ":memory:") -> Any:
    import mindsql

    con = mindsql.connect(str(models))
    con.execute(f"ATTACH '{table}' AS d (READ_ONLY)")
    con.execute("USE d")
    return con


def main(sides: Mapping[str, Callable[[str, Path, Path], float]]) -> None:
    """Run the side that the command names."""
    side, case, table, folder = sys.argv[1:]
    seconds = sides[side](case, Path(table), Path(folder))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": seconds, "peak_mb": peak / 1024}))


if __name__ == "__main__":
    main(globals())
