"""Owns the sides for other databases: a JOIN over a server's table, the bare read of its columns, and by hand.

The servers are the suite's own. Times are CPU seconds of the client, which a busy machine changes least.

python -m tests.benchmarks --only sources
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks.report import ratios, run, show

_TABLE = """SELECT i AS id, i % 997 / 7.0::DOUBLE AS a, (i * 7) % 1013 AS b, i % 2 = 0 AS c, (i * 13) % 99991 AS d,
    ['red', 'green', 'blue'][1 + i % 3] AS e, (i % 5000)::DECIMAL(9,2) / 4 AS f,
    DATE '2020-01-01' + (i % 1500)::INT AS g FROM range({rows}) r(i)"""
_JOIN = "SELECT t.c, avg(m.y) FROM src.big AS t JOIN m GROUP BY t.c ORDER BY 1"
_FILTER = (
    "SELECT count(*), max(id), avg(a), max(b), bool_or(c), max(d), max(e), max(f), max(g) FROM src.big WHERE d < 1000"
)


def sources(table: Path, folder: Path, rows: int, runs: int) -> None:
    """JOIN with a linear model and GROUP BY, against the bare read and by hand; a filter; a second statement."""
    from tests.sources import servers

    for engine in ("postgres", "mariadb"):
        with contextlib.ExitStack() as stack:
            try:
                server = stack.enter_context(getattr(servers, engine)())
            except servers.NoServer as error:
                print(f"{engine}: not measured, {error}", flush=True)
                continue
            given = folder / f"{engine}.json"
            given.write_text(json.dumps({"engine": engine, "parameters": server.parameters}))
            filling = multiprocessing.get_context("spawn").Process(target=_fill, args=(given, rows))
            filling.start()
            filling.join()
            sides = ("join", "bare", "hand", "filter", "whole")
            measured = run(sides, engine, given, folder, runs, module="tests.benchmarks.sources")
            found = dict(zip(sides, measured, strict=True))
            note = f"{statistics.median(side.seconds for side in found['join']):.2f} s CPU"
            show(f"{engine}: JOIN + GROUP BY / bare read, CPU", ratios(found["join"], found["bare"]), 1.25, note)
            show(f"{engine}: JOIN + GROUP BY / by hand, CPU", ratios(found["join"], found["hand"]), 0.25)
            note = f"{found['join'][0].peak_mb:.0f} MB, {found['hand'][0].peak_mb:.0f} MB"
            show(f"{engine}: peak memory / by hand", ratios(found["join"], found["hand"], "peak_mb"), 0.3, note)
            show(f"{engine}: a filter that keeps 1 % / all rows, CPU", ratios(found["filter"], found["whole"]), 0.05)


def _fill(given: Path, rows: int) -> None:
    """The table in the server, and the model in a file: it is trained once, in a process of its own."""
    with _connected(given) as con:
        con.execute(f"CREATE OR REPLACE TABLE src.big AS {_TABLE.format(rows=rows)}")
        con.execute(f"CREATE TABLE few AS {_TABLE.format(rows=2000)}")
        con.execute(
            "CREATE MODEL m PREDICT y FROM (SELECT a, b, d, a * 2 + b - d / 9 AS y FROM few) "
            "USING estimator = 'LinearRegression'"
        )


@contextlib.contextmanager
def _connected(given: Path) -> Iterator[Any]:
    import mindsql

    server = json.loads(given.read_text())
    with mindsql.connect(given.with_suffix(".duckdb")) as con:
        if not any(source.name == "src" for source in con.snapshot().sources):
            parameters = ", ".join(f"'{key}': '{value}'" for key, value in server["parameters"].items())
            con.execute(f"CREATE DATABASE src WITH ENGINE = '{server['engine']}', PARAMETERS = {{{parameters}}}")
        yield con


def _ours(given: Path, sql: str) -> float:
    with _connected(given) as con:
        con.execute("SELECT count(*) FROM src.big WHERE id < 0").fetchall()  # a second statement pays no connection
        begin = time.process_time()
        con.execute(sql).fetchall()
        return time.process_time() - begin


def _bare(given: Path) -> float:
    """The columns by the driver alone, read and dropped."""
    with _connected(given) as con:
        source = con._session.source("src")._source
        begin = time.process_time()
        for batch in source.scan(("big",), ["a", "b", "c", "d"], ()).batches:
            del batch
        return time.process_time() - begin


def _hand(given: Path) -> float:
    """pandas, SQLAlchemy and scikit-learn; PostgreSQL by psycopg, of the extra `bench`."""
    import pandas as pd
    import sqlalchemy
    from sklearn.linear_model import LinearRegression

    server = json.loads(given.read_text())
    words = server["parameters"]
    place = f"{words['user']}:{words['password']}@{words['host']}:{words['port']}/{words['database']}"
    driver = "postgresql+psycopg" if server["engine"] == "postgres" else "mysql+pymysql"
    connection = sqlalchemy.create_engine(f"{driver}://{place}")
    few = pd.read_sql("SELECT a, b, c, d FROM big WHERE id < 2000", connection).astype(float)
    model = LinearRegression().fit(few[["a", "b", "d"]], few["a"] * 2 + few["b"] - few["d"] / 9)
    begin = time.process_time()
    frame = pd.read_sql("SELECT a, b, c, d FROM big", connection)
    frame["y"] = model.predict(frame[["a", "b", "d"]])
    frame.groupby("c")["y"].mean()
    return time.process_time() - begin


def main() -> None:
    """Run one side: its name, the case and the file of the server's parameters."""
    name, given = sys.argv[1], Path(sys.argv[3])
    seconds = {
        "join": lambda: _ours(given, _JOIN),
        "bare": lambda: _bare(given),
        "hand": lambda: _hand(given),
        "filter": lambda: _ours(given, _FILTER),
        "whole": lambda: _ours(given, _FILTER.partition(" WHERE")[0]),
    }[name]()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mb": peak}))


if __name__ == "__main__":
    main()
