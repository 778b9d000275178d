"""Owns the sides for a cluster: one process, and a Ray cluster of two nodes on the same processors.

Each side starts its cluster and loads its models before the clock starts. `many` has ten times the rows, for the memory
of this process.

python -m tests.benchmarks --only cluster [--rows 4000000]
"""

from __future__ import annotations

import json
import resource
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.report import ratios, run, show

_FILES = 8
_CASES = {"as SQL": "Ridge", "by its engine": "MLPRegressor"}
_ROWS = """SELECT i AS id, i % 997 / 7.0::DOUBLE AS a, (i * 7) % 1013 / 3.0 AS b, i % 513 AS c,
    (i * 13) % 99991 / 5.0 AS d, hash(i) % 1000 / 10.0 AS e, hash(i + 1) % 1000 / 10.0 AS f, i % 31 AS g, i % 17 AS h,
    ['red', 'green', 'blue'][1 + i % 3] AS k, 'city' || i % 20 AS z FROM range({first}, {last}) r(i)"""
_QUERIES = {
    "write": "COPY (SELECT t.id, m.y FROM read_parquet('{files}') AS t JOIN m) TO '{out}' (FORMAT parquet)",
    "group": "SELECT n.name, count(*), avg(m.y) FROM read_parquet('{files}') AS t JOIN m JOIN names AS n ON n.z = t.z "
    "GROUP BY ALL",
}


def cluster(table: Path, folder: Path, rows: int, runs: int) -> None:
    """Parquet → predict → Parquet, and predict → join → GROUP BY: two nodes against one process."""
    files = folder / "cluster"
    _fill(files, rows)
    for case in _CASES:
        for what in _QUERIES:
            sides = (f"local_{what}", f"ray_{what}")
            local, ray = run(sides, case, files, folder, runs, module="tests.benchmarks.cluster")
            note = f"{statistics.median(side.seconds for side in ray):.2f} s"
            show(f"cluster {what}, {case}: time / one process", ratios(ray, local), 1.3, note)
    more = folder / "cluster_more"
    _fill(more, 10 * rows)
    few, many = (
        run(("ray_group",), "by its engine", given, folder, runs, module="tests.benchmarks.cluster")[0]
        for given in (files, more)
    )
    note = f"{few[0].peak_mb:.0f} MB, {many[0].peak_mb:.0f} MB"
    show("cluster group: this process's memory, 10 × rows", ratios(many, few, "peak_mb"), 1.1, note)


def _fill(files: Path, rows: int) -> None:
    import mindsql

    files.mkdir()
    with mindsql.connect() as con:
        for number in range(_FILES):
            first, last = number * rows // _FILES, (number + 1) * rows // _FILES
            con.execute(f"COPY ({_ROWS.format(first=first, last=last)}) TO '{files}/{number}.parquet'")


def main() -> None:
    """Run one side: its name, the case and the folder of the files."""
    import mindsql

    (where, what), case, files = sys.argv[1].split("_"), sys.argv[2], Path(sys.argv[3])
    out = files.with_name("cluster_out")
    with mindsql.connect() as con:
        con.execute("CREATE TABLE names AS SELECT 'city' || i AS z, 'name ' || i AS name FROM range(20) r(i)")
        few = f"SELECT * EXCLUDE id, a * 2 + b - d / 9 + g AS y FROM ({_ROWS.format(first=0, last=3000)})"
        using = "max_iter = 20, " if _CASES[case] == "MLPRegressor" else ""
        con.execute(f"CREATE MODEL m FROM ({few}) PREDICT y USING {using}estimator = '{_CASES[case]}'")
        close = _two_nodes() if where == "ray" else None
        if close is not None:
            con.execute("SET executor = 'ray'")
        query = _QUERIES[what]
        warm = query.format(files=f"{files}/0.parquet", out=out)
        full = query.format(files=f"{files}/*.parquet", out=out)
        seconds = 0.0
        for text in (warm, full):
            shutil.rmtree(out, ignore_errors=True)
            out.unlink(missing_ok=True)
            begin = time.perf_counter()
            con.execute(text).fetchall()
            seconds = time.perf_counter() - begin
        if close is not None:
            close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mb": peak}))


def _two_nodes() -> Callable[[], None]:
    import ray
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    ray.init(address=made.address, log_to_driver=False, configure_logging=False)

    def close() -> None:
        ray.shutdown()
        made.shutdown()

    return close


if __name__ == "__main__":
    main()
