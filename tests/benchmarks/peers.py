"""Owns the comparison with other programs that score rows: each in an environment of its own, made on first use."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from tests.benchmarks.data import FEATURES, FIT_ROWS, MODELS, pipeline
from tests.benchmarks.report import Side, ratios, run, show
from tests.benchmarks.sides import ROW, main, timed

CASES = ("linear", "forest", "boosting")
BATCH_ROWS = 10_000
# Its last release; it imports with newer libraries, and fails on the first column of text.
_DASK_SQL = [
    *("dask-sql==2024.5.0", "dask==2024.5.0", "numpy<2"),
    *("pandas<2.3", "pyarrow<17", "scikit-learn<1.6"),
]
_HERE = [sys.executable, "-m", "tests.benchmarks.peers"]


def python(peer: str) -> str:
    """The Python that has the peer; the first call on a machine installs it."""
    from tests.engines.servers import environment

    try:
        return environment.python() if peer == "mlflow" else _installed(peer, _DASK_SQL)
    except subprocess.CalledProcessError as error:
        why = (error.stderr or b"").decode(errors="replace").strip() or str(error)
        raise SystemExit(f"The peer {peer} cannot be installed here: {why.splitlines()[-1]}") from None


def _installed(peer: str, requirements: Sequence[str]) -> str:
    key = hashlib.sha256(f"{sys.version}\n{requirements}".encode()).hexdigest()[:12]
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base) / "mindsql-tests" / f"{peer}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    found, done = folder / "env" / "bin" / "python", folder / "installed"
    create = [sys.executable, "-m", "venv", "--clear", str(folder / "env")]
    install = [str(found), "-m", "pip", "install", "-q", "--no-input", *requirements]
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            for command in (create, install):
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            done.write_text(str(found))
        return done.read_text()


def mlflow(table: Path, folder: Path, rows: int, runs: int) -> None:
    """`mlflow models serve` on loopback with the hand-written pipeline, and a plain client of it."""
    from tests.engines.servers import processes

    there = python("mlflow")
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    # On busy cores OpenMP's threads hinder each other in this server: boosting took nine times as long.
    env = {"OMP_NUM_THREADS": "1", "PATH": f"{Path(there).parent}{os.pathsep}{os.environ['PATH']}"}
    run(["save_parquet"], "", table, folder, 1, _HERE)
    for case in CASES:
        run(["save_mlflow"], case, table, folder, 1, [there, *_HERE[1:]])
        port = processes.free_port()
        (folder / "mlflow.port").write_text(str(port))
        command = [
            *(there, "-m", "mlflow", "models", "serve", "-m", str(folder / f"{case}.mlflow")),
            *("--env-manager", "local", "-h", "127.0.0.1", "-p", str(port), "-w", "1"),
        ]
        with processes.process(command, f"http://127.0.0.1:{port}/ping", folder / "mlflow.log", env):
            ours, peer = run(("join_ours", "join_mlflow"), case, table, folder, runs, _HERE)
            show(f"join {case}: time / mlflow server", ratios(ours, peer), None, _times(ours, peer, "s"))
            ours, peer = run(("row_ours", "row_mlflow"), case, table, folder, runs, _HERE)
            show(f"one row {case}: time / mlflow server", ratios(ours, peer), None, _times(ours, peer, "ms"))


def dask_sql(table: Path, folder: Path, rows: int, runs: int) -> None:
    """PREDICT of dask-sql with the hand-written pipeline, over the same rows as Parquet."""
    there = [python("dask-sql"), *_HERE[1:]]
    run(["save_parquet"], "", table, folder, 1, _HERE)
    for case in CASES:
        run(["save_joblib"], case, table, folder, 1, there)
        ours, peer = run(("join_ours", "join_dask_sql"), case, table, folder, runs, there)
        show(f"join {case}: time / dask-sql", ratios(ours, peer), None, _times(ours, peer, "s"))
        note = f"{ours[0].peak_mb:.0f} MB, {peer[0].peak_mb:.0f} MB"
        show(f"join {case}: peak memory / dask-sql", ratios(ours, peer, "peak_mb"), None, note)


PEERS: dict[str, Callable[[Path, Path, int, int], None]] = {"mlflow": mlflow, "dask-sql": dask_sql}


def _times(ours: Sequence[Side], peer: Sequence[Side], unit: str) -> str:
    middles = (statistics.median(side.seconds for side in sides) for sides in (ours, peer))
    return ", ".join(f"{middle * {'s': 1, 'ms': 1000}[unit]:.2f} {unit}" for middle in middles)


def save_parquet(case: str, table: Path, folder: Path) -> float:
    """The table as a file that every environment can read."""
    import duckdb

    copy = f"COPY t TO '{folder / 't.parquet'}' (FORMAT parquet)"
    return timed(lambda: duckdb.connect(str(table), read_only=True).execute(copy))


def save_mlflow(case: str, table: Path, folder: Path) -> float:
    """The hand-written pipeline, refit in the environment that serves it; the usual format refuses trees."""
    import mlflow.sklearn

    options = {"serialization_format": "cloudpickle", "pip_requirements": ["scikit-learn"]}
    return timed(
        lambda: mlflow.sklearn.save_model(_refit(case, folder), folder / f"{case}.mlflow", **options)
    )


def save_joblib(case: str, table: Path, folder: Path) -> float:
    """The hand-written pipeline, refit with dask-sql's scikit-learn."""
    import joblib

    return timed(lambda: joblib.dump(_refit(case, folder), folder / f"{case}.dask-sql.joblib"))


