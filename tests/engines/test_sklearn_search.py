"""`estimator = 'auto'` and `tune`: what is tried, what is chosen, what is refused."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from trained import Model, train

from mindsql.errors import StatementError

TYPES = {"x": "DOUBLE", "k": "VARCHAR", "y": "DOUBLE", "c": "VARCHAR"}


def rows(count: int = 300) -> pa.Table:
    random = np.random.default_rng(0)
    x = random.uniform(-3, 3, count)
    k = random.choice(["a", "b", "c"], count)
    y = 4 * x + (k == "b") * 5 + random.normal(0, 0.3, count)
    return pa.table({"x": x, "k": k, "y": y, "c": np.where(np.sin(2 * x) + (k == "a") > 0.5, "yes", "no")})


def leaderboard(model: Model) -> Any:
    return model.engine().describe("leaderboard")


@pytest.mark.parametrize(("target", "other"), [("y", "c"), ("c", "y")])
def test_auto_compares_several_and_shows_them(target: str, other: str) -> None:
    begin = time.monotonic()
    model = train(rows().drop_columns([other]), TYPES, target, estimator="auto", trials=9, time_limit=600)
    assert time.monotonic() - begin < 600
    board = leaderboard(model)
    assert list(board.columns) == ["estimator", "score", "loss", "seconds", "parameters"]
    assert len(board) >= 9 and board["estimator"].nunique() >= 6
    assert board["loss"].tolist() == sorted(board["loss"].tolist())
    assert model.summary.estimator == board["estimator"][0]
    assert f"estimator: {board['estimator'][0]}" in model.notes() and "by cross-validation" in model.notes()
    if target == "y":
        assert board["estimator"][0] in ("Ridge", "StackingRegressor"), "the rows are linear"
        assert model.summary.accuracy is not None and model.summary.accuracy > 0.98
    again = train(rows().drop_columns([other]), TYPES, target, estimator="AUTO", trials=9, time_limit=600)
    assert leaderboard(again).drop(columns="seconds").equals(board.drop(columns="seconds")), "the seed decides"


def test_the_time_limit_ends_the_search() -> None:
    begin = time.monotonic()
    model = train(rows(2000).drop_columns(["c"]), TYPES, "y", estimator="auto", time_limit=1)
    board = leaderboard(model)
    assert len(board) >= 1 and sum(board["seconds"].iloc[1:]) < 60
    assert time.monotonic() - begin < 300


def test_tune_tries_a_list() -> None:
    tune = {"alpha": [0.01, 1000.0, 1000000.0]}
    model = train(rows().drop_columns(["c"]), TYPES, "y", estimator="Ridge", tune=tune)
    board = leaderboard(model)
    assert sorted(json.loads(text)["alpha"] for text in board["parameters"]) == tune["alpha"]
    assert json.loads(board["parameters"][0]) == {"alpha": 0.01}
    parameters = model.engine().describe("model").set_index("parameter")
    assert (parameters.value["alpha"], bool(parameters.set["alpha"])) == ("0.01", True)


def test_tune_tries_a_range_beside_what_is_given() -> None:
    tune = {"max_leaf_nodes": {"from": 2, "to": 64, "log": True}, "splitter": ["best", "random"]}
    using = {"estimator": "DecisionTreeRegressor", "tune": tune, "trials": 12, "min_samples_leaf": 3}
    model = train(rows().drop_columns(["c"]), TYPES, "y", **using)
    tried = [json.loads(text) for text in leaderboard(model)["parameters"]]
    assert len(tried) == 12 and all(one["min_samples_leaf"] == 3 for one in tried)
    assert all(2 <= one["max_leaf_nodes"] <= 64 and isinstance(one["max_leaf_nodes"], int) for one in tried)
    assert len({one["max_leaf_nodes"] for one in tried}) > 3


def test_an_estimator_without_probabilities_can_be_tuned() -> None:
    model = train(rows().drop_columns(["y"]), TYPES, "c", estimator="LinearSVC", tune={"C": [0.1, 1.0]})
    assert set(leaderboard(model)["estimator"]) == {"LinearSVC"}


@pytest.mark.parametrize(
    ("using", "message"),
    [
        ({"estimator": "auto", "tune": {"alpha": [1]}}, "tune is for one estimator"),
        ({"estimator": "Ridge", "tune": {"alfa": [1]}}, 'unknown parameter of Ridge in tune: "alfa"'),
        ({"estimator": "Ridge", "tune": {"alpha": [-1.0]}}, "'alpha' parameter"),
        ({"estimator": "Ridge", "tune": {"alpha": 3}}, 'tune: "alpha" is neither a list of values nor a range'),
        ({"estimator": "Ridge", "tune": {"alpha": {"from": 3, "to": 1}}}, "neither a list of values nor a range"),
        ({"estimator": "Ridge", "tune": {"alpha": {"from": 0, "to": 1, "log": True}}}, "neither a list of values"),
        ({"estimator": "Ridge", "tune": {}}, "tune names no parameter"),
        ({"tune": {"alpha": [1]}}, "tune needs an estimator"),
        ({"time_limit": 5}, "time_limit is for a search"),
        ({"estimator": "Ridge", "trials": 5}, "trials is for a search"),
        ({"estimator": "auto", "task": "clustering"}, "clustering has nothing to search by"),
    ],
)
def test_what_is_no_search(using: dict[str, Any], message: str) -> None:
    with pytest.raises(StatementError) as caught:
        train(rows().drop_columns(["c"]), TYPES, "y", **using)
    assert message in caught.value.message
