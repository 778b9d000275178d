"""Files as a source: a folder, one file, a pattern, partitions and workbooks."""

from __future__ import annotations

from pathlib import Path

import duckdb
import openpyxl
import pytest

import mindsql
from mindsql.errors import MindSQLError, SourceError, StatementError, UnknownNameError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "flats.csv").write_text("id,rent\n1,10.5\n2,20\n")
    for month in ("01", "02"):
        (tmp_path / f"sales-{month}.csv").write_text(f"id,month\n{month},2024-{month}-01\n")
    duckdb.sql("SELECT i AS id, i % 2 AS odd FROM range(10) r(i)").write_parquet(
        str(tmp_path / "parts"), partition_by=["odd"]
    )
    book = openpyxl.Workbook()
    assert book.active is not None
    for row in (("id", "name", "mixed"), (1, "one", 5), (2, None, "x")):
        book.active.append(row)
    book.create_sheet("Second").append(("a",))
    book["Second"].append((7,))
    book.save(tmp_path / "book.xlsx")
    (tmp_path / "notes.txt").write_text("no table")
    return tmp_path


def create(con: mindsql.Connection, path: Path) -> None:
    con.execute(f"CREATE OR REPLACE DATABASE f WITH ENGINE = 'files', PARAMETERS = {{'path': '{path}'}}")


def tables(con: mindsql.Connection) -> list[str]:
    return [row[0] for row in con.execute("SHOW TABLES FROM f").fetchall()]


def test_a_folder(con: mindsql.Connection, folder: Path) -> None:
    create(con, folder)
    assert tables(con) == ["book", "flats", "parts", "sales-01", "sales-02"]
    assert con.execute("SELECT sum(rent) FROM f.flats").fetchone() == (30.5,)
    assert con.execute("SELECT odd, count(*) FROM f.parts GROUP BY odd ORDER BY odd").fetchall() == [(0, 5), (1, 5)]
    assert con.execute("FROM f.book").fetchall() == [(1, "one", "5"), (2, None, "x")]
    assert con.execute("SELECT a FROM f.book.second").fetchall() == [(7,)]
    assert con.execute("SELECT * FROM f (SELECT name FROM book JOIN flats USING (id) ORDER BY id)").fetchall() == [
        ("one",), (None,)
    ]  # fmt: skip
    with pytest.raises(UnknownNameError, match="there are: book"):
        con.execute("FROM f.notes")
    with pytest.raises(UnknownNameError, match="Second, Sheet"):
        con.execute("FROM f.book.third")
    for text in ("INSERT INTO f.flats SELECT 1, 2", "CREATE TABLE f.other AS SELECT 1 AS a", "DROP TABLE f.flats"):
        with pytest.raises(StatementError, match="can only be read"):
            con.execute(text)


def test_one_file_and_a_pattern(con: mindsql.Connection, folder: Path) -> None:
    create(con, folder / "flats.csv")
    assert tables(con) == ["flats"]
    create(con, folder / "book.xlsx")
    assert con.execute("SELECT count(*) FROM f.book").fetchone() == (2,)
    create(con, folder / "sales-*.csv")
    assert tables(con) == ["sales"]
    assert con.execute("SELECT count(*) FROM f.sales").fetchone() == (2,)
    (folder / "sales-03.csv").write_text("id,month\n3,2024-03-01\n")
    assert con.execute("SELECT count(*) FROM f.sales").fetchone() == (3,)


@pytest.mark.parametrize("name", ["nowhere", "gone.csv", "notes.txt", "gone-*.csv", "*.*"])
def test_what_cannot_be_read(con: mindsql.Connection, folder: Path, name: str) -> None:
    with pytest.raises(SourceError):
        create(con, folder / name)


def test_a_file_that_is_no_workbook(con: mindsql.Connection, folder: Path) -> None:
    (folder / "bad.xlsx").write_text("not one")
    create(con, folder)
    with pytest.raises(MindSQLError, match=r"the workbook bad.xlsx cannot be read"):
        con.execute("FROM f.bad")
