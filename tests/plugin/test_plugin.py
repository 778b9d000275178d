"""An engine and a source from packages of their own are installed, found by their entry points and used by SQL."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the packages are installed: installed for real, by pip, but beside ours."""
    target = tmp_path_factory.mktemp("plugin")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    done = subprocess.run(
        [*pip, "--target", str(target), str(HERE / "mindsql-medians"), str(HERE / "mindsql-ledger")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return {**os.environ, "PYTHONPATH": str(target), "PYTHONWARNINGS": "error"}


def run(python: dict[str, str], cwd: Path, code: str) -> str:
    """What a fresh process prints."""
    done = subprocess.run([sys.executable, "-c", code], env=python, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


SQL = """
CREATE TABLE flats AS
SELECT * FROM (VALUES ('hill', 900), ('hill', 1000), ('hill', 1500), ('port', 700)) f(place, rent);
CREATE MODEL rents FROM (SELECT * FROM flats) PREDICT rent USING engine = 'medians', by = 'Place';
CREATE TABLE answers AS
SELECT n.place, m.rent FROM (VALUES ('port'), ('hill'), ('moon')) AS n(place) JOIN rents AS m;
SELECT place, rent FROM answers ORDER BY ALL
"""


def test_sql_finds_it_by_its_entry_point(python: dict[str, str], tmp_path: Path) -> None:
    code = f"import mindsql; con = mindsql.connect('shop.duckdb'); print(con.execute('''{SQL}''').fetchall())"
    assert run(python, tmp_path, code) == "[('hill', 1000.0), ('moon', 950.0), ('port', 700.0)]\n"
    again = "import mindsql; con = mindsql.connect('shop.duckdb', read_only=True); "
    asked = again + "print(con.execute('''SELECT rent FROM rents WHERE place = 'hill' ''').fetchall())"
    assert run(python, tmp_path, asked) == "[(1000.0,)]\n"
    described = again + "print(con.execute('DESCRIBE rents.medians').fetchall())"
    assert run(python, tmp_path, described) == "[('hill', 1000.0), ('port', 700.0)]\n"
    listed = "SELECT name, title FROM information_schema.handlers WHERE name = 'medians'"
    shown = run(python, tmp_path, f'import mindsql; print(mindsql.connect().execute("{listed}").fetchall())')
    assert shown == "[('medians', 'Medians')]\n"


def test_it_passes_the_suite(python: dict[str, str], tmp_path: Path) -> None:
    code = (
        "from mindsql_medians import MediansEngine; from mindsql.testing import check_engine, checks_for; "
        "check_engine(MediansEngine, options={'by': 'place'}); print(len(checks_for(MediansEngine)) > 15)"
    )
    assert run(python, tmp_path, code) == "True\n"


def test_without_the_package_the_model_says_what_is_missing(python: dict[str, str], tmp_path: Path) -> None:
    run(python, tmp_path, f"import mindsql; mindsql.connect('shop.duckdb').execute('''{SQL}''')")
    asked = (
        "import mindsql\ntry: mindsql.connect('shop.duckdb').execute(\"SELECT rent FROM rents WHERE place = 'x'\")\n"
        "except mindsql.UnknownNameError as error: print(error.message)"
    )
    bare = {name: value for name, value in python.items() if name != "PYTHONPATH"}
    assert run(bare, tmp_path, asked) == 'unknown handler "medians"\n'


def test_a_source_of_its_own(python: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("one\n\nthree\n")
    code = (
        "import mindsql; from mindsql.testing import check_source; from mindsql_ledger import Ledger; "
        "check_source(Ledger, {'folder': '.'}); con = mindsql.connect(); "
        "con.execute('CREATE DATABASE l ENGINE = \\'ledger\\', PARAMETERS = {\\'folder\\': \\'.\\'}'); "
        "print(con.execute('SELECT number FROM l.lines WHERE line IS NULL').fetchall())"
    )
    assert run(python, tmp_path, code) == "[(2,)]\n"
