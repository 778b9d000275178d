"""The predictor, from Arrow to Arrow: equal to plain scikit-learn, and at ease with every batch."""

from __future__ import annotations

import datetime as dt
import json
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from trained import Model, column, passengers, train

from mindsql.errors import DataError, EngineError


@cache
def model(estimator: str | None = None) -> Model:
    return train(*passengers(), "survived", estimator=estimator, exclude=["passenger"])


def test_a_linear_classifier_equals_the_pipeline_written_by_hand() -> None:
    table, types = passengers(600)
    table = table.select(["grade", "sex", "age", "survived"])
    ours = train(table, types, "survived", estimator="LogisticRegression", C=0.3)
    frame = table.to_pandas()
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True))
    hand = ColumnTransformer(
        [("n", numbers, ["grade", "age"]), ("c", OneHotEncoder(drop="if_binary"), ["sex"])],
        sparse_threshold=0,
    )
    matrix = hand.fit_transform(frame)
    matrix[:, :2] = StandardScaler().fit_transform(matrix[:, :2])
    # Which of two categories is 1 is another choice of sign, and all but the same model.
    expected = LogisticRegression(C=0.3).fit(matrix, frame["survived"])
    answers = ours.answers(table)
    assert answers["survived"].to_pylist() == expected.predict(matrix).tolist()
    confidence = answers["survived_confidence"].to_numpy()
    np.testing.assert_allclose(confidence, expected.predict_proba(matrix).max(axis=1), atol=2e-3)


def test_a_linear_regressor_equals_the_pipeline_written_by_hand() -> None:
    random = np.random.default_rng(1)
    table = pa.table(
        {"a": random.normal(size=300), "b": random.random(300), "c": random.choice(["p", "q", "r"], 300)}
    )
    target = table["a"].to_numpy() * 3 + (np.array(table["c"].to_pylist()) == "q") * 5
    table = table.append_column("y", pa.array(target))
    ours = train(table, {"a": "DOUBLE", "b": "DOUBLE", "c": "VARCHAR", "y": "DOUBLE"}, "y", estimator="Ridge")
    frame = table.to_pandas()
    hand = make_pipeline(
        ColumnTransformer([("n", StandardScaler(), ["a", "b"]), ("c", OneHotEncoder(), ["c"])]), Ridge()
    ).fit(frame, frame["y"])
    np.testing.assert_allclose(ours.answers(table)["y"].to_numpy(), hand.predict(frame))


@pytest.mark.parametrize("estimator", [None, "LogisticRegression", "RandomForestClassifier"])
def test_rows_are_answered_alike_alone_together_and_in_any_order(estimator: str | None) -> None:
    table, _ = passengers()
    trained = model(estimator)
    whole = trained.answers(table)
    predictor = trained.engine().predictor({})
    batch = table.select(trained.summary.inputs.names).combine_chunks().to_batches()[0]
    order = np.random.default_rng(0).permutation(batch.num_rows)
    shuffled = predictor.predict(batch.take(pa.array(order)), ["survived", "survived_confidence"])
    assert shuffled["survived"].equals(whole["survived"].take(pa.array(order)))
    for start, length in ((0, 1), (7, 16), (7, 17), (399, 1), (100, 300)):
        part = predictor.predict(batch.slice(start, length), ["survived", "survived_confidence"])
        assert part["survived"].equals(whole["survived"].slice(start, length))
        np.testing.assert_allclose(
            part["survived_confidence"].to_numpy(),
            whole["survived_confidence"].slice(start, length).to_numpy(),
        )


def test_long_batches_are_answered_in_pieces_and_by_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    from mindsql_engines.sklearn import predicting

    table, _ = passengers()
    long = pa.concat_tables([table] * 30)
    expected = model().answers(table)["survived"].to_pylist() * 30
    monkeypatch.setattr(predicting, "MATRIX_BYTES", 1)
    predictor = model().engine().predictor({})
    batch = long.select(model().summary.inputs.names).combine_chunks().to_batches()[0]
    assert predictor.predict(batch, ["survived"])["survived"].to_pylist() == expected
    with ThreadPoolExecutor(4) as pool:
        parts = list(
            pool.map(lambda at: predictor.predict(batch.slice(at, 500), ["survived"]), range(0, 12000, 500))
        )
    assert [v for part in parts for v in part["survived"].to_pylist()] == expected


