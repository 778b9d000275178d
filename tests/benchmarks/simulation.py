"""Owns an estimate of large clusters: parts on many processors, read in order by one process, at costs measured here.

Measured: what a worker takes for a part of a million rows (by an engine), what this process takes to group its two
columns, or the groups that it sends, and to look at a file's footer. Simulated: `2 × processors` parts in flight,
answers read in order, ten percent of jitter, one part in a thousand that dies at its end and is answered again. Not
simulated: the network.

python -m tests.benchmarks.simulation [--nodes 100] [--processors 16] [--rows 100000000000]
"""

from __future__ import annotations

import argparse
import heapq
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from tests.benchmarks.cluster import _QUERIES, _ROWS

_PART_ROWS = 1_000_000
_FILES = 200
_RECEIVED = 0.0005
"""Seconds that an answer takes to come out of the cluster's store."""


def simulated(parts: int, processors: int, worker: float, reader: float, seed: int = 1) -> float:
    """Seconds until the last of the parts is read.

    Args:
        parts: How many.
        processors: How many are answered at once.
        worker, reader: Seconds for one, on a processor and in the process that reads them in order.
        seed: Of the jitter.
    """
    chance = random.Random(seed)
    free = [0.0] * processors
    read = [0.0] * parts
    last = 0.0
    for part in range(parts):
        handed = read[part - 2 * processors] if part >= 2 * processors else 0.0
        seconds = worker * chance.uniform(0.9, 1.1) * (2 if chance.random() < 0.001 else 1)
        done = max(heapq.heappop(free), handed) + seconds
        heapq.heappush(free, done)
        last = read[part] = max(done, last) + reader
    return last


def main() -> None:
    """Measure, simulate, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--processors", type=int, default=16)
    parser.add_argument("--rows", type=int, default=10**11)
    given = parser.parse_args()
    worker, grouping, groups, footer = _measured()
    parts, processors = given.rows // _PART_ROWS, given.nodes * given.processors
    print(f"measured: a part {worker:.2f} s, grouping its columns {grouping:.3f} s, its groups {1e3 * groups:.2f} ms, "
          f"a footer {1e3 * footer:.2f} ms")  # fmt: skip
    for what, reader in (
        ("written by the workers", _RECEIVED),
        ("grouped in the parts", _RECEIVED + groups),
        ("grouped by this process", _RECEIVED + grouping),
    ):
        seconds = simulated(parts, processors, worker, reader)
        ideal = parts * worker / processors
        print(f"{parts} parts on {given.nodes} × {given.processors}, {what}: {seconds:.0f} s, "
              f"{ideal / seconds:.0%} of the processors at work")  # fmt: skip
    for files in (1_000, 100_000):
        print(f"footers of {files} files: {files * footer:.0f} s")


def _measured() -> tuple[float, float, float, float]:
    import mindsql

    with tempfile.TemporaryDirectory() as name, mindsql.connect() as con:
        folder = Path(name)
        con.execute("SET threads = 1")
        con.execute(f"COPY ({_ROWS.format(first=0, last=_PART_ROWS)}) TO '{folder}/part.parquet'")
        con.execute("CREATE TABLE names AS SELECT 'city' || i AS z, 'name ' || i AS name FROM range(20) r(i)")
        few = f"SELECT * EXCLUDE id, a * 2 + b - d / 9 + g AS y FROM ({_ROWS.format(first=0, last=3000)})"
        con.execute(f"CREATE MODEL m FROM ({few}) PREDICT y USING max_iter = 20, estimator = 'MLPRegressor'")
        query = _QUERIES["write"].format(files=f"{folder}/part.parquet", out=folder / "out.parquet")
        worker = _timed(lambda: con.execute(query).fetchall())
        rows = con.execute(f"SELECT a AS y, z FROM '{folder}/part.parquet'").arrow()
        grouped = "SELECT z, count(*), avg(y) FROM rows GROUP BY z"
        grouping = _timed(lambda: con.execute(grouped.replace("rows", "$rows"), {"rows": rows}).fetchall())
        many = pa.concat_tables([con.execute(grouped.replace("rows", "$rows"), {"rows": rows}).arrow()] * _FILES)
        again = 'SELECT z, sum("count_star()"), sum("avg(y)") FROM $rows GROUP BY z'
        groups = _timed(lambda: con.execute(again, {"rows": many}).fetchall()) / _FILES
        for number in range(_FILES):
            con.execute(f"COPY (SELECT * FROM '{folder}/part.parquet' LIMIT 1000) TO '{folder}/f{number}.parquet'")
        looked = f"SELECT count(*) FROM parquet_metadata('{folder}/f*.parquet')"
        schemas = f"SELECT count(*) FROM parquet_schema('{folder}/f*.parquet')"
        footer = sum(_timed(lambda text=text: con.execute(text).fetchall()) for text in (looked, schemas)) / _FILES
    return worker, grouping, groups, footer


def _timed(call: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(3):
        begin = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - begin)
    return best


if __name__ == "__main__":
    main()
