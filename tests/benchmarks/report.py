"""Owns how sides are run in turn, and how their ratios are printed and drawn."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.data import make_table

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Side:
    """One run of one side."""

    seconds: float
    peak_mb: float


def run(
    sides: Sequence[str],
    case: str,
    table: Path,
    folder: Path,
    runs: int,
    last: Sequence[str] | None = None,
    module: str = "tests.benchmarks.sides",
) -> list[list[Side]]:
    """Run the sides in turn, each in a fresh process: those of a module, the last by a command of its own if it has
    one. For each side its runs, in order."""
    command = (sys.executable, "-m", module)
    commands = [command] * (len(sides) - 1) + [last or command]
    found: list[list[Side]] = [[] for _ in sides]
    for _ in range(runs):
        for index, name in enumerate(sides):
            done = subprocess.run(
                [*commands[index], name, case, str(table), str(folder)],
                capture_output=True,
                text=True,
                cwd=_ROOT,
                check=False,
            )
            if done.returncode:
                raise SystemExit(f"{name} {case} failed:\n{done.stderr}")
            found[index].append(Side(**json.loads(done.stdout.strip().splitlines()[-1])))
    return found


def ratios(one: Sequence[Side], other: Sequence[Side], figure: str = "seconds") -> list[float]:
    """The ratios of a figure, run by run."""
    return [getattr(a, figure) / getattr(b, figure) for a, b in zip(one, other, strict=True)]


def show(what: str, values: Sequence[float], goal: float | None, note: str = "") -> None:
    """One line of the table: minimum, median, maximum, and whether the median reaches the goal."""
    middle = statistics.median(values)
    verdict = "" if goal is None else f"goal {goal}: " + ("reached" if middle <= goal else "MISSED")
    figures = f"{min(values):7.2f} {middle:7.2f} {max(values):7.2f}"
    print(f"{what:50} {figures}  {verdict:20} {note}".rstrip(), flush=True)


def plot(file: Path, folder: Path, most: int, cases: Sequence[str]) -> None:
    """Draw time and peak memory against rows, ours and by hand, one curve for each case."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    sizes = [size for size in (10_000, 100_000, 1_000_000, 10_000_000) if size <= most]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 5))
    found: dict[tuple[str, str], list[Side]] = {}
    for size in sizes:
        table = folder / f"t{size}.duckdb"
        make_table(table, size)
        for case in cases:
            (ours,), (hand,) = run(("join_ours", "join_hand"), case, table, folder, 1)
            found.setdefault((case, "ours"), []).append(ours)
            found.setdefault((case, "by hand"), []).append(hand)
            print(f"{size:>9} rows, {case}: {ours.seconds:.3f} s, by hand {hand.seconds:.3f} s", flush=True)
        table.unlink()
    colours = dict(zip(cases, pyplot.rcParams["axes.prop_cycle"].by_key()["color"], strict=False))
    for (case, who), sides in found.items():
        style = "-" if who == "ours" else "--"
        left.plot(sizes, [s.seconds for s in sides], style, color=colours[case], label=f"{case}, {who}")
        right.plot(sizes, [s.peak_mb for s in sides], style, color=colours[case])
    for axes, title in ((left, "seconds"), (right, "peak memory, MB")):
        axes.set(xscale="log", yscale="log", xlabel="rows", title=title)
    left.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(file, dpi=120)
