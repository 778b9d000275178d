"""Files of older releases open and answer as they did; what is newer, or cannot be brought along, is refused whole."""

from __future__ import annotations

import lzma
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

import mindsql
from mindsql import migrations
from mindsql.catalog import FORMAT, Catalog
from mindsql.testing.toy import ToyEngine

FORMAT_1 = Path(__file__).parent / "files" / "format_1.duckdb.xz"
"""Written by 0.1.0: models of three engines, two versions of one, a model with kept answers in a project of its own, a
view with a model, a source and two tokens."""

ANSWERS = {
    "SELECT round(sum(rent), 4) FROM scored": [(39480.0,)],
    "SELECT round(rent, 6) FROM line WHERE sqft = 50 AND location = 'good'": [(250.0,)],
    "SELECT t.sold FROM (SELECT 50 AS sqft, 'good' AS location) AS d JOIN tree AS t": [(False,)],
    "SELECT y FROM lab.toyed WHERE sqft = 50 AND location = 'good'": [(108.0,)],
    "SELECT name, version, active FROM information_schema.models WHERE name IN ('tree', 'toyed') ORDER BY ALL": [
        ("toyed", 1, True),
        ("tree", 1, False),
        ("tree", 2, True),
    ],
    "SELECT name FROM information_schema.databases WHERE type = 'data' AND engine = 'files'": [("here",)],
}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "shop.duckdb"
    path.write_bytes(lzma.decompress(FORMAT_1.read_bytes()))
    return path


def check_answers(con: mindsql.Connection) -> None:
    con.register_engine("toy", ToyEngine)
    for sql, rows in ANSWERS.items():
        assert con.execute(sql).fetchall() == rows, sql


def format_of(path: Path) -> list[tuple[str]]:
    with duckdb.connect(str(path), read_only=True) as raw:
        return raw.execute("SELECT value FROM mindsql._meta WHERE key = 'format'").fetchall()


def test_an_older_file_answers_as_it_did(old: Path) -> None:
    for _ in range(2):  # and once more when it is there
        with mindsql.connect(str(old)) as con:
            check_answers(con)
    assert format_of(old) == [(str(FORMAT),)]
    with mindsql.connect(str(old)) as con:
        con.execute("RETRAIN tree")
        con.execute("DROP MODEL lab.toyed")
        con.execute("CREATE MODEL again FROM (SELECT sqft, rent FROM flats) PREDICT rent USING estimator = 'Ridge'")
        assert con.execute("SELECT max(version) FROM models_versions WHERE name = 'tree'").fetchone() == (3,)
    listed = [sys.executable, "-m", "mindsql.cli", "token", "list", str(old)]
    assert {"ann", "boss"} <= set(subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split())


def test_a_file_that_is_only_read_stays_as_it_is(old: Path) -> None:
    before = old.read_bytes()
    with mindsql.connect(str(old), read_only=True) as con:
        check_answers(con)
    assert old.read_bytes() == before


@pytest.mark.parametrize(
    "damage",
    [
        "DROP TABLE mindsql._answers",
        "DROP TABLE mindsql._tokens",
        "ALTER TABLE mindsql._versions DROP COLUMN owner",
        "DROP INDEX mindsql._models_once",
    ],
)
def test_what_an_even_older_file_lacks_is_made(old: Path, damage: str) -> None:
    with duckdb.connect(str(old)) as raw:
        raw.execute(damage)
    with mindsql.connect(str(old)) as con:
        check_answers(con)
        con.execute("RETRAIN line")


def test_a_new_file_has_the_present_format(tmp_path: Path) -> None:
    path = tmp_path / "new.duckdb"
    with mindsql.connect(str(path)) as con:
        con.execute("CREATE PROJECT p")
    assert format_of(path) == [(str(FORMAT),)]


@pytest.mark.parametrize("read_only", [False, True])
def test_a_newer_file_is_refused(old: Path, read_only: bool) -> None:
    mindsql.connect(str(old)).close()
    with duckdb.connect(str(old)) as raw:
        raw.execute("UPDATE mindsql._meta SET value = '99'")
    before = old.read_bytes()
    with pytest.raises(mindsql.CatalogError, match="was written by a newer release: its catalog has the format 99"):
        mindsql.connect(str(old), read_only=read_only)
    assert old.read_bytes() == before


def test_a_step_that_fails_leaves_the_file_as_it_was(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(catalog: Catalog) -> None:
        catalog.make("_meta")
        catalog.raw.execute("DROP TABLE mindsql._answers")
        raise mindsql.CatalogError("no room")

    monkeypatch.setattr(migrations, "STEPS", (fails,))
    with pytest.raises(mindsql.CatalogError, match=r"from the format 1 to \d+: no room") as caught:
        mindsql.connect(str(old))
    assert "the file is unchanged" in str(caught.value.hint)
    monkeypatch.undo()
    with mindsql.connect(str(old)) as con:
        check_answers(con)


def test_every_format_has_its_step() -> None:
    assert len(migrations.STEPS) == FORMAT - 1