def one(**values: Any) -> dict[str, Any]:
    base = {
        "grade": 1,
        "sex": "female",
        "age": 30.0,
        "fare": 10.0,
        "name": "Mrs. Ann Lee, born 5",
        "port": "Cork",
    }
    moments = {"alone": True, "boarded": dt.datetime(1912, 4, 9), "born": dt.date(1880, 3, 5)}
    return base | moments | values


FAMILIES = {
    "grade": [pa.int8(), pa.int64(), pa.uint16(), pa.float32(), pa.decimal128(28, 2)],
    "fare": [pa.int32(), pa.float64(), pa.decimal128(18, 6)],
    "sex": [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())],
    "name": [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.large_string())],
    "port": [pa.dictionary(pa.uint8(), pa.string()), pa.string()],
    "boarded": [
        pa.timestamp("us"),
        pa.timestamp("ns"),
        pa.timestamp("s"),
        pa.timestamp("us", "UTC"),
        pa.date32(),
    ],
    "born": [pa.date32(), pa.date64(), pa.timestamp("ms")],
    "alone": [pa.bool_(), pa.int8()],
}


@pytest.mark.parametrize("rows", [1, 40])
@pytest.mark.parametrize(("name", "kind"), [(n, k) for n, kinds in FAMILIES.items() for k in kinds])
def test_types_of_one_family_stand_for_each_other(name: str, kind: pa.DataType, rows: int) -> None:
    trained = model("LogisticRegression")
    plain = pa.Table.from_pylist([one(), one(**{name: None})] * rows)
    if pa.types.is_dictionary(kind):
        other = plain[name].cast(kind.value_type).combine_chunks().dictionary_encode().cast(kind)
    else:
        other = plain[name].cast(pa.int8()).cast(kind) if name == "alone" else plain[name].cast(kind)
    cast = plain.set_column(plain.column_names.index(name), name, other)
    assert trained.answers(cast) == trained.answers(plain)


def test_a_wrong_family_and_a_missing_input_name_the_column() -> None:
    trained = model()
    with pytest.raises(DataError, match='column "age" takes numbers'):
        trained.answers(pa.Table.from_pylist([one(age="old")]))
    with pytest.raises(DataError, match='column "age" takes numbers'):
        trained.answers(pa.Table.from_pylist([one(age="old")] * 40))
    with pytest.raises(DataError, match='column "born" takes dates'):
        trained.answers(pa.Table.from_pylist([one(born="1900")]))
    batch = pa.RecordBatch.from_pylist([{"grade": 1}])
    with pytest.raises(DataError, match='the input column "sex" is missing'):
        trained.engine().predictor({}).predict(batch, ["survived"])
    with pytest.raises(EngineError, match='does not answer "survived_why"'):
        trained.answers(pa.Table.from_pylist([one()]), ["survived_why"])


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "grade": st.integers(-(2**31), 2**31 - 1),
    "sex": st.text(max_size=8) | st.sampled_from(["male", "female"]),
    "age": st.floats(width=64),
    "fare": st.decimals(-9999, 9999, places=2),
    "name": st.text(max_size=30),
    "port": st.sampled_from(["Ängelholm", "Cork", "Ç'x\"\n"]),
    "alone": st.booleans(),
    "boarded": st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)),
    "born": st.dates(),
}
KINDS = {
    "grade": pa.int64(), "sex": pa.string(), "age": pa.float64(), "fare": pa.decimal128(10, 2),
    "name": pa.string(), "port": pa.string(), "alone": pa.bool_(), "boarded": pa.timestamp("us"),
    "born": pa.date32(),
}  # fmt: skip


