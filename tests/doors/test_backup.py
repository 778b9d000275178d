"""Copies of a database that another process is writing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import mindsql
from mindsql.backup import backup
from mindsql.errors import CatalogError

WRITER = """
import sys, mindsql
con = mindsql.connect(sys.argv[1])
con.execute("CREATE TABLE a (n INTEGER); CREATE TABLE b (n INTEGER)")
con.execute("CREATE TABLE t AS SELECT i AS x, 2 * i AS y FROM range(50) r(i)")
con.execute("CREATE MODEL m FROM (SELECT * FROM t) PREDICT y USING estimator = 'LinearRegression'")
n = 0
while True:
    n += 1
    con.execute("BEGIN; INSERT INTO a VALUES (?)", [n])
    con.execute("INSERT INTO b SELECT n FROM a WHERE n = ?", [n]); con.execute("COMMIT")
    if n % 7 == 0:
        con.execute("CHECKPOINT")
    print(n, flush=True)
"""


def test_copies_of_a_database_that_is_written(tmp_path: Path) -> None:
    file = tmp_path / "shop.duckdb"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(file)], stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout is not None
        for number in range(6):
            written = int(writer.stdout.readline())
            copy = backup(str(file), str(tmp_path / f"copy{number}.duckdb"))
            with mindsql.connect(copy) as con:
                counts = con.execute("SELECT (SELECT max(n) FROM a), (SELECT count(*) FROM a), max(n), count(*) FROM b")
                (top, rows, other_top, other_rows) = counts.fetchone() or ()
                assert top == rows == other_top == other_rows >= written
                assert con.execute("SELECT round(y) FROM m WHERE x = 4").fetchone() == (8,)
    finally:
        writer.kill()
        writer.wait()
        if writer.stdout is not None:
            writer.stdout.close()
    left = {path.name for path in tmp_path.iterdir()} - {"shop.duckdb", "shop.duckdb.wal"}
    assert left == {f"copy{number}.duckdb" for number in range(6)}


def test_what_cannot_be_backed_up(tmp_path: Path) -> None:
    file = tmp_path / "shop.duckdb"
    with pytest.raises(CatalogError, match="there is no database"):
        backup(str(file), str(tmp_path / "copy.duckdb"))
    mindsql.connect(str(file)).close()
    (tmp_path / "copies").mkdir()
    command = [sys.executable, "-m", "mindsql.cli", "backup", str(file), str(tmp_path / "copies")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and (tmp_path / "copies" / "shop.duckdb").is_file(), done.stderr
    with pytest.raises(CatalogError, match="exists already"):
        backup(str(file), str(tmp_path / "copies"))
