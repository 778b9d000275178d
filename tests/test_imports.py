"""Imports point one way (import-linter's contracts in pyproject.toml), and nothing heavy is loaded before its time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import mindsql
import mindsql_engines
import mindsql_grammar

HEAVY = (
    "duckdb", "numpy", "pandas", "polars", "prompt_toolkit", "pyarrow", "pytest", "rich", "scipy", "sklearn", "skops",
    "sqlglot", "cryptography",
)  # fmt: skip


def test_the_three_packages_come_from_one_place(root: Path) -> None:
    places = [Path(str(package.__file__)).parent for package in (mindsql, mindsql_grammar, mindsql_engines)]
    tree = [root / "mindsql", root / "grammar" / "mindsql_grammar", root / "engines" / "mindsql_engines"]
    assert places == tree or len({place.parent for place in places} | {root}) == 2


def test_the_public_names_exist() -> None:
    assert sorted(set(mindsql.__all__)) == sorted(mindsql.__all__)
    assert [name for name in mindsql.__all__ if getattr(mindsql, name, None) is None] == []
    assert set(mindsql._LAZY) <= set(mindsql.__all__)


def test_the_contracts_hold(root: Path, tmp_path: Path) -> None:
    # From an empty folder: it looks for the packages in its working directory first, but the installed are meant.
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--config", str(root / "pyproject.toml")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("code", "needed"),
    [
        ("import mindsql", ()),
        ("import mindsql.engine, mindsql.registry; mindsql.registry.Registry()", ()),
        ("import mindsql.cli; mindsql.cli.main(['--version'])", ()),
        ("import mindsql; mindsql.connect().execute('SELECT 1').fetchall()", ("duckdb",)),
        ("import mindsql.cli; mindsql.cli.main(['-c', 'SELECT 1'])", ("duckdb",)),
        ("import mindsql_grammar; mindsql_grammar.parse('SHOW MODELS')", ("sqlglot",)),
        ("import mindsql; mindsql.connect().execute('SHOW HANDLERS').fetchall()", ("duckdb", "sqlglot")),
        ("import mindsql.testing", ("duckdb", "sqlglot")),
    ],
)
def test_what_is_loaded(code: str, needed: tuple[str, ...]) -> None:
    ask = f"{code}\nimport sys\nprint('loaded:', *sorted(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert set(done.stdout.rpartition("loaded:")[2].split()) == set(needed)
