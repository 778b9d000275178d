"""Owns the run: the sides of each case in turn (A B A B …), and the table of ratios.

python -m tests.benchmarks [--rows 1000000] [--runs 5] [--only join]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.data import fit_pipelines, make_table

ROOT = Path(__file__).parents[2]
CASES = [
    # what, ours, by hand, case, goal for time, goal for memory
    ("join linear", "join_ours", "join_hand", "linear", 1.15, 0.7),
    ("join forest", "join_ours", "join_hand", "forest", 1.15, 0.7),
    ("join boosting", "join_ours", "join_hand", "boosting", 1.15, 0.7),
    ("join linear, trained here", "join_native", "join_hand", "linear", 1.15, 0.7),
    ("join forest, trained here", "join_native", "join_hand", "forest", 1.15, 0.7),
    ("join boosting, trained here", "join_native", "join_hand", "boosting", 1.15, 0.7),
    ("one row linear", "row_ours", "row_hand", "linear", 1.5, None),
    ("one row boosting", "row_ours", "row_hand", "boosting", 1.5, None),
    ("plain DuckDB, 100 small", "plain_ours", "plain_hand", "small", 1.10, None),
    ("plain DuckDB, few large", "plain_ours", "plain_hand", "large", 1.02, None),
]


def side(name: str, case: str, table: Path, folder: Path) -> dict[str, float]:
    """One run of one side in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.sides", name, case, str(table), str(folder)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{name} {case} failed:\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def process_seconds(command: list[str]) -> float:
    """Seconds of a whole process."""
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begin


def show(what: str, ratios: list[float], goal: float | None, note: str = "") -> None:
    """One line of the table."""
    middle = statistics.median(ratios)
    verdict = "" if goal is None else ("  ok" if middle <= goal else f"  over the goal of {goal}")
    print(f"{what:42} {min(ratios):7.2f} {middle:7.2f} {max(ratios):7.2f}{verdict}  {note}", flush=True)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", default="", help="run the cases whose name holds this text")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = folder / "t.duckdb"
        make_table(table, args.rows)
        fit_pipelines(table, folder)
        print(f"{args.rows} rows, {args.runs} runs; ratio ours / by hand{'':10} min  median     max")
        for what, ours, hand, case, goal, memory_goal in CASES:
            if args.only not in what:
                continue
            pairs = [
                (side(ours, case, table, folder), side(hand, case, table, folder)) for _ in range(args.runs)
            ]
            ours_ms, hand_ms = (
                1e3 * statistics.median(pair[index]["seconds"] for pair in pairs) for index in (0, 1)
            )
            note = f"{ours_ms:.2f} ms, {hand_ms:.2f} ms"
            show(f"{what}: time", [a["seconds"] / b["seconds"] for a, b in pairs], goal, note)
            if memory_goal is not None:
                note = f"{pairs[0][0]['peak_mb']:.0f} MB, {pairs[0][1]['peak_mb']:.0f} MB"
                show(
                    f"{what}: peak memory", [a["peak_mb"] / b["peak_mb"] for a, b in pairs], memory_goal, note
                )
        if args.only in "memory, ten times the rows":
            large = folder / "large.duckdb"
            make_table(large, 10 * args.rows)
            few, many = side("join_ours", "linear", table, folder), side("join_ours", "linear", large, folder)
            note = (
                f"{many['peak_mb']:.0f} MB at {10 * args.rows} rows, {few['peak_mb']:.0f} MB at {args.rows}"
            )
            show("memory, ten times the rows", [many["peak_mb"] / few["peak_mb"]], 1.3, note)
        if args.only in "start of the command line":
            raw = [sys.executable, "-c", "import duckdb; duckdb.sql('select 1').fetchall()"]
            ours_command = [str(Path(sys.executable).with_name("mindsql")), "-c", "SELECT 1"]
            ratios = [process_seconds(ours_command) / process_seconds(raw) for _ in range(3 * args.runs)]
            show("start of the command line", ratios, 1.5)


if __name__ == "__main__":
    main()
