"""Engines whose libraries need environments of their own, where these are installed: trained and asked for real.

`mindsql engine install huggingface` (`lightwood`, `ludwig`) makes them. A variable such as `MINDSQL_TEST_LUDWIG` names
the interpreter of another environment instead.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mindsql
from mindsql.connection import Connection
from mindsql.engine import Engine
from mindsql.errors import AccessError, StatementError
from mindsql.isolation import environments
from mindsql.isolation.proxy import isolated
from mindsql.testing import check_engine, training_data
from mindsql_engines.huggingface.local import LocalHuggingFaceEngine
from mindsql_engines.lightwood import LightwoodEngine
from mindsql_engines.ludwig import LudwigEngine

pytestmark = pytest.mark.slow_library

CLASSES: dict[str, type[Engine]] = {
    "huggingface": LocalHuggingFaceEngine, "lightwood": LightwoodEngine, "ludwig": LudwigEngine,
}  # fmt: skip
# `parametrize_with_checks` would start the workers while tests are collected; `check_engine` runs the same suite.


@cache
def interpreter(name: str) -> str:
    """The Python of an engine's environment; the test is skipped when there is none."""
    given = os.environ.get(f"MINDSQL_TEST_{name.upper()}")
    recipe = CLASSES[name].environment
    assert recipe is not None
    found = environments.find(recipe)
    if given is None and found is None:
        pytest.skip(f"mindsql engine install {name}")
    return given or (found.python if found is not None else "")


@pytest.fixture
def con() -> Iterator[Connection]:
    with mindsql.connect() as connection:
        yield connection


def flats(con: Connection) -> None:
    con.execute("""CREATE TABLE flats AS SELECT 20 + i % 80 AS sqm, ['good', 'great', 'poor'][1 + i % 3] AS place,
        i % 7 AS floor, 12.0 * (20 + i % 80) + (i % 3) * 200 + (i * 7 % 13) AS rent FROM range(600) r(i)""")


@pytest.mark.parametrize(
    ("name", "using", "least"),
    [("lightwood", "trusted = true, time_limit = 10", 0.9), ("ludwig", "epochs = 25", 0.8)],
)
def test_a_regression(con: Connection, name: str, using: str, least: float) -> None:
    flats(con)
    con.execute(f"CREATE ML_ENGINE e FROM {name} USING python = '{interpreter(name)}'")
    result = con.execute(f"CREATE MODEL m FROM (SELECT * FROM flats) PREDICT rent USING engine = 'e', {using}")
    accuracy = (result.fetchone() or ())[4]
    assert accuracy > least
    found = con.execute("SELECT m.rent, t.rent FROM flats AS t JOIN m LIMIT 50").fetchall()
    assert np.corrcoef(np.array(found, dtype=float).T)[0, 1] > 0.9
    assert con.execute("SELECT rent FROM m WHERE sqm = 50 AND place = 'great'").fetchall()[0][0] > 0
    assert con.execute("SELECT runs_in FROM information_schema.loaded_models").fetchall() == [("worker process",)]


@pytest.mark.parametrize(
    ("name", "using"), [("lightwood", {"trusted": True, "time_limit": 5}), ("ludwig", {"epochs": 3})]
)
def test_contract(name: str, using: dict[str, Any]) -> None:
    """The conformance suite: parametrize_with_checks, all at once."""
    check_engine(isolated(CLASSES[name], interpreter(name)), options=using, data=training_data("classification"))


def test_code_is_run_only_for_who_says_so(tmp_path: Path) -> None:
    file = tmp_path / "shop.duckdb"
    with mindsql.connect(file) as con:
        flats(con)
        con.execute(f"CREATE ML_ENGINE lw FROM lightwood USING python = '{interpreter('lightwood')}'")
        with pytest.raises((StatementError, AccessError)):
            con.execute("CREATE MODEL m FROM (SELECT * FROM flats) PREDICT rent USING engine = 'lw'")
        con.execute("""CREATE OR REPLACE MODEL m FROM (SELECT * FROM flats) PREDICT rent
            USING engine = 'lw', trusted = true, time_limit = 5""")
    with mindsql.connect(file) as con, pytest.raises(StatementError, match="stored as code"):
        con.execute("SELECT rent FROM m WHERE sqm = 50").fetchall()


