"""Owns the benchmark of the server: one-row predictions beside `mlflow models serve`, and what long load leaves behind.

python -m tests.benchmarks.server [--only predict|memory|crowd|vanish|kill] [--case forest] [--runs 5] [--rounds 50]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlencode

from tests.benchmarks.data import FEATURES, FIT_ROWS, MODELS, make_table, pipeline
from tests.engines.servers import processes
from tests.server.conftest import serving
from tests.server.loads import Answers, get, many, post

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


PARTS: dict[str, Callable[[argparse.Namespace, Path], None]] = {"predict": _predict}

if __name__ == "__main__":
    main()