@pytest.mark.parametrize("estimator", [None, "LogisticRegression", "RandomForestClassifier", "CategoricalNB"])
@settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.fixed_dictionaries({n: st.none() | s for n, s in VALUES.items()}), max_size=25))
def test_any_batch_is_answered_row_by_row(estimator: str | None, rows: list[dict[str, Any]]) -> None:
    trained = model(estimator)
    table = pa.Table.from_pylist(rows, pa.schema(KINDS.items()))
    answers = trained.answers(table)
    assert [answers[name].type for name in answers] == [pa.int64(), pa.float64(), pa.string()]
    assert all(len(values) == len(rows) and not values.null_count for values in answers.values())
    assert set(answers["survived"].to_pylist()) <= {0, 1}
    assert all(0 <= v <= 1 for v in answers["survived_confidence"].to_pylist())
    for text in answers["survived_explain"].to_pylist():
        json.loads(text)
    if rows:  # few rows take another way through the encoder than many
        many = trained.answers(pa.concat_tables([table] * 20), ["survived"])["survived"]
        assert many.to_pylist() == answers["survived"].to_pylist() * 20


def test_regression_intervals_are_told_as_json() -> None:
    random = np.random.default_rng(0)
    x = random.random(500)
    table = pa.table({"x": x, "y": 2 * x + random.normal(0, 0.1, 500)})
    trained = train(table, {"x": "DOUBLE", "y": "DOUBLE"}, "y", confidence=0.8)
    answers = trained.answers(table)
    assert set(answers["y_confidence"].to_pylist()) == {0.8}
    told = [json.loads(text) for text in answers["y_explain"].to_pylist()]
    assert [t["predicted_value"] for t in told] == answers["y"].to_pylist()
    assert all(t["confidence_lower_bound"] < t["predicted_value"] < t["confidence_upper_bound"] for t in told)
    assert set(told[0]) == {
        "predicted_value",
        "confidence",
        "confidence_lower_bound",
        "confidence_upper_bound",
    }


def test_labels_of_every_kind_are_valid_json() -> None:
    labels = ['say "hi"', "back\\slash", "naïve\n", "日本"] * 15
    trained = train(*column(labels, "VARCHAR"), "y", estimator="GaussianNB")
    for text in trained.answers(pa.table({"x": np.linspace(0, 1, 30)}))["y_explain"].to_pylist():
        told = json.loads(text)
        assert told["predicted_value"] in labels and set(told["probabilities"]) == set(labels)
    decimals = train(
        *column([Decimal("1.50"), Decimal("2.00")] * 30, "DECIMAL(4,2)"), "y", task="classification"
    )
    assert json.loads(decimals.answers(pa.table({"x": [0.5]}))["y_explain"][0].as_py())[
        "predicted_value"
    ] in (1.5, 2)


def test_extras_are_not_computed_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    trained = model("HistGradientBoostingClassifier")
    calls: list[str] = []
    for method in ("predict", "predict_proba"):
        original = getattr(HistGradientBoostingClassifier, method)
        monkeypatch.setattr(
            HistGradientBoostingClassifier,
            method,
            lambda *a, m=method, o=original: (calls.append(m), o(*a))[1],
        )
    predictor = trained.engine().predictor({})
    batch = passengers()[0].select(trained.summary.inputs.names).combine_chunks().to_batches()[0]
    assert list(predictor.predict(batch, ["survived"])) == ["survived"] and calls == ["predict"]
    calls.clear()
    predictor.predict(batch, ["survived_explain", "survived", "survived_confidence"])
    assert calls == ["predict_proba"]


def test_pandas_gives_the_same_answers_in_the_frames_own_index() -> None:
    table, _ = passengers()
    frame = table.to_pandas().sample(frac=1, random_state=1)
    answers = model().engine().predict(frame, {"columns": ["survived"]})
    assert answers.index.equals(frame.index)
    expected = pd.Series(model().answers(table)["survived"].to_pylist())
    assert answers["survived"].sort_index().tolist() == expected.tolist()
