"""Feeds a target with bytes that atheris makes, led by which lines they reach.

python tests/fuzz body|query|statement [--seconds 600] [--runs N] [--seed N]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import atheris
import openpyxl  # noqa: F401 - what is not ours is imported before, so that it is not looked into
import pandas  # noqa: F401
import pyarrow.parquet  # noqa: F401
import sqlglot.dialects.duckdb
import sqlglot.optimizer.scope  # noqa: F401

with atheris.instrument_imports(include=["mindsql", "mindsql_grammar"]):
    from targets import SEEDS, TARGETS


def main() -> None:
    """Run until the time is over. Whatever a target lets out ends it, with the bytes in a file `crash-…`."""
    parser = argparse.ArgumentParser(prog="python tests/fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--runs", type=int, default=-1, help="stop after so many, with the same bytes each time")
    parser.add_argument("--seed", type=int, default=1, help="other bytes")
    parser.add_argument("--artifacts", default="", help="the folder of crash-…, with a slash at its end")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(SEEDS[args.target]):
            (Path(folder) / str(number)).write_bytes(seed)
        options = [
            *(f"-max_total_time={args.seconds}", f"-seed={args.seed}", "-timeout=10"),
            *("-max_len=2000", "-rss_limit_mb=3000"),
            *("-print_final_stats=1", f"-runs={args.runs}", f"-artifact_prefix={args.artifacts}"),
        ]
        atheris.Setup([sys.argv[0], *options, folder], TARGETS[args.target])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
