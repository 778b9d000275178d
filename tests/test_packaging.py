"""What is built: the sdist, the wheel from that sdist, and what they hold and declare."""

from __future__ import annotations

import ast
import email
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from mindsql.registry import Registry

PACKAGES = {"mindsql", "mindsql_grammar", "mindsql_engines", "mindsql_sources"}


@pytest.fixture(scope="session")
def built(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, and the wheel that is built from it."""
    out = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out)]
    subprocess.run([*build, "--sdist", str(root)], check=True, capture_output=True, cwd=out)
    (sdist,) = out.glob("*.tar.gz")
    with tarfile.open(sdist) as tar:
        tar.extractall(out / "tree", filter="data")
    (tree,) = (out / "tree").iterdir()
    subprocess.run([*build, "--wheel", str(tree)], check=True, capture_output=True, cwd=out)
    (wheel,) = out.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="session")
def project(root: Path) -> dict[str, Any]:
    """The table [project] of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def test_the_wheel_has_the_packages_and_no_more(built: tuple[Path, Path], root: Path) -> None:
    names = zipfile.ZipFile(built[1]).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES
    assert len(tops) == len(PACKAGES) + 1
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    expected = {
        path.relative_to(root / parent).as_posix()
        for parent, package in (
            *((".", "mindsql"), ("grammar", "mindsql_grammar")),
            *(("engines", "mindsql_engines"), ("engines", "mindsql_sources")),
        )
        for path in (root / parent / package).rglob("*.py")
    }
    assert {name for name in names if name.endswith(".py")} == expected
    known = (".py", "/py.typed", "/README.md")
    strange = [name for name in names if not name.endswith(known) and ".dist-info/" not in name]
    assert strange == []


def test_the_sdist_has_what_the_suite_needs(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as tar:
        names = {name.split("/", 1)[1] for name in tar.getnames() if "/" in name}
    assert {"pyproject.toml", "README.md", "tests/conftest.py", "grammar/mindsql.ebnf"} <= names
    assert not [name for name in names if re.search(r"__pycache__|\.(duckdb|wal|pyc|whl)$", name)]


def test_the_metadata(built: tuple[Path, Path], project: dict[str, Any]) -> None:
    wheel = zipfile.ZipFile(built[1])
    (info,) = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    metadata = email.message_from_bytes(wheel.read(f"{info}/METADATA"))
    assert (metadata["Name"], metadata["Version"]) == ("mindsql-server", project["version"])
    entry_points = wheel.read(f"{info}/entry_points.txt").decode()
    for line in (
        "mindsql = mindsql.cli:main",
        "sklearn = mindsql_engines.sklearn:SklearnEngine",
        "mindsql = mindsql_grammar.dialect:MindSQL",
    ):
        assert line in entry_points


def test_the_version_is_said_once(project: dict[str, Any]) -> None:
    import mindsql

    assert mindsql.__version__ == project["version"]


IMPORT_NAMES = {
    "swagger-ui-bundle": "swagger_ui_bundle",
    "scikit-learn": "sklearn",
    "pytz": "",
    "httptools": "",
    "mysql-mimic": "mysql_mimic",
    "prometheus-client": "prometheus_client",
    "python-multipart": "python_multipart",
    "pyyaml": "yaml",
    "protobuf": "google",
    "pillow": "PIL",
}
"""Distribution → import name where they differ; pytz is what DuckDB imports, httptools uvicorn."""
OPTIONAL = {"pytest", "polars", "numpy", "scipy", "joblib", "IPython", "urllib3"}
"""Imported late: by `mindsql.testing`, by `Result.pl()`, or brought by scikit-learn or requests."""


def test_dependencies_are_those_that_are_imported(root: Path, project: dict[str, Any]) -> None:
    server = root / "mindsql" / "server"
    folders = [root / "mindsql", root / "grammar/mindsql_grammar", root / "engines/mindsql_engines"]
    files = {path for folder in folders for path in folder.rglob("*.py")}
    needed = imported(path for path in files if not path.is_relative_to(server))
    declared = import_names(project["dependencies"])
    assert declared - needed == set(), "declared, but imported nowhere"
    optional = project["optional-dependencies"]
    extras = import_names([*optional["auto"], *optional["cluster"]])
    assert needed - declared - extras - OPTIONAL - in_environments() == set(), "imported, but not declared"
    serving = imported(server.rglob("*.py"))
    extra = import_names(project["optional-dependencies"]["server"])
    assert extra - serving == set(), "declared, but imported nowhere in the server"
    assert serving - extra - declared - OPTIONAL == set(), "imported by the server, but not in its extra"


def in_environments() -> set[str]:
    """What engines import in environments of their own: what these require, and what that brings along."""
    classes = [Registry().handler_class(handler.name) for handler in Registry()]
    required = [text for cls in classes if cls.environment is not None for text in cls.environment.requires]
    return import_names(required) | {"huggingface_hub", "type_infer"}


def imported(files: Iterable[Path]) -> set[str]:
    """What files import that is neither ours nor Python's."""
    found: set[str] = set()
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found - PACKAGES - set(sys.stdlib_module_names)


def import_names(requirements: Iterable[str]) -> set[str]:
    """The import names of declared distributions."""
    names = [re.split(r"[<>=~ \[]", text)[0] for text in requirements]
    return {IMPORT_NAMES.get(name, name) for name in names} - {""}
