"""DuckDB's errors leave as ours: of the right class, without DuckDB's own frame around them, at their place."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mindsql import database
from mindsql.database import Database
from mindsql.errors import CatalogError, DataError, MindSQLError, StatementError, UnknownNameError


@pytest.fixture
def raw() -> Iterator[database.DuckDBConnection]:
    opened = Database(":memory:", read_only=False)
    yield opened.cursor()
    opened.close()


@pytest.mark.parametrize(
    ("sql", "kind", "culprit"),
    [
        ("SELEC 1", StatementError, "SELEC"),
        ("SELECT 1 FROM nowhere", UnknownNameError, "nowhere"),
        ("SELECT a,\n  abss(b)\nFROM (SELECT 1 AS a, 2 AS b)", UnknownNameError, "abss"),
        ("SELECT b FROM (SELECT 1 AS a)", StatementError, "b"),
        ("SELECT 'x'::INTEGER", DataError, None),
        ("SELECT 9223372036854775807 + 1", DataError, None),
        ("COPY (SELECT 1) TO '/no/such/folder/file.csv'", CatalogError, None),
        ("CREATE TABLE t (i INTEGER); CREATE TABLE t (i INTEGER)", CatalogError, None),
    ],
)
def test_translation(raw: database.DuckDBConnection, sql: str, kind: type[MindSQLError], culprit: str | None) -> None:
    with pytest.raises(MindSQLError) as caught:
        database.run(raw, sql)
    error = caught.value
    assert type(error) is kind
    assert " Error: " not in error.message and "LINE 1" not in error.message
    assert error.__cause__ is not None
    if culprit is not None:
        assert error.span is not None and error.text == sql
        assert sql[slice(*error.span)] == culprit


def test_a_file_that_another_process_has_open(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    opened = Database(str(path), read_only=False)
    code = f"import mindsql\ntry: mindsql.connect({str(path)!r})\nexcept mindsql.CatalogError as e: print(e.message)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    opened.close()
    assert re.fullmatch(
        rf"the database file is open in another process: .*python.*, process {os.getpid()}; "
        "only one may have it open for writing\n",
        done.stdout,
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"SQLite format 3\0" + bytes(100), "is a database of SQLite"),
        (b"no database at all" * 100, "not a valid"),
        (None, "damaged"),
    ],
)
def test_a_file_that_is_no_database(content: bytes | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    if content is None:
        Database(str(path), read_only=False).close()
        whole = bytearray(path.read_bytes())
        whole[20] ^= 255
        content = bytes(whole)
    path.write_bytes(content)
    with pytest.raises(CatalogError, match=said):
        Database(str(path), read_only=False)
    assert path.read_bytes() == content


def test_names_and_texts_are_quoted(raw: database.DuckDBConnection) -> None:
    name, text = 'a "b"', "it's"
    sql = f"SELECT {database.literal(text)} AS {database.quote(name)}"
    assert database.rows(raw, sql) == [(text,)]
    assert database.describe(raw, sql).names == [name]
