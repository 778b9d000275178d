"""Scores that can be trusted, FINETUNE, ready-made models, and artifacts that are damaged or dangerous."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import skops.io
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from trained import Model, column, options, train

import mindsql
from mindsql.engine import Storage
from mindsql.errors import CatalogError, DataError, MindSQLError, StatementError, UnknownNameError
from mindsql.schema import Schema
from mindsql_engines.sklearn import SklearnEngine, updating

TYPES = {"x": "DOUBLE", "c": "VARCHAR", "y": "DOUBLE", "label": "VARCHAR"}


def rows(count: int, seed: int = 0) -> pa.Table:
    random = np.random.default_rng(seed)
    x, c = random.normal(size=count), random.choice(["p", "q", "r"], count)
    y = 3 * x + (c == "q") * 2 + random.normal(0, 1, count)
    return pa.table({"x": x, "c": c, "y": y, "label": np.where(y > 1, "high", "low").tolist()})


# Scores ---------------------------------------------------------------------------------------------------


def test_scores_come_from_rows_not_trained_on() -> None:
    """On a target that is pure chance, a model that learns by heart scores no better than its baseline."""
    random = np.random.default_rng(0)
    table = pa.table({"x": random.normal(size=500), "label": random.choice(["a", "b"], 500).tolist()})
    model = train(table, TYPES, "label", estimator="DecisionTreeClassifier")
    learnt = np.mean(
        [
            a == b
            for a, b in zip(
                model.answers(table)["label"].to_pylist(), table["label"].to_pylist(), strict=True
            )
        ]
    )
    assert learnt == 1 and abs(model.summary.metrics["accuracy"] - 0.5) < 0.15


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_intervals_cover_as_many_new_rows_as_they_say(level: float) -> None:
    model = train(rows(1500).drop(["label"]), TYPES, "y", confidence=level)
    fresh = rows(3000, seed=1)
    told = [json.loads(text) for text in model.answers(fresh)["y_explain"].to_pylist()]
    inside = [
        t["confidence_lower_bound"] <= y <= t["confidence_upper_bound"]
        for t, y in zip(told, fresh["y"].to_pylist(), strict=True)
    ]
    assert np.mean(inside) == pytest.approx(level, abs=0.05)


def test_the_same_seed_gives_the_same_model() -> None:
    table = rows(200).drop(["y"])
    first, second = (
        train(table, TYPES, "label", estimator="RandomForestClassifier", n_estimators=5) for _ in range(2)
    )
    assert first.summary == second.summary
    other = train(table, TYPES, "label", estimator="RandomForestClassifier", n_estimators=5, random_state=7)
    assert first.answers(table) == second.answers(table) != other.answers(table)


def test_without_hold_out_there_are_no_scores() -> None:
    model = train(rows(100).drop(["label"]), TYPES, "y", test_size=0)
    assert model.summary.metrics == {} and "no scores: test_size is 0" in model.notes()
    assert [c.name for c in model.summary.outputs] == ["y"], "no interval can be told"


def test_a_class_of_one_row_does_not_stop_training() -> None:
    table = pa.table({"x": np.arange(60.0) / 7, "label": ["a", "b"] * 29 + ["a", "rare"]})
    for estimator in (None, "LogisticRegression"):
        model = train(table, TYPES, "label", estimator=estimator)
        assert model.summary.classes == ("a", "b", "rare") and model.summary.metrics


# FINETUNE -------------------------------------------------------------------------------------------------


def finetune(model: Model, table: pa.Table, **using: Any) -> Model:
    storage = Storage()
    base = Storage(model.storage.files.get, lambda: model.storage.files)
    engine = SklearnEngine(model_storage=storage, base_model_storage=base)
    schema = Schema.of([(name, TYPES[name]) for name in table.column_names])
    engine.update(table.to_pandas(), {"using": using, "schema": schema})
    return Model(storage, engine.summary())


@pytest.mark.parametrize("name", sorted(updating.LEARN_ON | updating.ADD_TREES))
def test_finetune_goes_on_with_every_estimator_that_can(name: str) -> None:
    target = {"Classifier": "label", "Regressor": "y"}.get(
        next((k for k in ("Classifier", "Regressor") if k in name), "")
    )
    target = "label" if name.endswith("NB") or name == "Perceptron" else target
    keep = ["x", "c", *([target] if target else [])]
    model = train(rows(200).select(keep), TYPES, target, estimator=name)
    before = model.answers(rows(300, 3))
    moved = rows(100, seed=2)
    moved = moved.set_column(0, "x", pa.array(moved["x"].to_numpy() + 3))
    new = finetune(model, moved.select(keep))
    assert new.summary.rows == 300 and new.summary.inputs == model.summary.inputs
    assert "FINETUNE" in new.notes() and "100 new rows" in new.notes()
    after = new.answers(rows(300, 3))
    assert model.answers(rows(300, 3)) == before, "the old version must not change"
    assert all(len(values) == 300 for values in after.values()) and not all(
        after[k].equals(before[k]) for k in after
    )
    again = finetune(new, rows(50, seed=4).select(keep))
    assert again.summary.rows == 350


def test_forests_grow_by_the_share_of_the_new_rows() -> None:
    model = train(rows(200).drop(["label"]), TYPES, "y", estimator="RandomForestRegressor", n_estimators=20)
    new = finetune(model, rows(100, seed=2).drop(["label"]))
    told = new.engine().describe("model").set_index("parameter")["value"]
    assert told["n_estimators"] == "30" and "grew 10 further trees" in new.notes()


def test_finetune_takes_unseen_categories_and_missing_targets() -> None:
    model = train(rows(200).drop(["y"]), TYPES, "label", estimator="SGDClassifier", loss="log_loss")
    table = pa.table({"x": [0.1, 5.0, None], "c": ["new", None, "p"], "label": ["low", "high", None]})
    new = finetune(model, table)
    assert (new.summary.rows, new.summary.rows_left_out) == (202, 1)


@pytest.mark.parametrize(
    ("estimator", "table", "message"),
    [
        ("HistGradientBoostingClassifier", rows(50), "Classifier cannot be continued on new rows only"),
        ("LogisticRegression", rows(50), "LogisticRegression cannot be continued"),
        ("GaussianNB", rows(0), "gave no rows"),
        ("GaussianNB", pa.table({"x": [1.0], "label": ["low"]}), 'lack the column "c"'),
        ("GaussianNB", pa.table({"x": [1.0], "c": ["p"]}), 'lack the target column "label"'),
        (
            "GaussianNB",
            pa.table({"x": [1.0], "c": ["p"], "label": ["odd"]}),
            "has the value odd, unknown to the model",
        ),
        (
            "RandomForestClassifier",
            pa.table({"x": [1.0], "c": ["p"], "label": ["low"]}),
            "new rows of every class",
        ),
    ],
)
def test_what_finetune_refuses(estimator: str | None, table: pa.Table, message: str) -> None:
    model = train(rows(100).drop(["y"]), TYPES, "label", estimator=estimator)
    with pytest.raises(StatementError, match=message) as caught:
        finetune(model, table)
    if "cannot be continued" in message:
        assert "SGDClassifier" in str(caught.value.hint) and "RandomForestClassifier" in str(
            caught.value.hint
        )


# Ready-made models ----------------------------------------------------------------------------------------


def register(path: Path, target: str | None = "answer", trusted: bool = False, **using: Any) -> Model:
    storage = Storage()
    engine = SklearnEngine(model_storage=storage)
    args = {"using": options({"path": str(path), **using}), "schema": None, "trusted": trusted}
    engine.create(target, None, args)
    return Model(storage, engine.summary())


def test_a_pipeline_from_a_skops_file(tmp_path: Path) -> None:
    table = rows(200)
    frame = table.to_pandas()
    frame["t"] = frame["c"] + " und so weiter"
    parts = [
        ("n", StandardScaler(), ["x"]),
        ("c", OneHotEncoder(handle_unknown="ignore"), ["c"]),
        ("t", TfidfVectorizer(), "t"),
    ]
    pipeline = make_pipeline(ColumnTransformer(parts), LogisticRegression()).fit(
        frame[["x", "c", "t"]], frame["label"]
    )
    skops.io.dump(pipeline, tmp_path / "model.skops")
    model = register(tmp_path / "model.skops")
    assert list(model.summary.inputs.pairs()) == [("x", "DOUBLE"), ("c", "VARCHAR"), ("t", "VARCHAR")]
    assert model.summary.classes == ("high", "low") and model.summary.task == "classification"
    answers = model.answers(pa.Table.from_pandas(frame))
    assert answers["answer"].to_pylist() == pipeline.predict(frame).tolist()
    np.testing.assert_allclose(
        answers["answer_confidence"].to_numpy(), pipeline.predict_proba(frame).max(axis=1)
    )
    unseen = pa.table({"x": [1.0], "c": pa.array([None], pa.string()), "t": ["?"]})
    assert model.answers(unseen)["answer"].to_pylist()[0] in ("high", "low")
    assert model.engine().describe("model")["parameter"].tolist()[0] == "C"
    with pytest.raises(StatementError, match="a registered model cannot be continued"):
        finetune(model, rows(10))


def test_a_pipeline_without_an_imputer_names_the_input_that_is_missing(tmp_path: Path) -> None:
    frame = rows(100).to_pandas()
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame[["x", "y"]], frame["label"])
    skops.io.dump(pipeline, tmp_path / "model.skops")
    model = register(tmp_path / "model.skops")
    with pytest.raises(DataError, match='Pipeline could not predict where "y" is NULL: Input X contains NaN'):
        model.answers(pa.table({"x": [1.0, 2.0], "y": [1.0, None]}))


def test_a_bare_regressor_and_a_pickle(tmp_path: Path) -> None:
    frame = rows(100).to_pandas()
    forest = RandomForestRegressor(5, random_state=0).fit(frame[["x"]], frame["y"])
    joblib.dump(forest, tmp_path / "model.joblib")
    with pytest.raises(StatementError, match="can run any code") as caught:
        register(tmp_path / "model.joblib")
    assert "trusted = true" in str(caught.value.hint)
    model = register(tmp_path / "model.joblib", trusted=True)
    assert list(model.storage.files) == ["model.skops", "model.json"], "what can be stored safely is"
    assert list(model.summary.outputs.pairs()) == [("answer", "DOUBLE")]
    np.testing.assert_allclose(model.answers(rows(100))["answer"].to_numpy(), forest.predict(frame[["x"]]))


def test_what_only_a_pickle_can_hold_must_be_trusted_by_every_session(tmp_path: Path) -> None:
    frame = rows(100).to_pandas()
    pipeline = make_pipeline(FunctionTransformer(pd.DataFrame.abs), LogisticRegression())
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(pipeline.fit(frame[["x"]], frame["label"])))
    model = register(tmp_path / "model.pickle", trusted=True)
    assert "stored as a pickle" in model.notes()
    with pytest.raises(StatementError, match="stored as a pickle, which can run any code"):
        model.engine().predictor({"using": {"trusted": True}})
    model.predictor = model.engine().predictor({"predict_params": {"trusted": True}})
    assert model.answers(rows(100))["answer"].to_pylist() == pipeline.predict(frame[["x"]]).tolist()


def test_what_cannot_be_registered(tmp_path: Path) -> None:
    frame = rows(50).to_pandas()
    path = tmp_path / "model.skops"
    skops.io.dump(LogisticRegression().fit(frame[["x"]].to_numpy(), frame["label"]), path)
    with pytest.raises(StatementError, match="does not know the names of its inputs"):
        register(path)
    skops.io.dump(StandardScaler().fit(frame[["x"]]), path)
    with pytest.raises(StatementError, match="StandardScaler, which cannot predict"):
        register(path)
    skops.io.dump(make_pipeline(FunctionTransformer(json.dumps)), path)
    with pytest.raises(
        StatementError, match=r"holds the type json\.dumps, which is not on the list of safe types"
    ):
        register(path)
    path.write_bytes(b"PK nonsense")
    with pytest.raises(StatementError, match="cannot load"):
        register(path)
    with pytest.raises(StatementError, match="cannot read the model file"):
        register(tmp_path / "none.skops")
    with pytest.raises(StatementError, match="estimator and path exclude each other"):
        register(path, estimator="Ridge")
    with pytest.raises(StatementError, match="needs a name for its answer"):
        register(path, target=None)
    with pytest.raises(StatementError, match="takes no training rows"):
        SklearnEngine(model_storage=Storage()).create("y", frame, {"using": {"path": str(path)}})


# Artifacts ------------------------------------------------------------------------------------------------


def damaged(model: Model, name: str, content: bytes) -> SklearnEngine:
    files = {**model.storage.files, name: content}
    return SklearnEngine(model_storage=Storage(files.get, lambda: files))


def test_a_damaged_artifact_is_one_clear_error() -> None:
    model = train(*column([0, 1] * 30, "BIGINT"), "y")
    data = model.storage.files["model.skops"]
    for content in (data[:-1], b"", data[:100] + b"x" + data[101:]):
        with pytest.raises(CatalogError, match="damaged: its digest does not fit"):
            damaged(model, "model.skops", content).predictor({})
    with pytest.raises(CatalogError, match="metadata"):
        damaged(model, "model.json", b"{").predictor({})
    with pytest.raises(MindSQLError, match=r'no stored file "model\.skops"'):
        files = {"model.json": model.storage.files["model.json"]}
        SklearnEngine(model_storage=Storage(files.get, lambda: files)).predictor({})


def test_a_forged_artifact_does_not_load() -> None:
    from mindsql_engines.sklearn import artifacts

    model = train(*column([0, 1] * 30, "BIGINT"), "y")
    evil = skops.io.dumps({"estimator": FunctionTransformer(json.dumps), "wordings": {}})
    meta = json.loads(model.storage.files["model.json"]) | {"digest": artifacts.digest(evil)}
    files = {"model.json": json.dumps(meta).encode(), "model.skops": evil}
    with pytest.raises(CatalogError, match=r"holds the type json\.dumps, which is not allowed"):
        SklearnEngine(model_storage=Storage(files.get, lambda: files)).predictor({})


def test_a_model_of_another_version_says_which_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    model = train(*column([0, 1] * 30, "BIGINT"), "y")
    meta = json.loads(model.storage.files["model.json"]) | {"library": "1.2.3"}
    engine = damaged(model, "model.json", json.dumps(meta).encode())
    assert engine.predictor({}) is not None, "another version is tried"

    def fail(*args: Any, **kwargs: Any) -> None:
        raise TypeError("no such attribute")

    monkeypatch.setattr(skops.io, "loads", fail)
    with pytest.raises(MindSQLError, match=r"trained with scikit-learn 1\.2\.3, and does not load") as caught:
        engine.predictor({})
    assert "scikit-learn==1.2.3" in str(caught.value.hint)


def test_finetune_without_a_target_column_value() -> None:
    model = train(rows(100).drop(["y"]), TYPES, "label", estimator="GaussianNB")
    empty = pa.table({"x": [1.0], "c": ["p"], "label": pa.array([None], pa.string())})
    with pytest.raises(DataError, match="no new row has a value"):
        finetune(model, empty)


def test_a_search_over_pipelines_and_columns_that_it_drops(tmp_path: Path) -> None:
    frame = pd.DataFrame({"n": [1.0, 2, 3, 4] * 5, "city": ["a", "b"] * 10})
    numbers = make_column_transformer((StandardScaler(), make_column_selector(dtype_include="number")))
    search = GridSearchCV(make_pipeline(numbers, LinearRegression()), {"linearregression__positive": [True]}, cv=2)
    skops.io.dump(search.fit(frame, frame["n"] * 2), tmp_path / "model.skops")
    with mindsql.connect() as con:
        con.execute("CREATE MODEL m PREDICT y USING path = $path", {"path": str(tmp_path / "model.skops")})
        assert [row[0] for row in con.execute("SELECT round(m.y) FROM frame JOIN m LIMIT 2").fetchall()] == [2, 4]
        with pytest.raises(UnknownNameError, match="the file's preprocessing drops it"):
            con.execute("SELECT y FROM m WHERE n = 1 AND city = 'a'")
