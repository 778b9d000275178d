"""Owns the run: the sides of each case in turn (A B C A B C …), each in its own process, and the table of ratios.

python -m tests.benchmarks [--rows 1000000] [--runs 5] [--only join] [--plot speed.png] [--peer mlflow]
"""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.cluster import cluster
from tests.benchmarks.data import fit, make_table
from tests.benchmarks.peers import PEERS, python
from tests.benchmarks.report import plot, ratios, run, show
from tests.benchmarks.sources import sources

JOINS = {"linear": 0.15, "logistic": 0.15, "tree": 0.10, "few trees": 0.10, "forest": 0.95, "boosting": 0.85}
"""Case → the goal for our time as a share of the hand-written time."""
MEMORY_GOAL = 0.55
SAME_PIPELINE_GOALS = (1.15, 0.7)


def joins(table: Path, folder: Path, rows: int, runs: int) -> None:
    """A JOIN of all rows with an aggregate: ours, by hand, and the bare estimator on a ready matrix."""
    for case, goal in JOINS.items():
        sides = ("join_ours", "join_hand", "join_bare")
        ours, hand, bare = run(sides, case, table, folder, runs)
        speed = rows / statistics.median(side.seconds for side in ours) / 1e6
        show(f"join {case}: time / by hand", ratios(ours, hand), goal, f"{speed:.1f} M rows/s")
        show(f"join {case}: time / bare predict", ratios(ours, bare), None)
        note = f"{ours[0].peak_mb:.0f} MB, {hand[0].peak_mb:.0f} MB"
        show(f"join {case}: peak memory / by hand", ratios(ours, hand, "peak_mb"), MEMORY_GOAL, note)


def same_pipeline(table: Path, folder: Path, rows: int, runs: int) -> None:
    """The hand-written side's own fitted pipeline, registered by its file."""
    for case in ("linear", "forest", "boosting"):
        ours, hand = run(("join_path", "join_hand"), case, table, folder, runs)
        time_goal, memory_goal = SAME_PIPELINE_GOALS
        show(f"pipeline {case}: time / by hand", ratios(ours, hand), time_goal)
        note = f"{ours[0].peak_mb:.0f} MB, {hand[0].peak_mb:.0f} MB"
        show(f"pipeline {case}: peak memory / by hand", ratios(ours, hand, "peak_mb"), memory_goal, note)


def one_row(table: Path, folder: Path, rows: int, runs: int) -> None:
    """One row by WHERE, with other constants each time, and through parameters."""
    for case, goal in (("linear", 0.3), ("boosting", 1.5)):
        ours, prepared, hand = run(("row_ours", "row_prepared", "row_hand"), case, table, folder, runs)
        for what, sides in (("constants", ours), ("parameters", prepared)):
            note = f"{1e3 * statistics.median(side.seconds for side in sides):.2f} ms"
            show(f"one row {case}, {what}: time / by hand", ratios(sides, hand), goal, note)


def training(table: Path, folder: Path, rows: int, runs: int) -> None:
    """CREATE MODEL on all rows: a score on held-out rows and a fit on all of them, on both sides."""
    for case in ("linear", "boosting"):
        ours, hand = run(("train_ours", "train_hand"), case, table, folder, runs)
        show(f"training {case}: time / by hand", ratios(ours, hand), 1.05)
        note = f"{ours[0].peak_mb:.0f} MB, {hand[0].peak_mb:.0f} MB"
        show(f"training {case}: peak memory / by hand", ratios(ours, hand, "peak_mb"), 0.7, note)


def plain(table: Path, folder: Path, rows: int, runs: int) -> None:
    """Statements that are DuckDB's alone."""
    for case, goal in (("small", 1.10), ("large", 1.01)):
        ours, hand = run(("plain_ours", "plain_hand"), case, table, folder, runs)
        show(f"plain statements, {case}: time / raw duckdb", ratios(ours, hand), goal)


def memory(table: Path, folder: Path, rows: int, runs: int) -> None:
    """Peak memory at ten times the rows."""
    large = folder / "large.duckdb"
    make_table(large, 10 * rows)
    for case in ("linear", "boosting"):
        (few,), (many,) = (run(("join_ours",), case, path, folder, 1)[0] for path in (table, large))
        note = f"{many.peak_mb:.0f} MB at {10 * rows} rows, {few.peak_mb:.0f} MB at {rows}"
        show(f"memory {case}, ten times the rows", [many.peak_mb / few.peak_mb], 1.3, note)


def start(table: Path, folder: Path, rows: int, runs: int) -> None:
    """The whole process of one statement."""
    raw = [sys.executable, "-c", "import duckdb; duckdb.sql('select 1').fetchall()"]
    ours = [str(Path(sys.executable).with_name("mindsql")), "-c", "SELECT 1"]
    found = []
    for _ in range(4 * runs):
        pair = []
        for command in (ours, raw):
            begin = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            pair.append(time.perf_counter() - begin)
        found.append(pair[0] / pair[1])
    show("start of the command line: time / raw duckdb", found, 1.3)


def parsing(table: Path, folder: Path, rows: int, runs: int) -> None:
    """Statements of ours parsed in a second."""
    import mindsql_grammar

    texts = [
        "CREATE MODEL m FROM (SELECT a, b, c FROM t WHERE a > 5) PREDICT c USING estimator = 'Ridge', alpha = 0.5",
        "SELECT t.a, m.c FROM t JOIN m WHERE t.b = 'x' ORDER BY m.c LIMIT 10",
        "SELECT c FROM m WHERE a = 1 AND b = 'x'",
        "RETRAIN m USING alpha = 0.1",
    ]
    begin = time.perf_counter()
    for _ in range(500):
        for text in texts:
            mindsql_grammar.parse(text)
    speed = 500 * len(texts) / (time.perf_counter() - begin)
    print(
        f"parsing: {speed:.0f} statements a second (goals: 3000 on pure sqlglot, 9000 compiled)", flush=True
    )


PARTS = {
    "join": joins,
    "pipeline": same_pipeline,
    "row": one_row,
    "training": training,
    "plain": plain,
    "memory": memory,
    "start": start,
    "parsing": parsing,
    "sources": sources,
    "cluster": cluster,
}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", choices=PARTS, action="append", help="run this part; repeatable")
    parser.add_argument(
        "--plot", type=Path, help="draw time and memory against rows, 10 k to --rows, as a PNG"
    )
    parser.add_argument(
        "--peer",
        choices=PEERS,
        action="append",
        default=[],
        help="compare with this program, installed apart on first use, and run no part that --only does not name; "
        "repeatable",
    )
    args = parser.parse_args()
    for peer in args.peer:
        python(peer)
    # A benchmark that is told to stop stops a peer's server too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = folder / "t.duckdb"
        make_table(table, args.rows)
        # In a process of its own: on Linux a child's peak memory begins at its parent's.
        fitting = multiprocessing.get_context("spawn").Process(target=fit, args=(table, folder))
        fitting.start()
        fitting.join()
        if args.plot:
            plot(args.plot, folder, args.rows, tuple(JOINS))
            return
        print(f"{args.rows} rows, {args.runs} runs{'':34} min  median     max")
        for part in args.only or ([] if args.peer else PARTS):
            PARTS[part](table, folder, args.rows, args.runs)
        for peer in args.peer:
            PEERS[peer](table, folder, args.rows, args.runs)


if __name__ == "__main__":
    main()
