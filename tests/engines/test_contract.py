"""The conformance suite: every handler and the toy engine pass it, and each check can fail."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from broken_engines import BROKEN, Shy, Thorough

import mindsql
from mindsql.engine import Engine, Summary
from mindsql.errors import DataError
from mindsql.registry import Registry
from mindsql.schema import Schema
from mindsql.testing import (
    CHECKS,
    BoundCheck,
    Case,
    CheckFailed,
    ToyEngine,
    check_engine,
    checks_for,
    parametrize_with_checks,
    training_data,
)

GIVEN: dict[str, Any] = {"options": {"unit": "euro"}, "engine_options": {"token": "abc"}}

DATA = {
    "sklearn": [
        {"data": training_data("regression", dates=True)},
        {"data": training_data("classification"), "options": {"estimator": "LogisticRegression"}},
        {"data": training_data("classification"), "options": {"estimator": "SGDClassifier"}},
        {"data": training_data("anomaly")},
    ],
}
"""What the handlers are checked with beside the default, by name."""

ELSEWHERE: dict[str, str] = {
    **dict.fromkeys(
        ("ray_serve", "ray_server", "mlflow", "huggingface_api", "hf_api", "openai"), "test_remote_contract.py"
    ),
    **dict.fromkeys(("huggingface", "lightwood", "ludwig"), "../isolation/test_libraries.py"),
    "folder": "../isolation/test_folder.py",
}
"""Handlers that need a server, a library or options of their own: the test file that runs the suite on each."""


def _handlers() -> list[Case]:
    registry = Registry()
    cases = [Case(ToyEngine), Case(Thorough, **GIVEN), Case(Shy)]
    for name in sorted(set(registry.names()) - set(ELSEWHERE)):
        for number, given in enumerate(DATA.get(name, [{}])):
            cases.append(Case(registry.handler_class(name), **given, name=f"{name}{number or ''}"))
    return cases


@parametrize_with_checks(_handlers())
def test_contract(check: BoundCheck) -> None:
    check()


def test_the_others_run_it_too() -> None:
    for name, file in ELSEWHERE.items():
        text = (Path(__file__).parent / file).read_text(encoding="utf-8")
        assert "parametrize_with_checks" in text, f"{file} does not run the suite on {name}"


@pytest.mark.parametrize("name", [check.name for check in CHECKS])
def test_every_check_can_fail(name: str) -> None:
    cls = BROKEN[name]
    assert name in [check.name for check in checks_for(cls)]
    given = GIVEN if issubclass(cls, Thorough) else {}
    with pytest.raises(CheckFailed, match=f"{name} fails {name}: (?s:.*)\n  the promise: "):
        check_engine(cls, **given)


def test_checks_follow_what_an_engine_declares() -> None:
    def names(cls: type[Engine]) -> set[str]:
        return {check.name for check in checks_for(cls)}

    every = {check.name for check in CHECKS}
    hooks = {
        "check_update", "check_describe", "check_create_engine", "check_predictor", "check_takes_arrow",
        "check_translation",
    }  # fmt: skip
    assert names(Thorough) == every
    assert names(ToyEngine) == every - hooks - {"check_secrets", "check_required_options"}
    assert names(ToyEngine) - names(Shy) == {
        "check_row_order", "check_index", "check_subset_invariance", "check_batch_size", "check_determinism",
        "check_threads", "check_nulls", "check_type_family",
    }  # fmt: skip
    assert all(check.promise.endswith(".") for check in CHECKS)


def test_a_known_failure_must_fail() -> None:
    reason = {"check_row_order": "the service sorts"}
    cls = BROKEN["check_row_order"]
    with pytest.raises(CheckFailed) as report:
        check_engine(cls, known_failures=reason)
    assert "check_row_order: " not in str(report.value)
    with pytest.raises(CheckFailed, match="it passes, but is a known failure: the service sorts"):
        check_engine(ToyEngine, known_failures=reason)
    marked = parametrize_with_checks([Case(cls, known_failures=reason)])
    (param,) = [param for param in marked.args[1] if param.marks]
    assert param.id == "check_row_order-check_row_order"
    assert (param.marks[0].name, param.marks[0].kwargs["strict"]) == ("xfail", True)
    with pytest.raises(ValueError, match="no such checks: check_order"):
        check_engine(ToyEngine, known_failures={"check_order": "a slip"})


def test_an_engine_that_takes_no_null_is_given_none() -> None:
    con = mindsql.connect().register_engine("shy", Shy)
    con.execute("CREATE TABLE flats AS SELECT 2 AS rooms, 900.0 AS rent UNION ALL SELECT 3, 950.0")
    con.execute("CREATE MODEL rents FROM (FROM flats) PREDICT rent USING engine = 'shy'")
    with pytest.raises(DataError, match='the input "rooms" of the model "rents" is NULL in a row'):
        con.execute("SELECT m.rent FROM (SELECT NULL::INTEGER AS rooms) AS f JOIN rents AS m").fetchall()
    con.close()


def test_a_null_has_the_type_of_its_input() -> None:
    class Types(ToyEngine):
        def predict(self, df: Any, args: Any = None) -> Any:
            target = self.model_storage.json_get("model")["target"]
            kinds = " ".join(f"{name}:{df[name].dtype}" for name in sorted(df.columns))
            return pd.DataFrame({target: [kinds] * len(df)})

        def summary(self) -> Any:
            plain = super().summary()
            return Summary(plain.inputs, Schema.of([(plain.outputs.names[0], "VARCHAR")]))

    con = mindsql.connect().register_engine("types", Types)
    con.execute(
        "CREATE TABLE flats AS SELECT 2 AS rooms, DATE '1999-01-01' AS built, 'x' AS place, 1.0 AS rent"
    )
    con.execute("CREATE MODEL rents FROM (FROM flats) PREDICT rent USING engine = 'types'")
    asked = con.execute("SELECT rent FROM rents WHERE rooms IS NULL AND built IS NULL AND place IS NULL")
    assert asked.fetchall() == [("built:datetime64[ms] place:str rooms:float64",)]
    con.close()


def test_the_toy_engine_answers_what_its_docstring_says() -> None:
    con = mindsql.connect().register_engine("toy", ToyEngine)
    con.execute("CREATE TABLE flats AS SELECT 2 AS rooms, 50.5 AS size, 'hill' AS place, 900.0 AS rent")
    con.execute("CREATE MODEL rents FROM (FROM flats) PREDICT rent USING engine = 'toy', factor = 2.5")
    asked = con.execute("SELECT rent, rent_confidence FROM rents WHERE rooms = 3 AND place = 'old'")
    assert asked.fetchall() == [(15.0, pytest.approx(2 / 3))]
    joined = con.execute("SELECT m.rent, m.rent_explain FROM flats AS f JOIN rents AS m")
    assert joined.fetchall() == [(141.25, '{"factor": 2.5, "sum": 56.5}')]
    assert len(inspect.getsource(ToyEngine).splitlines()) <= 40
    con.close()
