"""The tour: every statement runs, and what it leaves can be opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def test_the_tour_ends_with_a_file_that_opens(run: Any, tmp_path: Path) -> None:
    done = run("demo")
    assert (done.returncode, done.stderr) == (0, "")
    for told in (
        "CREATE MODEL triage",
        "time: ",
        "WHERE radius",
        "JOIN triage",
        "DESCRIBE triage",
        "EVALUATE triage",
    ):
        assert told in done.stdout
    assert "mindsql mindsql-demo.duckdb" in done.stdout
    asked = run("mindsql-demo.duckdb", "-c", "SELECT diagnosis FROM triage WHERE worst_radius = 30")
    assert asked.stdout == "diagnosis\nmalignant\n"


def test_the_tour_never_overwrites(run: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.duckdb").write_text("mine")
    done = run("demo", "--keep", "mine.duckdb")
    assert done.returncode == 1 and "exists already" in done.stderr
    assert (tmp_path / "mine.duckdb").read_text() == "mine"
