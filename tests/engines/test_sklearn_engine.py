"""The sklearn engine through its contract: train, store, load, predict, describe."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from trained import column, options, passengers, train

import mindsql
from mindsql.engine import Storage
from mindsql.errors import DataError, StatementError, UnknownNameError
from mindsql.schema import Schema
from mindsql_engines.sklearn import SklearnEngine, stopping, threads


@pytest.mark.parametrize(
    ("target", "using"),
    [
        ("survived", {}),
        ("survived", {"estimator": "LogisticRegression"}),
        ("age", {"estimator": "RandomForestRegressor", "n_estimators": 5}),
        ("age", {"estimator": "Ridge"}),
        ("port", {"estimator": "GradientBoostingClassifier", "n_estimators": 3}),
        ("sex", {"estimator": "CategoricalNB"}),
        ("fare", {"estimator": "DecisionTreeClassifier", "task": "classification", "test_size": 0}),
        ("outlier", {"estimator": "IsolationForest", "n_estimators": 5}),
    ],
)
def test_arrow_and_data_frame_make_the_same_model(target: str, using: dict[str, Any]) -> None:
    table, types = passengers()
    if target == "fare":  # a few classes
        cents = pa.array([None if i == 5 else Decimal(i % 3) / 4 for i in range(400)], pa.decimal128(10, 2))
        table = table.set_column(table.column_names.index("fare"), "fare", cents)
    one, other = (train(table, types, target, arrow=arrow, **using) for arrow in (False, True))
    first, second = (model.storage.json_get("model") | {"digest": None} for model in (one, other))
    assert first == second  # the files hold the addresses of objects, so digests always differ
    odd = passengers(300, seed=7)[0]  # other names, dates, ages
    for rows in (table, odd.set_column(odd.column_names.index("sex"), "sex", pa.array(["unseen"] * 300))):
        assert one.answers(rows) == other.answers(rows)


@pytest.mark.parametrize(
    ("target", "using"),
    [
        ("age", {"estimator": "HistGradientBoostingRegressor", "early_stopping": True}),
        ("port", {"estimator": "HistGradientBoostingClassifier", "early_stopping": True, "random_state": 3}),
        ("survived", {"estimator": "HistGradientBoostingClassifier", "rows": 12_600, "test_size": 0.1}),
    ],
)
def test_rows_to_stop_by_are_those_that_the_estimator_would_take(
    target: str, using: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"max_iter": 8, "n_iter_no_change": 2, **using}
    table, types = passengers(options.pop("rows", 1000))
    table = table.drop_columns(["name"])  # words take long
    told = []
    split = stopping.split
    monkeypatch.setattr(stopping, "split", lambda *args: told.append(split(*args)) or told[-1])
    ours = train(table, types, target, arrow=True, **options)
    assert len(told) == 2 and None not in told  # without the rows held out, then with all
    monkeypatch.setattr(stopping, "split", lambda *_: None)
    plain = train(table, types, target, arrow=True, **options)
    first, second = (model.storage.json_get("model") | {"digest": None} for model in (ours, plain))
    assert first == second
    assert ours.answers(table) == plain.answers(table)


@pytest.mark.parametrize(
    "using",
    [
        {"early_stopping": "auto"},
        {"early_stopping": False},
        {"early_stopping": True, "validation_fraction": None},
        {"early_stopping": True, "class_weight": "balanced"},
        {"early_stopping": True, "validation_fraction": 1},  # fewer rows than classes
    ],
)
def test_the_estimator_itself_does_what_only_it_can(using: dict[str, Any]) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    assert stopping.split(HistGradientBoostingClassifier(**using), 100, np.arange(100) % 2) is None


def test_importing_the_engine_loads_no_heavy_library() -> None:
    code = (
        "import sys, mindsql_engines.sklearn; "
        "print([name for name in ('sklearn', 'pandas', 'skops') if name in sys.modules])"
    )
    environment = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip() == "[]"


def test_every_column_gets_its_role() -> None:
    table, types = passengers()
    model = train(table, types, "survived")
    features = model.engine().describe("features").set_index("column")
    assert features["role"].to_dict() == {
        "passenger": "number", "grade": "number", "sex": "category", "age": "number", "fare": "number",
        "name": "text", "port": "category", "alone": "boolean", "boarded": "date", "born": "date",
        "ship": "left out", "cabins": "left out", "empty": "left out",
    }  # fmt: skip
    assert features.loc["ship", "note"] == "constant"
    assert features.loc["empty", "note"] == "all values are NULL"
    assert features.loc["cabins", "note"] == "type VARCHAR[] is not supported"
    assert features["importance"].idxmax() == "sex"
    assert model.summary.inputs.names == [
        "passenger", "grade", "sex", "age", "fare", "name", "port", "alone", "boarded", "born",
    ]  # fmt: skip
    assert "left out: ship (constant)" in model.notes()


@pytest.mark.parametrize(
    "estimator", [None, "LogisticRegression", "RandomForestClassifier", "MultinomialNB", "CategoricalNB"]
)
def test_what_is_stored_answers_like_what_was_trained(estimator: str | None) -> None:
    table, types = passengers()
    model = train(table, types, "survived", estimator=estimator)
    summary = model.summary
    assert list(summary.outputs.pairs()) == [
        ("survived", "BIGINT"), ("survived_confidence", "DOUBLE"), ("survived_explain", "JSON"),
    ]  # fmt: skip
    assert summary.classes == ("0", "1") and summary.rows == 400 and summary.task == "classification"
    answers = model.answers(table)
    assert answers["survived"].type == pa.int64()
    right = np.mean(answers["survived"].to_numpy() == table["survived"].to_numpy())
    assert right > summary.baseline["accuracy"]
    frame = model.engine().predict(table.to_pandas(), {})
    for name, values in answers.items():
        assert frame[name].tolist() == values.to_pylist()
    for confidence, explain, label in zip(
        *(answers[f"survived{s}"].to_pylist() for s in ("_confidence", "_explain", "")), strict=True
    ):
        told = json.loads(explain)
        assert told["predicted_value"] == label and told["confidence"] == confidence
        assert told["probabilities"][str(label)] == confidence and set(told["probabilities"]) == {"0", "1"}


def test_scores_stand_beside_a_baseline() -> None:
    table, types = passengers()
    model = train(table, types, "survived")
    assert model.summary.accuracy == model.summary.metrics["accuracy"] > model.summary.baseline["accuracy"]
    assert set(model.summary.metrics) == {"accuracy", "balanced_accuracy", "f1", "log_loss", "roc_auc"}
    engine = model.engine()
    assert engine.describe()["tables"].tolist() == ["info", "features", "metrics", "model", "confusion"]
    assert engine.describe("confusion")["rows"].sum() == 80
    metrics = engine.describe("metrics")
    assert metrics["metric"].tolist() == list(model.summary.metrics)
    parameters = engine.describe("model").set_index("parameter")
    assert parameters.loc["max_iter", "value"] == "100"
    with pytest.raises(UnknownNameError, match="metric") as caught:
        engine.describe("metric")
    assert "metrics" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("values", "duckdb_type", "task", "why"),
    [
        (
            [0, 1] * 30,
            "BIGINT",
            "classification",
            "target y is BIGINT with 2 distinct values; say task = 'regression'",
        ),
        ([1, 2, 3] * 20, "INTEGER", "classification", "3 distinct values"),
        ([10, 20] * 30, "INTEGER", "classification", "2 distinct values"),
        (list(range(60)), "BIGINT", "regression", "60 distinct values; say task = 'classification'"),
        ([2, 4, 9, 30, 31, 77] * 10, "BIGINT", "regression", "6 distinct values"),
        ([0.5, 1.5] * 30, "DOUBLE", "regression", "target y is DOUBLE"),
        (["a", "b"] * 30, "VARCHAR", "classification", "target y is VARCHAR"),
        ([True, False] * 30, "BOOLEAN", "classification", "target y is BOOLEAN"),
    ],
)
def test_the_task_is_inferred_and_explained(values: list[Any], duckdb_type: str, task: str, why: str) -> None:
    model = train(*column(values, duckdb_type), "y", estimator=None)
    assert model.summary.task == task
    assert why in model.summary.notes[0]


@pytest.mark.parametrize(
    ("values", "duckdb_type", "task", "answer", "arrow"),
    [
        ([1, 2] * 30, "TINYINT", "classification", "TINYINT", pa.int8()),
        ([True, False] * 30, "BOOLEAN", "classification", "BOOLEAN", pa.bool_()),
        (["ä", "ß"] * 30, "VARCHAR", "classification", "VARCHAR", pa.string()),
        (
            [Decimal("1.50"), Decimal("2.25")] * 30,
            "DECIMAL(5,2)",
            "classification",
            "DECIMAL(5,2)",
            pa.decimal128(5, 2),
        ),
        ([1.0, 2.5] * 30, "DOUBLE", "classification", "DOUBLE", pa.float64()),
        (list(range(60)), "BIGINT", "regression", "DOUBLE", pa.float64()),
        ([Decimal(n) for n in range(60)], "DECIMAL(5,2)", "regression", "DOUBLE", pa.float64()),
        (np.arange(60, dtype=np.float32), "FLOAT", "regression", "FLOAT", pa.float32()),
    ],
)
def test_answers_have_the_type_of_the_target(
    values: Any, duckdb_type: str, task: str, answer: str, arrow: pa.DataType
) -> None:
    table, types = column(values, duckdb_type)
    model = train(
        table, types, "y", task=task, estimator="DecisionTreeClassifier" if task == "classification" else None
    )
    assert model.summary.outputs[0].type == answer
    answers = model.answers(table)["y"]
    assert answers.type == arrow
    if task == "classification":
        assert answers.to_pylist() == table["y"].to_pylist()
        explained = json.loads(model.answers(table)["y_explain"][0].as_py())
        assert explained["predicted_value"] == (
            float(values[0]) if isinstance(values[0], Decimal) else values[0]
        )


def test_rows_without_a_target_are_left_out_and_counted() -> None:
    model = train(*column([None if i % 10 == 0 else i % 3 for i in range(60)], "BIGINT"), "y")
    assert (model.summary.rows, model.summary.rows_left_out) == (54, 6)
    assert "6 rows without a target" in model.notes()


def test_the_target_is_found_whatever_its_case() -> None:
    table, types = column([0, 1] * 30, "BIGINT")
    model = train(table, types, "Y")
    assert model.summary.inputs.names == ["x"] and model.summary.outputs[0].name == "Y"


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("estimator", [None, "LinearRegression", "RandomForestRegressor"])
def test_few_rows_make_a_model_without_scores(rows: int, estimator: str | None) -> None:
    table, types = column(np.arange(rows) * 1.5, "DOUBLE", rows)
    table = table.append_column("word", pa.array([f"w{i}" for i in range(rows)]))
    model = train(table, types | {"word": "VARCHAR"}, "y", estimator=estimator) if rows > 1 else None
    if model is None:
        with pytest.raises(DataError, match="no column is left to predict from"):
            train(table, types | {"word": "VARCHAR"}, "y", estimator=estimator)
        return
    assert model.summary.metrics == {} and model.summary.accuracy is None
    assert "too few to hold some out" in model.notes()
    assert len(model.answers(table)["y"]) == rows


@pytest.mark.parametrize(
    ("values", "duckdb_type", "using", "message"),
    [
        ([7] * 60, "BIGINT", {"task": "classification"}, 'the target "y" has only one value, 7'),
        ([None] * 60, "DOUBLE", {}, 'no row has a value of the target "y"'),
        ([dt.date(2020, 1, 1)] * 60, "DATE", {}, 'the target "y" is of type DATE, which cannot be predicted'),
        (["a", "b"] * 30, "VARCHAR", {"task": "regression"}, "asks for regression, but the target"),
        (["a", "b"] * 30, "VARCHAR", {"estimator": "Ridge"}, "estimator = 'Ridge' asks for regression"),
        (np.arange(60) / 7, "DOUBLE", {"task": "classification"}, "60 distinct values in 60 rows, too many"),
        ([0, 1] * 30, "BIGINT", {"estimator": "Ridge", "task": "classification"}, "Ridge does regression"),
        ([0, 1] * 30, "BIGINT", {"features": ["z"]}, 'unknown column in features "z"'),
        ([0, 1] * 30, "BIGINT", {"test_size": 1.0}, "test_size is 1.0"),
    ],
)
def test_what_cannot_be_trained_is_one_clear_error(
    values: Any, duckdb_type: str, using: dict[str, Any], message: str
) -> None:
    with pytest.raises(StatementError) as caught:
        train(*column(values, duckdb_type), "y", **using)
    assert message in caught.value.message


def test_no_rows_and_no_target() -> None:
    table, types = column([0, 1] * 30, "BIGINT")
    with pytest.raises(DataError, match="gave no rows"):
        train(table.slice(0, 0), types, "y")
    with pytest.raises(UnknownNameError, match='unknown target column "why"'):
        train(table, types, "why")
    with pytest.raises(StatementError, match="names no target"):
        train(table, types, None)
    with pytest.raises(StatementError, match="there are no rows to train on"):
        SklearnEngine(model_storage=Storage()).create("y", None, {"using": {}})


def test_time_series_clauses_are_refused() -> None:
    table, _ = column([0, 1] * 30, "BIGINT")
    settings = {"is_timeseries": True, "order_by": ["x"], "window": 10}
    with pytest.raises(StatementError, match="does not forecast"):
        SklearnEngine(model_storage=Storage()).create(
            "y", table.to_pandas(), {"using": {}, "timeseries_settings": settings}
        )


def test_a_column_that_looks_like_a_key_is_kept_and_said() -> None:
    table = pa.table({"id": list(range(60)), "y": [i * 2.0 for i in range(60)]})
    assert train(table, {"id": "BIGINT", "y": "DOUBLE"}, "y").summary.inputs.names == ["id"]
    table = table.append_column("z", pa.array(np.sin(np.arange(60.0))))
    types = {"id": "BIGINT", "y": "DOUBLE", "z": "DOUBLE"}
    kept = train(table, types, "y")
    assert kept.summary.inputs.names == ["id", "z"]
    assert "id: looks like a key of the rows; exclude = ['id'] leaves it out" in kept.summary.notes
    assert train(table, types, "y", features=["ID"]).summary.inputs.names == ["id"]
    without = train(table, types, "y", exclude=["ID"])
    assert without.summary.inputs.names == ["z"] and without.summary.left_out == {"id": "excluded"}
    with pytest.raises(UnknownNameError, match='column in exclude "no"'):
        train(table, types, "y", exclude=["no"])


def test_numbers_written_as_text_are_numbers() -> None:
    texts = [str(n * 1.5) for n in range(99)] + ["n/a"]
    table = pa.table({"size": texts, "y": np.arange(100.0)})
    model = train(table, {"size": "VARCHAR", "y": "DOUBLE"}, "y", estimator="LinearRegression")
    assert model.engine().describe("features")["role"].tolist() == ["number"]
    assert "text that holds numbers" in model.notes()
    low, high, other = model.answers(pa.table({"size": ["15", "30", "?"]}))["y"].to_pylist()
    assert low == pytest.approx(10, abs=2) and high == pytest.approx(20, abs=2) and other is not None


def test_anomalies() -> None:
    random = np.random.default_rng(0)
    x = np.concatenate([random.normal(0, 1, 195), [30, 31, 32, -30, 29]])
    table = pa.table({"x": x, "odd": np.abs(x) > 20})
    types = {"x": "DOUBLE", "odd": "BOOLEAN"}
    model = train(table.select(["x"]), types, None, anomaly=True, contamination=0.03)
    assert [c.name for c in model.summary.outputs] == ["outlier", "outlier_confidence", "outlier_explain"]
    assert model.summary.outputs[0].type == "BOOLEAN" and model.summary.task == "anomaly"
    answers = model.answers(table)
    assert answers["outlier"].to_pylist()[-5:] == [True] * 5 and sum(answers["outlier"].to_pylist()) <= 8
    confidence = answers["outlier_confidence"].to_numpy()
    assert (
        confidence[-5:].min() > np.median(confidence[:-5]) and 0 <= confidence.min() <= confidence.max() <= 1
    )
    told = json.loads(answers["outlier_explain"][-1].as_py())
    assert told["predicted_value"] is True and told["anomaly_score"] > 0
    known = train(table, types, "odd", anomaly=True)
    assert known.summary.inputs.names == ["x"] and known.summary.metrics["accuracy"] > 0.5
    named = train(table.select(["x"]), types, "strange", estimator="OneClassSVM")
    assert named.summary.outputs[0].name == "strange"
    with pytest.raises(StatementError, match="CREATE ANOMALY DETECTION MODEL asks for anomaly"):
        train(table, types, "odd", anomaly=True, estimator="Ridge")


def test_clusters() -> None:
    table = pa.table(
        {"x": np.r_[np.random.default_rng(0).normal(0, 1, 50), np.random.default_rng(1).normal(50, 1, 50)]}
    )
    model = train(table, {"x": "DOUBLE"}, None, estimator="KMeans", n_clusters=2)
    assert list(model.summary.outputs.pairs()) == [("cluster", "INTEGER")]
    labels = model.answers(table)["cluster"].to_pylist()
    assert len(set(labels[:50])) == len(set(labels[50:])) == 1 and labels[0] != labels[-1]
    assert model.summary.metrics["clusters"] == 2 and model.summary.metrics["silhouette"] > 0.9
    mixed = train(table, {"x": "DOUBLE"}, "kind", estimator="GaussianMixture", n_components=2)
    assert [c.name for c in mixed.summary.outputs] == ["kind", "kind_confidence", "kind_explain"]
    assert mixed.answers(table)["kind"].type == pa.int32()


def test_training_tells_how_far_it_is() -> None:
    told: list[tuple[float, float, str]] = []
    table, types = column([0, 1] * 30, "BIGINT")
    storage = Storage(progress=lambda *step: told.append(step))
    schema = Schema.of(types.items())
    SklearnEngine(model_storage=storage).create(
        "y", table.to_pandas(), {"using": options({}), "schema": schema}
    )
    assert [step[0] for step in told] == sorted(step[0] for step in told)
    assert told[0][2] == "reading columns" and told[-1][:2] == (5, 5)
    assert "training on 48 rows" in [step[2] for step in told]


def test_pandas_frames_without_arrow_types_are_understood() -> None:
    frame = pd.DataFrame(
        {
            "n": [1.5, None] * 20,
            "b": pd.Series([True, None, False, True] * 10, dtype=object),
            "d": pd.Series([dt.date(2020, 1, 1 + i % 28) for i in range(40)], dtype=object),
            "c": pd.Categorical(["a", "b", None, "a"] * 10),
            "m": pd.Series([Decimal("1.5"), None] * 20, dtype=object),
            "y": ["yes", "no"] * 20,
        }
    )
    types = {"n": "DOUBLE", "b": "BOOLEAN", "d": "DATE", "c": "VARCHAR", "m": "DECIMAL(4,2)", "y": "VARCHAR"}
    for schema in (Schema.of(types.items()), Schema()):
        storage = Storage()
        engine = SklearnEngine(model_storage=storage)
        engine.create("y", frame, {"using": {}, "schema": schema})
        assert engine.summary().inputs.names == ["n", "b", "d", "c", "m"]
        assert engine.predict(frame, {"columns": ["y"]})["y"].tolist() == frame["y"].tolist()


_FIRST_USE = """
import threading
from mindsql_engines.sklearn import SklearnEngine, stopping, threads
names = "LogisticRegression RandomForestClassifier KMeans SVC GaussianNB PLSRegression IsolationForest".split()
together, failed = threading.Barrier(len(names)), []
def use(name):
    together.wait()
    try:
        SklearnEngine.options_for({"estimator": name})
    except BaseException as error:
        failed.append(f"{name}: {error!r}")
