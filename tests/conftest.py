"""Owns which mindsql is tested: the installed one, all three packages from one place.

`python -m pytest` puts the working directory first on the path, and with it the folder `mindsql` of the source
tree, while `mindsql_grammar` and `mindsql_engines` would come from the installed wheel. Unless the installation is
an editable one, the source tree is taken off the path again.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


def _is_editable() -> bool:
    spec = importlib.util.find_spec("mindsql_grammar")
    return spec is not None and spec.origin is not None and Path(spec.origin).is_relative_to(ROOT / "grammar")


if not _is_editable():
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]

# Tests import what they share as `tests.server.loads`, though the source tree is not on the path.
sys.modules.setdefault("tests", ModuleType("tests")).__path__ = [str(ROOT / "tests")]


@pytest.fixture(scope="session")
def root() -> Path:
    """The source tree: documentation and build files lie there."""
    return ROOT


@pytest.fixture(autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's own key and settings."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "config"))
    monkeypatch.delenv("MINDSQL_KEY", raising=False)
