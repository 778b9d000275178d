"""Engines in a folder: a handler written for MindsDB, unchanged, in a process of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import duckdb
import pytest

import mindsql
from mindsql.connection import Connection
from mindsql.errors import AccessError, EngineError, MindSQLError
from mindsql.isolation.folder import FolderEngine
from mindsql.isolation.proxy import isolated
from mindsql.settings import Settings
from mindsql.testing import BoundCheck, Case, parametrize_with_checks

if os.name != "posix":
    pytest.skip("workers need Linux or macOS", allow_module_level=True)

HANDLERS = Path(__file__).parent / "handlers"
TOY = str(HANDLERS / "toy_handler.py")
UNIT = HANDLERS.parent.parent / "unit"
POPULARITY = HANDLERS / "popularity_handler"
BASKETS = "CREATE TABLE baskets AS SELECT i % 7 AS person, 'item' || (i * i % 5) AS item FROM range(100) r(i)"


@parametrize_with_checks(
    [Case(isolated(FolderEngine, path=TOY), {"factor": 2.0}, engine_options={"path": TOY}, name="folder")]
)
def test_contract(check: BoundCheck) -> None:
    """The suite that every engine passes."""
    check()


def test_its_life_in_sql(tmp_path: Path) -> None:
    file = tmp_path / "shop.duckdb"
    with mindsql.connect(file) as con:
        con.execute(BASKETS)
        con.execute(f"CREATE ML_ENGINE pop FROM folder USING path = '{POPULARITY}'")
        with pytest.raises(EngineError) as caught:
            con.execute("CREATE MODEL m FROM (SELECT * FROM baskets) PREDICT recommended USING engine = 'pop'")
        assert caught.value.message == "[pop/m] Exception: 'item_id' must be provided in the USING clause."
        con.execute(
            "CREATE MODEL m FROM (SELECT * FROM baskets) PREDICT recommended USING engine = 'pop', item_id = 'item'"
        )
    with mindsql.connect(file) as con:
        query = "SELECT DISTINCT recommended FROM baskets JOIN m"
        assert con.execute(query).fetchall() == [("item1",)]
        assert con.execute("DESCRIBE m.best").fetchall()[0] == ("item1",)
        assert con.execute("SELECT runs_in FROM information_schema.loaded_models").fetchall() == [("worker process",)]
        con.execute("DROP MODEL m")
        con.execute("DROP ML_ENGINE pop")


def test_a_single_file(tmp_path: Path) -> None:
    (tmp_path / "doubling.py").write_text(
        "import pandas as pd\nfrom mindsql import BaseMLEngine\n\n\nclass Doubling(BaseMLEngine):\n"
        "    def create(self, target, df=None, args=None):\n        self.model_storage.json_set('target', target)\n\n"
        "    def predict(self, df, args=None):\n"
        "        return pd.DataFrame({self.model_storage.json_get('target'): df['a'] * 2})\n"
    )
    (tmp_path / "other.py").write_text("raise SystemExit('this file is not to be run')\n")
    with mindsql.connect() as con:
        con.execute("CREATE TABLE t AS SELECT i AS a, i AS y FROM range(5) r(i)")
        con.execute(f"CREATE ML_ENGINE d FROM folder USING path = '{tmp_path / 'doubling.py'}'")
        con.execute("CREATE MODEL m FROM (SELECT * FROM t) PREDICT y USING engine = 'd'")
        assert con.execute("SELECT sum(m.y) FROM t JOIN m").fetchall() == [(20.0,)]


@pytest.fixture
def con() -> Connection:
    return mindsql.connect()


@pytest.mark.parametrize(
    ("using", "message"),
    [
        ("", 'the handler "folder" needs the option "path"'),
        (" USING path = '/nowhere'", '"/nowhere" is no folder of a handler'),
        (f" USING path = '{UNIT}'", "the handler must be one subclass of BaseMLEngine, and there are: none"),
        (f" USING path = '{POPULARITY}', isolated = false", "always runs in a process of its own"),
    ],
)
def test_what_is_no_handler(con: Connection, using: str, message: str) -> None:
    with con, pytest.raises(MindSQLError) as caught:
        con.execute(f"CREATE ML_ENGINE x FROM folder{using}")
    assert message in caught.value.message


def test_it_is_for_the_owner() -> None:
    with mindsql.connect() as con:
        con._session.settings = Settings(trusted=False)
        with pytest.raises(AccessError) as caught:
            con.execute(f"CREATE ML_ENGINE x FROM folder USING path = '{POPULARITY}'")
        assert "the handler folder starts programs on this machine" in caught.value.message


def test_a_file_from_elsewhere_runs_no_code_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database file names code by a path: only the key of this machine's owner allows it."""
    file, ran = tmp_path / "gift.duckdb", tmp_path / "ran"
    handler = tmp_path / "handler.py"
    handler.write_text(
        f"open({str(ran)!r}, 'a').close()\nimport pandas as pd\nfrom mindsql import BaseMLEngine\n\n\n"
        "class Constant(BaseMLEngine):\n"
        "    def create(self, target, df=None, args=None):\n        pass\n\n"
        "    def predict(self, df, args=None):\n        return pd.DataFrame({args['target']: [1.0] * len(df)})\n"
    )
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\ntouch {ran}\nexec {sys.executable} \"$@\"\n")
    python.chmod(0o755)
    engines = {"a": f"FROM folder USING path = '{handler}'", "b": f"FROM sklearn USING python = '{sys.executable}'"}
    with mindsql.connect(file) as con:
        con.execute("CREATE TABLE t AS SELECT i AS a, i % 3 AS y FROM range(30) r(i)")
        for name, text in engines.items():
            con.execute(f"CREATE ML_ENGINE {name} {text}")
        con.execute("CREATE MODEL ma FROM (SELECT * FROM t) PREDICT y USING engine = 'a'")
        using = "engine = 'b', estimator = 'KNeighborsRegressor'"  # which has no SQL form
        con.execute(f"CREATE MODEL mb FROM (SELECT * FROM t) PREDICT y USING {using}")
    ran.unlink()
    with duckdb.connect(file) as raw:  # as a stranger would: another program, signed by another key, or by none
        raw.execute(
            "UPDATE mindsql._engines SET options = replace(options, $1, $2)", [sys.executable, str(python)]
        )
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config of another machine"))
    with mindsql.connect(file) as con:
        statements = [*(f"SELECT m{name}.y FROM t JOIN m{name}" for name in engines), "RETRAIN ma", "RETRAIN mb"]
        for statement in statements:
            with pytest.raises(AccessError, match="nobody allowed that here"):
                con.execute(statement)
        assert not ran.exists()
        con.execute(f"CREATE OR REPLACE ML_ENGINE a {engines['a']}")
        assert con.execute("SELECT sum(m.y) FROM t JOIN ma AS m").fetchall() == [(30.0,)]
        con.execute("DROP MODEL mb")


