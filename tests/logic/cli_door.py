"""Owns the command line as a door for the text tests: one script for a file, its answers told apart by markers."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from .engines import ENGINES
from .runner import HERE, Record, read

_MARK = "--- record "
_WRITES = re.compile(r"INSERT|UPDATE|DELETE|MERGE")
"""How many rows these changed is told to people, not to programs."""


def failures(path: Path, folder: Path) -> Iterator[str]:
    """Run a file by `mindsql -f` and tell what is not as expected. Parameters and plans are for other doors."""
    records = [record for record in read(path) if isinstance(record, Record)]
    records = [record for record in records if record.parameters is None and record.kind != "explain"]
    script = folder / f"{path.stem}.sql"
    parts = [
        f"{record.sql.replace('{dir}', str(folder))}\n;\nSELECT '{_MARK}{number}' AS marker;\n"
        for number, record in enumerate(records)
    ]
    script.write_text("".join(parts), encoding="utf-8")
    command = [sys.executable, "-m", "mindsql.cli", "--format", "csv", "-f", str(script)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=_environment(folder), encoding="utf-8"
    )
    stdout, stderr = (
        text.replace("\r\n", "\n").replace(str(folder), "{dir}") for text in (done.stdout, done.stderr)
    )
    if "Traceback" in stderr:
        yield stderr
    answers = re.split(rf"^marker\n{_MARK}\d+\n", stdout, flags=re.M)
    if len(answers) != len(records) + 1:
        yield f"{path.name}: {len(answers) - 1} answers to {len(records)} statements\n{stderr}"
        return
    for record, answer in zip(records, answers[:-1], strict=True):
        if record.words[:1] == ["error"]:
            for line in record.expected:
                if (
                    not line.startswith(("line ", "/", "hint: "))
                    and "<ignore>" not in line
                    and line not in stderr
                ):
                    yield f"{record.place}: no “{line}” in\n{stderr}"
        elif record.kind == "query" and (answer.strip() or not _WRITES.match(record.sql)):
            yield from _compare(record, list(csv.reader(answer.strip("\n").split("\n"))))


def _compare(record: Record, rows: list[list[str]]) -> Iterator[str]:
    names, *found = rows
    wanted = [line.split("\t") for line in record.expected]
    if "names" in record.words and wanted.pop(0) != names:
        yield f"{record.place}: the columns are {names}"
    left, right = [_plain(row) for row in wanted], [_plain(row) for row in found if row]
    if "rowsort" in record.words:
        left, right = sorted(left), sorted(right)
    if left != right:
        yield f"{record.place}: {record.sql}\nexpected {left}\nfound    {right}"


def _plain(row: list[str]) -> list[str]:
    return [_cell(cell) for cell in row]


def _cell(text: str) -> str:
    """CSV has one empty cell for NULL and the empty text, and writes numbers in full and structs without quotes."""
    if text in ("NULL", "(empty)"):
        return ""
    try:
        return f"{float(text):.9g}"
    except ValueError:
        return text.replace("'", "")


def _environment(folder: Path) -> dict[str, str]:
    """The engines of these tests as an installed package: the command line knows no others."""
    package = folder / "toys-1.0.dist-info"
    package.mkdir(exist_ok=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    lines = [f"{name} = logic.engines:{cls.__name__}" for name, cls in ENGINES.items()]
    (package / "entry_points.txt").write_text("[mindsql.engines]\n" + "\n".join(lines) + "\n")
    places = [str(folder), str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places)), "PYTHONIOENCODING": "utf-8"}
