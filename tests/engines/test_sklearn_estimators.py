"""Every estimator of the list: trained, stored, loaded, and its parameters as typed options."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from trained import Model, column, train

from mindsql.errors import EngineError, MindSQLError, StatementError
from mindsql_engines.sklearn import SklearnEngine, parameters, training
from mindsql_engines.sklearn.estimators import ESTIMATORS

NEEDED: dict[str, dict[str, Any]] = {
    "StackingClassifier": {"estimators": ["LogisticRegression", "DecisionTreeClassifier"]},
    "VotingClassifier": {"estimators": ["LogisticRegression", "GaussianNB"], "voting": "soft"},
    "StackingRegressor": {"estimators": ["Ridge", {"estimator": "DecisionTreeRegressor", "max_depth": 2}]},
    "VotingRegressor": {"estimators": ["Ridge", "DecisionTreeRegressor"]},
    "TheilSenRegressor": {"max_subpopulation": 50},
}
TYPES = {"a": "DOUBLE", "b": "BIGINT", "c": "VARCHAR", "d": "BOOLEAN", "label": "VARCHAR", "amount": "DOUBLE"}


def mixed(rows: int = 80) -> pa.Table:
    random = np.random.default_rng(0)
    a, b = random.normal(size=rows), random.integers(0, 50, rows)
    c = [None if i == 5 else str(v) for i, v in enumerate(random.choice(["x", "y", "ž"], rows))]
    d = random.random(rows) < 0.5
    label = np.where(a + (b > 25) > 0.4, "yes", "no").tolist()
    holes = [None if i % 17 == 3 else float(v) for i, v in enumerate(a)]
    return pa.table({"a": holes, "b": b, "c": c, "d": d, "label": label, "amount": np.abs(a) + b * 2 + 1})


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_every_estimator_answers_the_same_after_loading(name: str) -> None:
    task = ESTIMATORS[name][0]
    target = {"classification": "label", "regression": "amount"}.get(task)
    inputs = ["b"] if name == "IsotonicRegression" else ["a", "b", "c", "d"]
    table = mixed()
    model = train(
        table.select([*inputs, *([target] if target else [])]),
        TYPES,
        target,
        estimator=name,
        **NEEDED.get(name, {}),
    )
    assert model.summary.task == task and "no scores" not in model.notes()
    wanted = model.summary.outputs.names
    answers = model.answers(table)
    again = Model(model.storage, model.summary).answers(table)
    for column_name in wanted:
        assert len(answers[column_name]) == table.num_rows
        assert answers[column_name].equals(again[column_name])
    alone = model.answers(table, wanted[:1])[wanted[0]]
    assert alone.equals(answers[wanted[0]]), "asking for the confidence must not change the answer"
    rows = [model.answers(table.slice(i, 1))[wanted[0]][0].as_py() for i in (0, 3, 5)]
    expected = [answers[wanted[0]][i].as_py() for i in (0, 3, 5)]
    assert rows == (expected if task != "regression" else pytest.approx(expected, rel=1e-6, nan_ok=True))


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_the_default_of_every_option_fits(name: str) -> None:
    found = SklearnEngine.options_for({"estimator": name})
    assert len({option.name for option in found}) == len(found)
    own = parameters.options(name)
    for option in own:
        if option.choices and option.default is not None:
            assert option.default in option.choices
        if option.default is not None and option.minimum is not None:
            assert option.default >= option.minimum
    with training.collected([]):
        parameters.build(name, {o.name: o.default for o in own} | NEEDED.get(name, {}), 0)


def test_options_are_typed_by_the_estimators_own_constraints() -> None:
    forest = {
        option.name: option for option in SklearnEngine.options_for({"estimator": "RandomForestClassifier"})
    }
    assert (forest["n_estimators"].type, forest["n_estimators"].minimum) == ("integer", 1)
    assert forest["bootstrap"].type == "boolean" and forest["max_features"].type == "any"
    assert forest["criterion"].choices == ("entropy", "gini", "log_loss")
    assert not {"verbose", "warm_start", "memory"} & set(forest)
    assert [o.name for o in SklearnEngine.options_for({})] == [o.name for o in SklearnEngine.options]
    unnamed = {option.name for option in SklearnEngine.options_for({"learning_rate": 0.1})}
    assert {"learning_rate", "max_iter", "contamination"} <= unnamed


@pytest.mark.parametrize(
    ("using", "message", "hint"),
    [
        (
            {"estimator": "RandomForestClasifier"},
            'unknown estimator "RandomForestClasifier"',
            "RandomForestClassifier",
        ),
        ({"estimator": "os.system"}, 'unknown estimator "os.system"', ""),
        (
            {"estimator": "DBSCAN"},
            "DBSCAN groups the rows it was fitted on but cannot label new ones",
            "KMeans",
        ),
        ({"estimator": "RegressorChain"}, "answers several targets", "model per target"),
        (
            {"estimator": "RandomForestClassifier", "n_estimator": 5},
            'unknown option "n_estimator"',
            "n_estimators",
        ),
        ({"estimator": "RandomForestClassifier", "n_estimators": 50.5}, "'n_estimators' parameter", ""),
        ({"estimator": "RandomForestClassifier", "n_estimators": 0}, "must be an int in the range", ""),
        ({"estimator": "RandomForestClassifier", "max_features": "sqr"}, "'max_features' parameter", ""),
        (
            {"estimator": "RandomForestClassifier", "max_depth": "None"},
            "'max_depth' parameter",
            "max_depth = NULL",
        ),
        ({"estimator": "SVC", "kernel": "cubic"}, "'kernel' parameter", ""),
        ({"estimator": "VotingClassifier"}, "VotingClassifier needs the option estimators", "estimators = ["),
        ({"estimator": "BaggingClassifier", "base_estimator": "Tree"}, 'unknown estimator "Tree"', ""),
        ({"estimator": "BaggingClassifier", "base_estimator": 5}, "an inner estimator is given by", "Ridge"),
        ({"estimator": "LogisticRegression", "class_weight": {"2": 1}}, "class in class_weight", ""),
        ({"contamination": 0.1}, 'unknown parameter of HistGradientBoostingClassifier "contamination"', ""),
        ({"monotonic_cst": {"z": 1}}, 'number column in monotonic_cst "z"', '"x"'),
    ],
)
def test_wrong_options(using: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(StatementError) as caught:
        train(*column([0, 1] * 30, "BIGINT"), "y", **using)
    assert message in caught.value.message and hint.strip('"') in str(caught.value.hint)


def test_parameters_reach_the_estimator() -> None:
    table, types = column([0, 1] * 30, "BIGINT")
    using: dict[str, Any] = {
        "estimator": "randomforestclassifier",
        "n_estimators": 7,
        "max_features": None,
        "max_depth": 2,
    }
    model = train(table, types, "y", **using, class_weight={"0": 1, "1": 3})
    told = model.engine().describe("model").set_index("parameter")
    assert told["value"][["n_estimators", "max_features", "max_depth"]].tolist() == ["7", "null", "2"]
    assert sorted(told.index[told["set"]]) == ["class_weight", "max_depth", "max_features", "n_estimators"]
    assert told.loc["class_weight", "value"] == '{"0": 1.0, "1": 3.0}'
    default = train(table, types, "y", learning_rate=0.3, max_iter=9)
    told = default.engine().describe("model").set_index("parameter")["value"]
    assert (told["learning_rate"], told["max_iter"], told["max_leaf_nodes"]) == ("0.3", "9", "31")


def test_inner_estimators() -> None:
    inner = {"estimator": "LogisticRegression", "C": 0.5}
    model = train(
        *column([0, 1] * 30, "BIGINT"), "y", estimator="CalibratedClassifierCV", base_estimator=inner, cv=3
    )
    told = model.engine().describe("model").set_index("parameter")["value"]
    assert "C=0.5" in told["base_estimator"] and told["cv"] == "3"


def test_monotonic_constraints_name_columns() -> None:
    random = np.random.default_rng(0)
    table = pa.table({"c": random.choice(["p", "q"], 300), "x": random.random(300)})
    table = table.append_column("y", pa.array(np.asarray(table["x"]) + random.normal(0, 0.5, 300)))
    types = {"c": "VARCHAR", "x": "DOUBLE", "y": "DOUBLE"}
    model = train(table, types, "y", monotonic_cst={"X": 1})
    steps = model.answers(pa.table({"c": ["p"] * 50, "x": np.linspace(0, 1, 50)}), ["y"])["y"].to_numpy()
    assert (np.diff(steps) >= 0).all()


def test_what_scikit_learn_warns_of_is_a_note() -> None:
    table, types = column(np.sin(np.arange(60.0)), "DOUBLE")
    model = train(table, types, "y", estimator="MLPRegressor", max_iter=2)
    assert "ConvergenceWarning" in model.notes()


def test_what_scikit_learn_refuses_is_one_sentence() -> None:
    table, types = column(np.arange(60.0) - 30, "DOUBLE")
    with pytest.raises(EngineError, match=r"GammaRegressor could not be trained: Some value\(s\) of y"):
        train(table, types, "y", estimator="GammaRegressor")
    with pytest.raises(MindSQLError, match="n_neighbors"):
        train(table.slice(0, 4), types, "y", estimator="KNeighborsRegressor")