threads = [threading.Thread(target=use, args=(name,)) for name in names]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not failed, failed
"""


def test_the_first_use_by_several_threads() -> None:
    """scikit-learn's modules import each other, and threads that begin with different ones get in each other's way."""
    done = subprocess.run([sys.executable, "-c", _FIRST_USE], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("duckdb_type", ["DOUBLE[2]", "FLOAT[]", "INTEGER[]", "DECIMAL(6,2)[]"])
def test_lists_of_one_length_are_numbers(duckdb_type: str) -> None:
    with mindsql.connect() as con:
        lists = f"[i % 7, i % 5]::{duckdb_type}"
        con.execute(f"CREATE TABLE t AS SELECT {lists} AS e, i % 7 + 2 * (i % 5) AS y FROM range(99) r(i)")
        con.execute("CREATE MODEL m FROM (SELECT * FROM t) PREDICT y USING estimator = 'LinearRegression'")
        assert con.execute("SELECT max(abs(t.y - m.y)) < 1e-6 FROM t JOIN m").fetchone() == (True,)
        assert con.execute("SELECT round(y) FROM m WHERE e = [3, 4]").fetchone() == (11,)
        assert con.execute("SELECT round(y) FROM m WHERE e = $e", {"e": np.array([3.0, 4.0])}).fetchone() == (11,)
        assert con.execute("SELECT y IS NULL FROM m WHERE e IS NULL").fetchone() == (False,)
        with pytest.raises(DataError, match='"e" takes lists of 2 numbers, and one holds 3'):
            con.execute("SELECT y FROM m WHERE e = [1, 2, 3]").fetchall()


def test_lists_of_several_lengths_are_left_out_and_said() -> None:
    with mindsql.connect() as con:
        con.execute("CREATE TABLE t AS SELECT range(i % 3)::DOUBLE[] AS e, i % 7 AS x, i % 7 AS y FROM range(99) r(i)")
        con.execute("CREATE MODEL m FROM (SELECT * FROM t) PREDICT y USING task = 'regression'")
        notes = con.execute("DESCRIBE m.features").fetchall()
        assert [note for *_, note in notes] == ["its lists are not all of one length", ""]


def test_bounds_and_probabilities_are_columns_that_must_be_named() -> None:
    with mindsql.connect() as con:
        con.execute("CREATE TABLE t AS SELECT i % 9 AS x, i % 9 + i % 4 AS y, i % 3 = 0 AS c FROM range(300) r(i)")
        con.execute("CREATE MODEL m FROM (SELECT x, y FROM t) PREDICT y AS z USING estimator = 'Ridge'")
        con.execute("CREATE MODEL k FROM (SELECT x, c FROM t) PREDICT c USING estimator = 'LogisticRegression'")
        names = con.execute("SELECT * FROM m WHERE x = 1").df().columns.tolist()
        assert names == ["z", "z_confidence", "z_explain", "x"]
        bounds = "z_explain->>'confidence_lower_bound', z_explain->>'confidence_upper_bound'"
        row = con.execute(f"SELECT z_lower, z_upper, {bounds} FROM m WHERE x = 1").fetchone()
        assert row is not None and row[:2] == tuple(map(float, row[2:]))
        asked = "k.c_probabilities['true'], k.c_confidence, k.c, typeof(k.c_probabilities)"
        for sure, confidence, answer, kind in con.execute(f"SELECT {asked} FROM t JOIN k").fetchall():
            assert (sure if answer else 1 - sure) == pytest.approx(confidence) and kind == "MAP(VARCHAR, DOUBLE)"
        # A column of the data has its name still.
        assert con.execute("SELECT z_lower FROM (SELECT x, 7 AS z_lower FROM t) JOIN m LIMIT 1").fetchone() == (7,)


def test_blas_has_its_threads_again_after_limits_that_overlap() -> None:
    """The limit of BLAS is the process's: each of two trainings would restore what the other had set."""
    from threadpoolctl import ThreadpoolController

    def counts() -> list[int]:
        return [library.num_threads for library in ThreadpoolController().select(user_api="blas").lib_controllers]

    with threads.few(1000, threads.FEW_TO_TRAIN):  # loads what is counted
        pass
    before = counts()
    first, second = (threads.few(1000, threads.FEW_TO_TRAIN) for _ in range(2))
    first.__enter__()
    second.__enter__()
    assert set(counts()) == {1}
    first.__exit__(None, None, None)
    assert set(counts()) == {1}
    second.__exit__(None, None, None)
    assert counts() == before