# Transformers: models of random weights, made on the spot -----------------------------------------------------------

TINY = Path(__file__).with_name("tiny_models.py")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    command = [interpreter("huggingface"), str(TINY), str(folder)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    return folder


TASKS: dict[str, tuple[str, str]] = {
    "text-classification": ("", ""),
    "zero-shot-classification": ("", ", candidate_labels = ['x', 'y']"),
    "token-classification": ("", ""),
    "fill-mask": ("", ""),
    "feature-extraction": ("", ""),
    "sentence-similarity": ("feature-extraction", ", input_column2 = 'u'"),
    "rerank": ("text-classification", ", input_column2 = 'u'"),
    "question-answering": ("", ", context_column = 'u'"),
    "text-generation": ("", ""),
    "summarization": ("", ""),
    "text2text-generation": ("summarization", ""),
    "translation": ("", ", lang_input = 'en', lang_output = 'fr'"),
}


@pytest.mark.parametrize("task", TASKS)
def test_a_task(con: Connection, tiny: Path, task: str) -> None:
    folder, more = TASKS[task]
    con.execute(f"CREATE ML_ENGINE hf FROM huggingface USING python = '{interpreter('huggingface')}'")
    con.execute(f"""CREATE MODEL m PREDICT y USING engine = 'hf', task = '{task}', path = '{tiny / (folder or task)}',
        input_column = 't'{more}""")
    rows = "(VALUES ('the [MASK] was good', 'a good day in paris'), (NULL, 'x')) AS r(t, u)"
    found = con.execute(f"SELECT m.y, m.y_explain FROM {rows} JOIN m").fetchall()
    assert found[0][0] is not None and json.loads(found[0][1]) is not None
    assert found[1] == (None, None)
    # Kept in the database: the folder is needed no more.
    assert con.execute("DESCRIBE m.model").fetchall()[2] == ("kept in", "the database")


def test_a_text_classifier_learns(con: Connection, tiny: Path) -> None:
    con.execute(f"CREATE ML_ENGINE hf FROM huggingface USING python = '{interpreter('huggingface')}'")
    con.execute(f"""CREATE MODEL m PREDICT y USING engine = 'hf', task = 'text-classification', input_column = 't',
        path = '{tiny / "text-classification"}'""")
    con.execute("""FINETUNE m FROM (SELECT ['the film was good', 'the film was bad'][1 + i % 2] AS t,
        ['pos', 'neg'][1 + i % 2] AS y FROM range(120) r(i)) USING learning_rate = 0.005, epochs = 4""")
    query = "SELECT t, y FROM m WHERE t IN ('the film was good', 'the film was bad') ORDER BY t"
    assert con.execute(query).fetchall() == [("the film was bad", "neg"), ("the film was good", "pos")]


def test_what_is_no_model_is_said(con: Connection, tiny: Path) -> None:
    con.execute(f"CREATE ML_ENGINE hf FROM huggingface USING python = '{interpreter('huggingface')}'")
    for using, message in (
        ("task = 'fill-mask', path = '/nowhere'", "is no folder of a model"),
        (f"task = 'translation', path = '{tiny / 'text-classification'}'", "cannot be loaded for the task translation"),
        (f"task = 'fill-mask', path = '{tiny / 'fill-mask'}', device = 'cuda:9'", 'device = "cuda:9" is not there'),
        ("task = 'fill-mask', model_name = '../x'", '"../x" is no name of the hub'),
    ):
        with pytest.raises(mindsql.MindSQLError) as caught:
            con.execute(f"CREATE OR REPLACE MODEL m PREDICT y USING engine = 'hf', input_column = 't', {using}")
        assert message in caught.value.message


def test_contract_of_transformers(tiny: Path) -> None:
    """The conformance suite, over a text column."""
    using = {"task": "text-classification", "input_column": "place", "path": str(tiny / "text-classification")}
    check_engine(isolated(LocalHuggingFaceEngine, interpreter("huggingface")), options=using)
