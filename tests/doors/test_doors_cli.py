"""The command line: streams, order, exit statuses, script positions, what is imported."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ENDLESS = "SELECT count(*) FROM range(1000000000000) t(i) WHERE hash(i) = 7"


def test_answers_go_to_stdout_and_the_rest_to_stderr(run: Any) -> None:
    done = run("--echo", "--timer", "-c", "SELECT 1 AS a; CREATE TABLE t (x INTEGER); SELEC 2")
    assert done.stdout == "a\n1\n"
    assert "SELECT 1 AS a;\ntime: " in done.stderr and "error [" in done.stderr
    assert done.returncode == 1


def test_sources_run_in_the_order_given(run: Any, tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_text("\ufeffINSERT INTO t VALUES ('a.sql');", encoding="utf-8")
    done = run(
        *("shop.duckdb", "-c", "CREATE TABLE t (x VARCHAR)", "-f", "a.sql"),
        *("-c", "INSERT INTO t VALUES ('-c')", "-f", "-"),
        stdin="FROM t",
    )
    assert (done.stdout, done.stderr, done.returncode) == ("x\na.sql\n-c\n", "", 0)
    assert run("shop.duckdb", "--format", "jsonl", stdin="FROM t LIMIT 1").stdout == '{"x": "a.sql"}\n'


def test_a_script_error_names_file_line_and_column(run: Any, tmp_path: Path) -> None:
    (tmp_path / "script.sql").write_text(
        "SELECT 1 AS one;\n\n-- two\n  SELECT 2 FROM nowhere;\nSELECT 3 AS three;\n"
    )
    done = run("-f", "script.sql")
    assert done.stdout == "one\n1\nthree\n3\n"
    place, _, rest = done.stderr.partition(": error [")
    assert place.startswith("script.sql:4:") and "nowhere" in rest
    assert done.returncode == 1
    assert run("--bail", "-f", "script.sql").stdout == "one\n1\n"


def test_a_caret_of_our_own_grammar_points_into_the_script(run: Any, tmp_path: Path) -> None:
    (tmp_path / "script.sql").write_text("SELECT 1;\n  CREATE MODLE m PREDICT y;\n")
    error = run("-f", "script.sql").stderr
    assert error.startswith("script.sql:2:10: error [STATEMENT]: ")
    line, caret = error.splitlines()[1:3]
    assert line == "line 2, column 10:   CREATE MODLE m PREDICT y;"
    assert caret.index("^") == line.index("MODLE")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["-c", "SELECT 1"], 0),
        (["-c", "SELECT x"], 1),
        (["-c", "SELECT x; SELECT 1"], 1),
        (["--nonsense"], 2),
        (["--format", "xml"], 2),
        (["--read-only", "-c", "SELECT 1"], 2),
        (["-f", "missing.sql"], 2),
        (["-c", "CREATE DATABASE d ENGINE = 'duckdb', PARAMETERS = {'path': 'no/no.duckdb'}; FROM d.t"], 3),
    ],
)
def test_exit_status(arguments: list[str], status: int, run: Any) -> None:
    done = run(*arguments)
    assert done.returncode == status, done.stderr
    assert bool(done.stderr) == bool(status)


def test_ctrl_c_stops_a_batch(command: list[str], environment: dict[str, str]) -> None:
    process = subprocess.Popen(
        [*command, "--echo", "-c", f"{ENDLESS}; SELECT 1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stderr is not None
    assert process.stderr.readline() == ENDLESS + ";\n"
    time.sleep(0.5)  # into the query, most probably
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert (out, process.returncode) == ("", 130)
    assert error.startswith("error [CANCELLED]")


def test_a_reader_that_leaves_is_no_error(command: list[str], environment: dict[str, str]) -> None:
    process = subprocess.Popen(
        [*command, "-c", "FROM range(10000000)"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == b"range\n"
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=60) == 141


def test_help_and_version(run: Any) -> None:
    shown = run("--help").stdout
    assert "mindsql shop.duckdb -c" in shown and "exit status" in shown
    assert run("--version").stdout.startswith("mindsql ")


def loaded(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules, file=sys.stderr)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.split())


def test_import_hygiene() -> None:
    heavy = {"pandas", "sklearn", "sqlglot", "pyarrow", "numpy"}
    assert not loaded("import mindsql") & heavy
    select = "from mindsql.cli import main; main(['-c', 'SELECT 1'])"
    assert not loaded(select) & (heavy | {"rich", "prompt_toolkit", "pygments", "click"})
