"""Environments of engines: made once, found again, listed and removed; and who may have one made."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hostile import Hostile

import mindsql
from mindsql import cli, demo
from mindsql.engine import Environment
from mindsql.errors import AccessError, EngineError, EngineMissingError
from mindsql.isolation import environments
from mindsql.settings import Settings

if os.name != "posix":
    pytest.skip("workers need Linux or macOS", allow_module_level=True)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINDSQL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_an_engine_in_an_environment_of_its_own(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mindsql.connect() as con:
        con.register_engine("hostile", Hostile)
        con.execute("CREATE TABLE t AS SELECT i AS a, 2 * i AS y FROM range(20) r(i)")
        con.execute("CREATE ML_ENGINE h FROM hostile USING requirements = ['six==1.16.0']")
        (folder,) = (home / "environments").iterdir()
        assert "six==1.16.0" in (folder / "requirements.lock").read_text()
        con.execute("CREATE MODEL m FROM (SELECT * FROM t) PREDICT y USING engine = 'h', how = 'nothing'")
        assert con.execute("SELECT count(DISTINCT m.y) FROM t JOIN m").fetchall() == [(1,)]
        con.execute("DROP MODEL m")
        con.execute("DROP ML_ENGINE h")
        con.execute("CREATE ML_ENGINE again FROM hostile USING requirements = ['six==1.16.0']")
        assert list((home / "environments").iterdir()) == [folder], "it is made once"
    assert cli.main(["engine", "list"]) == 0
    listed = capsys.readouterr().out
    assert "ludwig\tto be installed: mindsql engine install ludwig\n" in listed and f"{folder}\n" in listed
    assert cli.main(["engine", "remove", "hostile"]) == 0
    assert list((home / "environments").iterdir()) == []
    assert cli.main(["engine", "remove", "hostile"]) == 1
    assert 'unknown environment "hostile"' in capsys.readouterr().err


def test_what_cannot_be_made_leaves_nothing(home: Path) -> None:
    with pytest.raises(EngineError) as caught:
        environments.install(Environment(requires=("./nowhere/at-all",)), "x")
    assert "could not make the environment" in caught.value.message and caught.value.hint
    assert list((home / "environments").iterdir()) == []
    with pytest.raises(EngineMissingError) as missing:
        environments.install(Environment(python="==3.99.*"), "x")
    assert "no Python ==3.99.* was found on this machine" in missing.value.message
    with pytest.raises(EngineError) as wrong:
        environments.install(Environment(python="three"), "x")
    assert 'python = "three" is no version' in wrong.value.message


def test_an_environment_that_is_not_there_is_said_how_to_make() -> None:
    with mindsql.connect() as con:
        con.execute("CREATE TABLE t AS SELECT i AS a, 2 * i AS y FROM range(20) r(i)")
        with pytest.raises(EngineMissingError) as caught:
            con.execute("CREATE MODEL m FROM (SELECT * FROM t) PREDICT y USING engine = 'ludwig'")
        assert caught.value.message == 'the environment of the engine "ludwig" is not installed'
        assert caught.value.hint == "mindsql engine install ludwig, on the machine of the database"
        query = "SELECT status FROM information_schema.handlers WHERE name IN ('ludwig', 'sklearn') ORDER BY name"
        assert con.execute(query).fetchall() == [("to be installed: mindsql engine install ludwig",), ("ready",)]


def test_only_the_owner_has_one_made(home: Path) -> None:
    with mindsql.connect() as con:
        con._session.settings = Settings(trusted=False)
        for option in ("requirements = 'six'", f"python = '{sys.executable}'"):
            with pytest.raises(AccessError) as caught:
                con.execute(f"CREATE ML_ENGINE x FROM sklearn USING {option}")
            assert "starts programs on this machine" in caught.value.message
        with pytest.raises(EngineMissingError):
            con.execute("CREATE ML_ENGINE x FROM ludwig")
    assert not home.exists()


def test_an_environment_of_the_users_own_is_taken_as_it_is(home: Path) -> None:
    with mindsql.connect() as con:
        con.register_engine("hostile", Hostile)
        con.execute("CREATE TABLE t AS SELECT i AS a, 2 * i AS y FROM range(20) r(i)")
        con.execute(f"CREATE ML_ENGINE h FROM hostile USING python = '{sys.executable}'")
        con.execute("CREATE MODEL m FROM (SELECT * FROM t) PREDICT y USING engine = 'h', how = 'nothing'")
        assert con.execute("SELECT runs_in FROM information_schema.loaded_models").fetchall() == []
        con.execute("SELECT y FROM m WHERE a = 1").fetchall()
        assert con.execute("SELECT runs_in FROM information_schema.loaded_models").fetchall() == [("worker process",)]
    assert not home.exists()


def test_the_demo_compares_what_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = (("sklearn", "estimator = 'LogisticRegression'"), ("sklearn", "estimator = 'LGBMClassifier'"), ("ludwig", ""))
    monkeypatch.setattr(demo, "ENGINES", few)
    assert cli.main(["demo", "--engines", "--keep", str(tmp_path / "demo.duckdb")]) == 0
    said = capsys.readouterr().out
    assert 'left out: the environment of the engine "ludwig" is not installed' in said
    rows = [line for line in said.splitlines() if "sklearn" in line and "0.9" in line]
    assert len(rows) == 2 and "LGBMClassifier" in said


def test_a_worker_imports_little() -> None:
    """It must be read by Pythons from 3.10 on, and live beside any library."""
    script = """
        import sys
        import mindsql.isolation.channel, mindsql.engine_call, mindsql.isolation.folder, mindsql.isolation.worker
        heavy = ("mindsql", "mindsql_grammar", "duckdb", "sqlglot", "pandas", "sklearn", "numpy", "cryptography")
        print(*sorted(name for name in sys.modules if name.partition(".")[0] in heavy))
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [
        "mindsql", "mindsql.engine", "mindsql.engine_call", "mindsql.errors", "mindsql.frames", "mindsql.isolation",
        "mindsql.isolation.channel", "mindsql.isolation.folder", "mindsql.isolation.worker",
        "mindsql.library_warnings", "mindsql.schema", "mindsql.storage",
    ]  # fmt: skip


@pytest.mark.parametrize("version", ["3.10", "3.13"])
def test_other_pythons(version: str) -> None:
    """Where there is such a Python: nothing but the standard library is needed to read what a worker imports."""
    try:
        python, _ = environments._find_python(version)
    except EngineMissingError:
        pytest.skip(f"no Python {version} on this machine")
    script = "import mindsql.isolation.channel, mindsql.engine_call, mindsql.isolation.folder, mindsql.isolation.worker"
    folder = str(Path(mindsql.__file__).parent.parent)
    path = f"import sys; sys.path.insert(0, {folder!r}); "
    done = subprocess.run([python, "-I", "-c", path + script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