def test_a_handler_is_called_as_mindsdb_calls_it(tmp_path: Path) -> None:
    """Parameters in an order of its own, no target where outliers are looked for, parts that it does not list."""
    (tmp_path / "outliers.py").write_text(
        "import pandas as pd\nfrom mindsdb.integrations.libs.base import BaseMLEngine\n\n\n"
        "class Outliers(BaseMLEngine):\n"
        "    def create(self, target, meta_data=None, args=None, df=None):\n"
        "        self.model_storage.json_set('all', {'meta': meta_data, 'target': target, 'rows': len(df)})\n\n"
        "    def predict(self, data, args=None):\n"
        "        return pd.DataFrame({'outlier': (data['a'] > 3).astype(int)})\n\n"
        "    def describe(self, attribute='all'):\n"
        "        if attribute != 'all':\n            raise NotImplementedError(attribute)\n"
        "        return pd.DataFrame([self.model_storage.json_get('all')])\n"
    )
    with mindsql.connect() as con:
        con.execute("CREATE TABLE t AS SELECT i AS a FROM range(5) r(i)")
        con.execute(f"CREATE ML_ENGINE o FROM folder USING path = '{tmp_path / 'outliers.py'}'")
        con.execute("CREATE ANOMALY DETECTION MODEL m FROM (SELECT * FROM t) USING engine = 'o'")
        query = "SELECT sum(outlier), any_value(typeof(outlier)) FROM t JOIN m"
        assert con.execute(query).fetchall() == [(1, "BIGINT")]
        assert con.execute("DESCRIBE m.all").fetchall() == [(None, None, 5)]
        with pytest.raises(MindSQLError, match='unknown part of the model "m": "other"'):
            con.execute("DESCRIBE m.other")


def test_an_engine_that_is_replaced_answers_anew() -> None:
    with mindsql.connect() as con:
        con.execute("CREATE TABLE t AS SELECT i AS a, i * 2 AS y FROM range(5) r(i)")
        con.execute(f"CREATE ML_ENGINE d FROM folder USING path = '{TOY}', memory_limit = '1GB'")
        con.execute("CREATE MODEL m FROM (SELECT * FROM t) PREDICT y USING engine = 'd', factor = 2.0")
        query = "SELECT sum(m.y) FROM t JOIN m"
        before = con.execute(query).fetchall()
        con.execute(f"CREATE OR REPLACE ML_ENGINE d FROM folder USING path = '{TOY}', memory_limit = '2GB'")
        assert con.execute("SHOW LOADED MODELS").fetchall() == []
        assert con.execute(query).fetchall() == before
        with pytest.raises(MindSQLError, match='the engine "d" is used by: m'):
            con.execute("CREATE OR REPLACE ML_ENGINE d FROM sklearn")