def _refit(case: str, folder: Path) -> Any:
    import pandas as pd

    frame = pd.read_parquet(folder / "t.parquet", filters=[("id", "<", FIT_ROWS)])
    return pipeline(case).fit(frame[FEATURES], frame[MODELS[case][2]])


def _client(folder: Path) -> Callable[[Any], Any]:
    """Scores a frame over one connection that stays open."""
    connection = HTTPConnection("127.0.0.1", int((folder / "mlflow.port").read_text()))

    def score(frame: Any) -> Any:
        body = f'{{"dataframe_split": {frame.to_json(orient="split", index=False)}}}'
        connection.request("POST", "/invocations", body.encode(), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise SystemExit(f"The MLflow server answered {answer.status}: {text[:500].decode()}")
        return json.loads(text)["predictions"]

    return score


def join_mlflow(case: str, table: Path, folder: Path) -> float:
    """duckdb → pandas → the server, batch by batch → duckdb."""
    import duckdb

    con = duckdb.connect(str(table), read_only=True)
    score = _client(folder)

    def work() -> object:
        frame = con.execute(f"SELECT {', '.join(FEATURES)} FROM t").df()
        batches = (frame[start : start + BATCH_ROWS] for start in range(0, len(frame), BATCH_ROWS))
        frame["answer"] = [y for batch in batches for y in score(batch)]
        return con.execute("SELECT c2, avg(answer) FROM frame GROUP BY c2 ORDER BY c2").fetchall()

    score(con.execute(f"SELECT {', '.join(FEATURES)} FROM t LIMIT 1").df())
    return timed(work)


def row_mlflow(case: str, table: Path, folder: Path) -> float:
    """One row by HTTP, each time with other values."""
    import pandas as pd

    score = _client(folder)
    rows = iter(range(10**9))
    work = lambda: score(pd.DataFrame([{**ROW, "n2": next(rows)}]))  # noqa: E731
    work()
    return timed(work, 300)


def join_dask_sql(case: str, table: Path, folder: Path) -> float:
    """Its PREDICT cannot be nested, so the predictions and the aggregate are two statements."""
    import dask.dataframe as dd
    import joblib
    from dask_sql import Context
    from dask_sql.physical.rel.custom.wrappers import ParallelPostFit

    con = Context()
    con.create_table("t", dd.read_parquet(folder / "t.parquet", split_row_groups=True))
    con.register_model("m", ParallelPostFit(joblib.load(folder / f"{case}.dask-sql.joblib")), FEATURES)

    def work(limit: str = "") -> Any:
        predict = f"SELECT * FROM PREDICT(MODEL m, SELECT {', '.join(FEATURES)} FROM t{limit})"
        con.create_table("predicted", con.sql(predict))  # lazy
        return con.sql("SELECT c2, avg(target) AS y FROM predicted GROUP BY c2 ORDER BY c2").compute()

    work(" LIMIT 1")
    return timed(work)


if __name__ == "__main__":
    main(globals())
