"""Owns the benchmark of remote engines: rows a second against a server that takes 50 ms, and the memory of many rows.

python -m tests.benchmarks.remote [--rows 2000] [--concurrency 16] [--many 1000000]
python -m tests.benchmarks.remote --mlflow [--rows 100000]: a real MLflow server against its model in this process.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

LATENCY = 0.05


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, latency: float) -> None:
    """HTTP/1.1, as little of it as is needed: the sum of each row after a while."""
    try:
        while line := await reader.readline():
            size = 0
            while (line := await reader.readline()) not in (b"\r\n", b""):
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    size = int(value)
            body = json.loads(await reader.readexactly(size))
            await asyncio.sleep(latency)
            values = next(iter(json.loads(body["df"]).values())).values()
            sent = json.dumps({"prediction": list(values)}).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(sent)
            )
            writer.write(sent)
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def _serve(latency: float) -> None:
    server = await asyncio.start_server(lambda r, w: _answer(r, w, latency), "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def ours(url: str, rows: int, concurrency: int, batch_rows: int) -> tuple[float, float]:
    """Seconds of a query over so many rows, and the most memory of this process in MB."""
    import mindsql

    with mindsql.connect() as con:
        con.execute(
            f"CREATE MODEL m PREDICT y USING format = 'ray_serve', url.predict = '{url}', concurrency = {concurrency}, "
            f"batch_rows = {batch_rows}, dtype_dict = {{'a': 'integer', 'y': 'float'}}"
        )
        con.execute("SELECT y FROM m WHERE a = -1").fetchall()
        begin = time.perf_counter()
        query = f"SELECT count(*), sum(m.y) FROM (SELECT i AS a FROM range({rows}) s(i)) AS t JOIN m"
        assert con.execute(query).fetchall() == [(rows, rows * (rows - 1) / 2)]
        seconds = time.perf_counter() - begin
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def by_hand(url: str, rows: int) -> float:
    """Seconds of a loop with requests, one row after the other."""
    import requests

    with requests.Session() as session:
        begin = time.perf_counter()
        for i in range(rows):
            session.post(url, json={"df": json.dumps({"a": {"0": i}})}).json()["prediction"]
        return time.perf_counter() - begin


def mlflow_server(rows: int, runs: int) -> None:
    """A model behind `mlflow models serve`: many rows as Parquet and as JSON, one row, each beside work by hand."""
    from tests.engines.servers import processes

    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    import mlflow.sklearn
    import pandas as pd
    import requests
    from mlflow.models import infer_signature
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    import mindsql

    numbers = range(rows)
    table = pd.DataFrame(
        {
            "sqft": [i % 3000 for i in numbers],
            "price": [i % 997 * 1.5 + i / 1000 for i in numbers],
            "hood": ["abcdefgh"[i % 8] for i in numbers],
        }
    )
    encode = make_column_transformer((OneHotEncoder(), ["hood"]), (StandardScaler(), ["sqft", "price"]))
    model = make_pipeline(encode, LogisticRegression()).fit(
        table.head(5000), (table.sqft > 1500).head(5000).map({True: "big", False: "small"})
    )

    def middle(work: Callable[[], object], times: int) -> float:
        took = []
        for _ in range(times):
            begin = time.perf_counter()
            work()
            took.append(time.perf_counter() - begin)
        return statistics.median(took)

    with tempfile.TemporaryDirectory() as folder:
        signature = infer_signature(table.head(), model.predict(table.head()))
        options = {"signature": signature, "pip_requirements": ["scikit-learn"]}
        mlflow.sklearn.save_model(model, f"{folder}/model", **options)
        env = {"__pyfunc_model_path__": f"{folder}/model", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        application = "mlflow.pyfunc.scoring_server.app:app"
        with (
            processes.uvicorn(application, "/ping", Path(folder) / "log", env) as url,
            mindsql.connect() as con,
        ):
            url += "/invocations"
            for name, more in (("m", ""), ("as_json", ", parquet = false")):
                con.execute(
                    f"CREATE MODEL {name} PREDICT y USING format = 'mlflow', url.predict = '{url}'{more}"
                )
            con.register("t", table)
            session = requests.Session()

            def post(data: bytes | str, kind: str) -> None:
                session.post(url, data=data, headers={"Content-Type": kind}).json()

            def parquet() -> None:
                post(table.to_parquet(index=False), "application/vnd.apache.parquet")

            def row(number: int = 0) -> None:
                post(
                    f'{{"dataframe_records":[{{"sqft":{number},"price":1.5,"hood":"a"}}]}}',
                    "application/json",
                )

            query = "SELECT m.y, count(*) FROM t JOIN {} AS m GROUP BY ALL"
            sides: list[tuple[str, Callable[[], object]]] = [
                ("in this process", lambda: model.predict(table)),
                ("by hand, Parquet", parquet),
                ("ours, Parquet", lambda: con.execute(query.format("m")).fetchall()),
                ("ours, JSON", lambda: con.execute(query.format("as_json")).fetchall()),
            ]
            first = 0.0
            for name, work in sides:
                work()
                seconds = middle(work, runs)
                first = first or seconds
                ratio = seconds / first
                print(f"{rows} rows, {name}: {seconds * 1000:.0f} ms, {ratio:.1f} x in this process")
            count = itertools.count()
            hand = middle(lambda: row(next(count)), 200)
            one = middle(lambda: con.execute(f"SELECT y FROM m WHERE sqft = {next(count)} AND price = 1.5 "
                                             "AND hood = 'a'").fetchall(), 200)  # fmt: skip
            print(f"one row: by hand {hand * 1000:.1f} ms, ours {one * 1000:.1f} ms")


def _apart(*arguments: str) -> list[float]:
    command = [sys.executable, "-m", "tests.benchmarks.remote", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [float(part) for part in done.stdout.split()]


def main() -> None:
    """Run the benchmark, or one side of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.remote", description=__doc__)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--mlflow", action="store_true", help="against a real MLflow server")
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--many", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--serve", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--ours", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.mlflow:
        mlflow_server(args.rows or 100_000, args.runs)
        return
    args.rows = args.rows or 2000
    if args.serve is not None:
        asyncio.run(_serve(args.serve))
        return
    if args.ours:
        print(*ours(args.ours[0], *map(int, args.ours[1:])))
        return
    servers = []
    try:
        urls = []
        for latency in (LATENCY, 0.0):
            command = [sys.executable, "-m", "tests.benchmarks.remote", "--serve", str(latency)]
            servers.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            output = servers[-1].stdout
            assert output is not None
            urls.append(f"http://127.0.0.1:{output.readline().strip()}/predict")
        ideal = args.rows * LATENCY / args.concurrency
        took = [
            _apart("--ours", urls[0], str(args.rows), str(args.concurrency), "1")[0] for _ in range(args.runs)
        ]
        loop = by_hand(urls[0], args.rows // 10) * 10
        middle = statistics.median(took)
        print(
            f"{args.rows} rows, {LATENCY * 1000:g} ms, {args.concurrency} at once: {args.rows / middle:.0f} rows/s"
        )
        print(
            f"ours / ideal: {middle / ideal:.2f} (goal 1.2)   loop with requests / ours: {loop / middle:.1f}"
        )
        sizes = [10_000, args.many]
        peaks = [_apart("--ours", urls[1], str(rows), "4", "1000")[1] for rows in sizes]
        shown = [f"{rows} rows {peak:.0f} MB" for rows, peak in zip(sizes, peaks, strict=True)]
        print("peak memory: " + ", ".join(shown))
    finally:
        for server in servers:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
