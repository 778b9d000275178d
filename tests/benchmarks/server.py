"""Owns the benchmark of the server: one-row predictions beside `mlflow models serve`, and what long load leaves behind.

python -m tests.benchmarks.server [--only predict|memory|crowd|vanish|kill] [--case forest] [--runs 5] [--rounds 50]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlencode

from tests.benchmarks.data import FEATURES, FIT_ROWS, MODELS, make_table, pipeline
from tests.engines.servers import processes
from tests.server.conftest import Served, serving
from tests.server.loads import Answers, Holdings, Writers, get, idle, many, post, statement, vanish

ARROW = "application/vnd.apache.arrow.stream"
CASES = ("linear", "forest", "boosting")
SECONDS = 4.0


def prepare(case: str, folder: Path) -> list[dict[str, object]]:
    """Fit a pipeline once; both servers get this very one. Gives rows to ask about."""
    import duckdb
    import mlflow.sklearn
    import skops.io

    import mindsql

    table = folder / "t.duckdb"
    if not table.exists():
        make_table(table, FIT_ROWS)
    con = duckdb.connect(str(table), read_only=True)
    frame = con.execute("SELECT * FROM t ORDER BY id").df()
    con.close()
    target = MODELS[case][2]
    fitted = pipeline(case).fit(frame[FEATURES], frame[target])
    if hasattr(fitted[-1], "n_jobs"):
        fitted[-1].set_params(n_jobs=None)  # for one row threads only cost
    skops.io.dump(fitted, folder / f"{case}.skops")
    with mindsql.connect(str(folder / f"{case}.duckdb")) as own:
        own.execute(f"CREATE MODEL m PREDICT {target} USING path = '{folder / case}.skops'")
    options = {"serialization_format": "cloudpickle", "pip_requirements": ["scikit-learn"]}
    mlflow.sklearn.save_model(fitted, folder / f"{case}.mlflow", **options)
    rows: list[dict[str, object]] = json.loads(frame[FEATURES].head(500).to_json(orient="records"))
    return rows


@contextmanager
def mlflow(case: str, folder: Path) -> Iterator[str]:
    """`mlflow models serve`, as it comes: one worker. Gives its URL."""
    port = processes.free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        *(sys.executable, "-m", "mlflow", "models", "serve", "-m", str(folder / f"{case}.mlflow")),
        *("--env-manager", "local", "-h", "127.0.0.1", "-p", str(port), "-w", "1"),
    ]
    # On busy cores OpenMP's threads hinder each other in this server.
    env = {"OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with processes.process(command, f"{url}/ping", folder / "mlflow.log", env):
        yield url


def predict(case: str, folder: Path, runs: int) -> None:
    """One row a request, at 1 and at 32 connections, in turn."""
    rows = prepare(case, folder)
    with ExitStack() as stack:
        served = stack.enter_context(serving(folder, "--no-mysql", file=f"{case}.duckdb"))
        peer = stack.enter_context(mlflow(case, folder))
        split = [{"dataframe_split": {"columns": list(row), "data": [list(row.values())]}} for row in rows]
        sides = {
            "mlflow": (peer, [post(peer, "/invocations", body) for body in split]),
            "GET": (served.url, [get(served.url, f"/models/m?{urlencode(row)}") for row in rows]),
            "POST": (served.url, [post(served.url, "/models/m", [row]) for row in rows]),
        }
        check(sides)
        for connections in (1, 32):
            found: dict[str, list[Answers]] = {name: [] for name in sides}
            counts = {name: _enough(*side, connections) for name, side in sides.items()}
            for _ in range(runs):
                for name, (url, messages) in sides.items():
                    repeated = (messages * (counts[name] // len(messages) + 1))[: counts[name]]
                    answers = many(url, repeated, connections)
                    assert set(answers.statuses) == {200}, answers.statuses
                    found[name].append(answers)
            for name in ("GET", "POST"):
                report(f"{case}, {connections} connections, {name}", found[name], found["mlflow"])


def check(sides: dict[str, tuple[str, list[bytes]]]) -> None:
    """All sides give equal answers, alone and in a crowd."""
    given = []
    for name, (url, messages) in sides.items():
        for connections in (1, 32):
            bodies = many(url, messages[:100], connections, keep=True).bodies
            answers = [json.loads(bodies[number]) for number in range(100)]
            given.append([a["predictions"][0] if name == "mlflow" else a[0] for a in answers])
    for other in given[1:]:
        assert all(abs(a - b) < 1e-9 * max(1.0, abs(a)) for a, b in zip(given[0], other, strict=True))


def _enough(url: str, messages: Sequence[bytes], connections: int) -> int:
    return max(100, int(SECONDS * many(url, messages[:200], connections).rate))


def report(what: str, ours: Sequence[Answers], peer: Sequence[Answers]) -> None:
    """Requests a second and the slowest hundredth, as ratios run by run, and the medians."""
    figures: dict[str, tuple[Callable[[Answers], float], str]] = {
        "requests a second": (lambda answers: answers.rate, "/s"),
        "p50": (lambda answers: 1000 * answers.quantile(0.5), " ms"),
        "p99": (lambda answers: 1000 * answers.quantile(0.99), " ms"),
    }
    for name, (figure, unit) in figures.items():
        ratios = sorted(figure(a) / figure(b) for a, b in zip(ours, peer, strict=True))
        middles = [statistics.median(map(figure, side)) for side in (ours, peer)]
        print(
            f"{what + ': ' + name:48} {ratios[0]:6.2f} {statistics.median(ratios):6.2f} {ratios[-1]:6.2f}   "
            f"{middles[0]:.1f}{unit}, mlflow {middles[1]:.1f}{unit}",
            flush=True,
        )


# What long load leaves behind ---------------------------------------------------------------------------------


def _small(served: Served) -> None:
    served.rows(
        "CREATE TABLE flats AS SELECT 300 + i % 100 AS sqft, ['good', 'poor'][1 + i % 2] AS place, "
        "i * 2.0::DOUBLE AS rent FROM range(300) r(i)"
    )
    served.rows("CREATE MODEL rent FROM (SELECT * FROM flats) PREDICT rent USING estimator = 'LinearRegression'")


def _held(what: str, served: Served) -> Holdings:
    held = Holdings.of(served.process.pid)
    cursors = served.rows("SELECT count FROM duckdb_connection_count()")[0][0]
    sessions = _gauge(served, "sessions")
    print(
        f"{what:44} {held.megabytes:6.0f} MB, {held.threads} threads, {held.files} files, {held.children} children, "
        f"{cursors} DuckDB connections, {sessions:.0f} sessions",
        flush=True,
    )
    return held


def _gauge(served: Served, name: str) -> float:
    found = re.search(rf"^mindsql_{name} (\S+)", served.request("GET", "/metrics").text, re.M)
    return float(found[1]) if found else -1.0


def memory(served: Served) -> None:
    """A million rows out by Arrow, three columns and predictions."""
    _held("idle", served)
    for what, sql in (
        ("1 M rows", "SELECT i, i * 2.5::DOUBLE AS x, 'row ' || i AS s FROM range(1000000) r(i)"),
        ("10 M rows", "SELECT i, i * 2.5::DOUBLE AS x, 'row ' || i AS s FROM range(10000000) r(i)"),
        ("1 M predictions", "SELECT t.*, m.rent FROM (SELECT i AS sqft, 'good' AS place FROM range(1000000) r(i)) t "
         "JOIN rent m"),
    ):
        before = most = Holdings.of(served.process.pid).megabytes
        body, headers = {"query": sql}, {"Accept": ARROW}
        with served.request("POST", "/api/sql/query", json=body, headers=headers, stream=True) as answer:
            for _ in answer.iter_content(1 << 20):
                most = max(most, Holdings.of(served.process.pid).megabytes)
        _held(f"{what} by Arrow: {most - before:.0f} MB above idle", served)


def crowd(served: Served) -> None:
    """200 idle connections, and ten thousand requests."""
    clients = idle(served.url, 200)
    _held("200 idle connections", served)
    for client in clients:
        client.close()
    places = ("good", "poor")
    messages = [
        *(get(served.url, f"/models/rent?sqft={300 + i}&place={places[i % 2]}") for i in range(500)),
        *(statement(served.url, f"SELECT rent FROM rent WHERE sqft = {i} AND place = 'good'") for i in range(300)),
        *(statement(served.url, f"SELECT count(*) FROM flats WHERE sqft > {300 + i}") for i in range(200)),
    ]
    for number in range(10):
        answers = many(served.url, messages, 32)
        assert answers.statuses == {200: 1000}, answers.statuses
        _held(f"{1000 * (number + 1)} requests, the last {answers.rate:.0f}/s", served)


def vanishing(served: Served) -> None:
    """A thousand clients that are killed in the midst of their requests, a hundred of them real processes."""
    asked = [
        ("SELECT count(*) FROM range(100000000) a(i), range(1000) b(j) WHERE (i * j) % 7 = 1", "application/json"),
        ("SELECT i, i * 2 AS j FROM range(3000000) r(i)", ARROW),
        ("SELECT m.rent FROM (SELECT i AS sqft, 'good' AS place FROM range(300000) r(i)) JOIN rent m", "text/csv"),
    ]
    for number in range(10):
        vanish(served.url, lambda i: statement(served.url, asked[i % 3][0], accept=asked[i % 3][1]), 90, seed=number)
        for i in range(10):
            sql, accept = asked[i % 3]
            head = ["-H", f"Accept: {accept}", "-H", "Content-Type: application/json"]
            command = ["curl", "-s", *head, "-d", json.dumps({"query": sql}), f"{served.url}/api/sql/query"]
            client = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            time.sleep(0.05)
            client.kill()
            client.wait()
        while _gauge(served, "running") or _gauge(served, "sessions") or _gauge(served, "queue"):
            time.sleep(0.05)
        _held(f"{100 * (number + 1)} clients killed", served)


def killing(folder: Path, rounds: int) -> None:
    """SIGKILL while rows and models are written: all that was answered is there, and the file opens."""
    rows: set[int] = set()
    models: set[str] = set()
    chance = random.Random(0)
    for number in range(rounds):
        with serving(folder, "--no-mysql", file="killed.duckdb") as served:
            if number == 0:
                _small(served)
                served.rows("CREATE TABLE written (n BIGINT)")
            assert rows <= {row for (row,) in served.rows("SELECT n FROM written")}
            assert models <= {name for (name,) in served.rows("SELECT name FROM models WHERE status = 'complete'")}
            writers = Writers(served.url, number)
            while not writers.have(rows=1, models=1):  # the first model of a process takes its time
                time.sleep(0.05)
            time.sleep(2 * chance.random())
            served.stop(signal.SIGKILL)
            writers.join()
            rows.update(writers.rows)
            models.update(writers.models)
        if number % 10 == 9:
            print(f"killed {number + 1} times: {len(rows)} rows and {len(models)} models are there", flush=True)
    with serving(folder, "--no-mysql", file="killed.duckdb") as served:
        assert rows <= {row for (row,) in served.rows("SELECT n FROM written")}
        for name in models:
            assert len(served.rows(f"SELECT rent FROM {name} WHERE sqft = 400 AND place = 'good'")) == 1


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.server", description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="run this part; repeatable")
    parser.add_argument("--case", choices=CASES, action="append", help="the models of `predict`; repeatable")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=50, help="how often `kill` kills")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory() as name:
        for part in args.only or PARTS:
            PARTS[part](args, Path(name))


def _predict(args: argparse.Namespace, folder: Path) -> None:
    print(f"ours / mlflow models serve, {args.runs} runs{'':26} min median    max")
    for case in args.case or CASES:
        predict(case, folder, args.runs)


def _with(part: Callable[[Served], None]) -> Callable[[argparse.Namespace, Path], None]:
    def run(args: argparse.Namespace, folder: Path) -> None:
        with serving(folder, file=":memory:") as served:
            _held("after the start", served)
            _small(served)
            part(served)
            print(f"exit status {served.stop()}", flush=True)

    return run


PARTS: dict[str, Callable[[argparse.Namespace, Path], None]] = {
    "predict": _predict,
    "memory": _with(memory),
    "crowd": _with(crowd),
    "vanish": _with(vanishing),
    "kill": lambda args, folder: killing(folder, args.rounds),
}

if __name__ == "__main__":
    main()
